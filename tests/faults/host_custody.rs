use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client_custody::host_and_client;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::host::Host;
use crate::host::until;
use crate::random::random;
use crate::world::Job;
use crate::world::batch;

/// Checkpoints often enough for several in a run, seldom enough that a crash finds steps to undo; by steps alone, so that a slow machine
/// has no more of them.
const SETTINGS: [(&str, &str); 3] = [
    ("BLINDTUNE_JOBS__MAX_BARREN_ATTEMPTS", "1000"),
    ("BLINDTUNE_JOBS__CHECKPOINT_EVERY_STEPS", "5"),
    ("BLINDTUNE_JOBS__CHECKPOINT_EVERY_SECS", "3600"),
];

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
        host.crash().await;
    }
    for (run, expected) in runs.into_iter().zip(expected) {
        assert!(run.await.expect("the run ends").0 == expected, "the adapters differ");
    }
}

#[tokio::test]
async fn a_crash_undoes_the_steps_since_the_last_checkpoint() {
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let expected = HostRun::new(&client, 6, 9, &Count::default()).await.run().await.0;
    let mut run = HostRun::new(&client, 6, 9, &Count::default()).await;
    run.run_to(7).await;
    host.crash().await;
    let mut job = Job { seq: 22, ..run.job.clone() };
    let error = job.optim_step(0.01).await.refused(409, "step_out_of_order");
    assert_eq!(error["expected_seq"], 16, "five steps of three calls are durable");
    let (theta, replays) = run.run().await;
    assert!(theta == expected, "the adapters differ");
    assert_eq!(replays, 1, "a run is told once where to go on");
}

#[tokio::test]
async fn a_crash_before_the_first_checkpoint_begins_anew() {
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let expected = HostRun::new(&client, 5, 2, &Count::default()).await.run().await.0;
    let run = HostRun::new(&client, 5, 2, &Count::default()).await;
    let mut job = run.job.clone();
    job.step_ok().await;
    host.crash().await;
    let error = job.optim_step(0.01).await.refused(409, "step_out_of_order");
    assert_eq!(error["expected_seq"], 1);
    assert_eq!(run.run().await.0, expected);
}

/// The files of a job's checkpoints, newest first.
async fn checkpoint_files(host: &Host, job: &Job) -> Vec<PathBuf> {
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    let of_job = "select blob from checkpoints where job_id = $1 order by seq desc";
    let id = job.id.rsplit('-').next().expect("an id").parse::<uuid::Uuid>().expect("an id");
    let blobs: Vec<String> = sqlx::query_scalar(of_job).bind(id).fetch_all(&mut connection).await.expect("reads");
    connection.close().await.expect("closes");
    blobs.into_iter().map(|blob| host.state().join("blobs").join(blob)).collect()
}

/// Turns one bit in the middle of a file, or turns it back.
fn flip(file: &Path) {
    let mut bytes = std::fs::read(file).expect("a blob");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).expect("writes");
}

#[tokio::test]
async fn a_damaged_checkpoint_is_set_aside_and_the_one_before_it_serves() {
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let expected = HostRun::new(&client, 6, 12, &Count::default()).await.run().await.0;
    let mut run = HostRun::new(&client, 6, 12, &Count::default()).await;
    run.run_to(11).await;
    let files = checkpoint_files(&host, &run.job).await;
    assert_eq!(files.len(), 2, "after steps 5 and 10");
    flip(&files[0]);
    host.crash().await;

    let mut job = Job { seq: 34, ..run.job.clone() };
    let error = job.optim_step(0.01).await.refused(409, "step_out_of_order");
    assert_eq!(error["expected_seq"], 16, "what step 5 left behind");
    let events = job.client.get(&job.path("/events")).await.ok_json();
    let told = events["data"].as_array().expect("events").iter().filter(|event| event["level"] == "warn");
    let told: Vec<&str> = told.filter_map(|event| event["message"].as_str()).collect();
    assert!(told.len() == 1 && told[0].contains("at seq 30 is damaged") && told[0].contains("at seq 15"), "{told:?}");
    assert!(files[0].exists(), "it is kept aside");
    assert!(run.run().await.0 == expected, "the adapters differ");
}

#[tokio::test]
async fn a_job_without_a_whole_checkpoint_waits_for_its_operator_and_loses_nothing() {
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let mut run = HostRun::new(&client, 6, 6, &Count::default()).await;
    run.run_to(6).await;
    let files = checkpoint_files(&host, &run.job).await;
    files.iter().for_each(|file| flip(file));
    host.crash().await;
    let mut job = Job { seq: 19, ..run.job.clone() };
    job.forward(&batch()).await.refused(500, "storage_damaged");
    files.iter().for_each(|file| flip(file));
    let error = job.optim_step(0.01).await.refused(409, "step_out_of_order");
    assert_eq!(error["expected_seq"], 16, "all of the checkpoint is there again");
    run.run().await;
}
