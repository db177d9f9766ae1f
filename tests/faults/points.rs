use crate::client_custody::host_and_client;
use crate::driver::ClientRun;
use crate::driver::Count;
use crate::driver::HostRun;

/// Where a host is killed, and at which hit: each falls into the run, and behind its first checkpoint where that counts.
const POINTS: [(&str, u64); 9] = [
    ("claim_committed", 1),
    ("forward_done", 4),
    ("gradient_received", 3),
    ("backward_done", 4),
    ("optimizer_done", 3),
    ("step_written", 8),
    ("step_committed", 10),
    ("checkpoint_blob_written", 2),
    ("checkpoint_committed", 2),
];

/// Those that a run in client custody meets after it was set up.
const OF_CLIENTS: [&str; 5] = ["forward_done", "gradient_received", "backward_done", "step_written", "step_committed"];

const STEPS: u64 = 7;

/// Checkpoints every second step, and kills that never count as a crash loop.
const SETTINGS: [(&str, &str); 2] =
    [("BLINDTUNE_JOBS__MAX_BARREN_ATTEMPTS", "1000"), ("BLINDTUNE_JOBS__CHECKPOINT_EVERY_STEPS", "2")];

fn armed(point: &str, hit: u64) -> String {
    format!("{point}=kill@{hit}")
}

#[tokio::test]
async fn a_kill_at_any_point_of_a_step_changes_no_adapter_of_the_hosts() {
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let expected = HostRun::new(&client, 11, STEPS, &Count::default()).await.run().await.0;
    for (point, hit) in POINTS {
        host.arm(&armed(point, hit)).await;
        let run = HostRun::new(&client, 11, STEPS, &Count::default()).await;
        let (job, run) = (run.job.clone(), tokio::spawn(run.run()));
        host.after_failpoint().await;
        assert!(run.await.expect("the run ends").0 == expected, "the adapters differ after {point}");
        job.verb("cancel").await.ok();
    }
}

#[tokio::test]
async fn a_kill_at_any_point_of_a_step_changes_no_adapter_of_the_clients() {
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let expected = ClientRun::new(&client, 11, STEPS, &Count::default()).await.run().await;
    for (point, hit) in POINTS.into_iter().filter(|(point, _)| OF_CLIENTS.contains(point)) {
        host.arm(&armed(point, hit)).await;
        let run = ClientRun::new(&client, 11, STEPS, &Count::default()).await;
        let (job, run) = (run.job.clone(), tokio::spawn(run.run()));
        host.after_failpoint().await;
        assert!(run.await.expect("the run ends") == expected, "the adapters differ after {point}");
        job.verb("cancel").await.ok();
    }
}
