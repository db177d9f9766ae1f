use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng;

use crate::client_custody::host_and_client;
use crate::crash;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::random;
use crate::until;

/// Checkpoints often enough for several in a run, seldom enough that a crash finds steps to undo.
const SETTINGS: [(&str, &str); 2] =
    [("BLINDTUNE_JOBS__MAX_BARREN_ATTEMPTS", "1000"), ("BLINDTUNE_JOBS__CHECKPOINT_EVERY_STEPS", "5")];

#[tokio::test]
async fn a_replay_from_the_durable_step_ends_in_the_same_adapters() {
    const STEPS: u64 = 24;
    const KILLS: u64 = 5;
    let mut random = random("host custody");
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let seeds: Vec<u64> = (0..3).map(|_| random.random()).collect();
    let mut expected = Vec::new();
    for seed in &seeds {
        expected.push(HostRun::new(&client, *seed, STEPS, &Count::default()).await.run().await.0);
    }
    let done = Count::default();
    let mut runs = Vec::new();
    for seed in &seeds {
        runs.push(tokio::spawn(HostRun::new(&client, *seed, STEPS, &done).await.run()));
    }
    for kill in 1..=KILLS {
        let at = kill * STEPS * seeds.len() as u64 / (KILLS + 1);
        until("progress", async || done.load(Ordering::SeqCst) >= at).await;
        // Not to wait for anything: the kill falls somewhere into a step.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
        crash(&mut host).await;
    }
    let mut replays = 0;
    for (run, expected) in runs.into_iter().zip(expected) {
        let (theta, replayed) = run.await.expect("the run ends");
        assert!(theta == expected, "the adapters differ");
        replays += replayed;
    }
    assert!(replays > 0, "no crash undid a step");
}

#[tokio::test]
async fn a_crash_before_the_first_checkpoint_begins_anew() {
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let expected = HostRun::new(&client, 5, 2, &Count::default()).await.run().await.0;
    let run = HostRun::new(&client, 5, 2, &Count::default()).await;
    let mut job = run.job.clone();
    job.step_ok().await;
    crash(&mut host).await;
    let error = job.optim_step(0.01).await.refused(409, "step_out_of_order");
    assert_eq!(error["expected_seq"], 1);
    assert_eq!(run.run().await.0, expected);
}
