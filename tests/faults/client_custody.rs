use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng;
use serde_json::json;

use crate::client::Client;
use crate::client::Tensor;
use crate::client::one;
use crate::driver::ClientRun;
use crate::driver::Count;
use crate::host::Host;
use crate::host::until;
use crate::random::random;
use crate::world::Job;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::split_job;
use crate::world::values;

/// More crashes than a job survives without a step in between must not end these runs.
pub const STUBBORN: [(&str, &str); 1] = [("BLINDTUNE_JOBS__MAX_BARREN_ATTEMPTS", "1000")];

pub async fn host_and_client(settings: &[(&str, &str)]) -> (Host, Client) {
    let host = Host::start_to_restart(settings).await;
    add_tiny(&host).await;
    let key = host.key("faults", &[]).await;
    let client = Client::new(&host.base(), Some(&key));
    (host, client)
}

#[tokio::test]
async fn a_host_killed_at_any_moment_changes_nothing_in_the_end() {
    const STEPS: u64 = 24;
    const KILLS: u64 = 6;
    let mut random = random("client custody");
    let (mut host, client) = host_and_client(&STUBBORN).await;
    let seeds: Vec<u64> = (0..3).map(|_| random.random()).collect();
    let mut expected = Vec::new();
    for seed in &seeds {
        expected.push(ClientRun::new(&client, *seed, STEPS, &Count::default()).await.run().await);
    }
    let done = Count::default();
    let mut runs = Vec::new();
    for seed in &seeds {
        runs.push(tokio::spawn(ClientRun::new(&client, *seed, STEPS, &done).await.run()));
    }
    for kill in 1..=KILLS {
        let at = kill * STEPS * seeds.len() as u64 / (KILLS + 1);
        until("progress", async || done.load(Ordering::SeqCst) >= at).await;
        // Not to wait for anything: the kill falls somewhere into a step.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
        host.crash().await;
    }
    for (run, expected) in runs.into_iter().zip(expected) {
        assert!(run.await.expect("the run ends") == expected, "the adapters differ");
    }
}

/// A job that has taken a step with adapters of its client's, on a host that was killed then.
async fn job_after_a_crash(host: &mut Host, client: &Client) -> (Job, Tensor) {
    let mut job = split_job(client, json!({"adapter_sets": 1})).await;
    let theta = Tensor::f32(&[1024], &values(1024, 3));
    let mut tensors = batch();
    tensors.insert("theta.0".to_owned(), theta.clone());
    job.forward_ok(&tensors).await;
    host.crash().await;
    (job, theta)
}

#[tokio::test]
async fn after_a_crash_the_host_asks_for_adapters_instead_of_using_others() {
    let (mut host, client) = host_and_client(&[]).await;
    let (mut job, theta) = job_after_a_crash(&mut host, &client).await;
    let error = job.forward(&batch()).await.refused(409, "adapters_needed");
    assert_eq!(error["param"], "theta.0");
    let flat = job.path("/adapters/0?format=flat");
    client.get(&flat).await.refused(409, "adapters_needed");
    client.verb(&job.path("/checkpoints")).await.refused(409, "adapters_needed");
    job.verb("complete").await.refused(409, "adapters_needed");
    assert_eq!((job.status().await, job.next_seq().await), ("running".to_owned(), 2));
    client.put_tensors(&job.path("/adapters/0"), &one("theta.0", theta.clone())).await.ok();
    job.step_ok().await;
    assert_eq!(job.theta(0).await, theta);
}

#[tokio::test]
async fn a_pause_after_a_crash_does_not_save_adapters_that_the_host_does_not_have() {
    let (mut host, client) = host_and_client(&[]).await;
    let (mut job, theta) = job_after_a_crash(&mut host, &client).await;
    client.get(&job.path("/adapters")).await.ok();
    job.verb("pause").await.ok();
    job.verb("resume").await.ok();
    client.get(&job.path("/adapters/0?format=flat")).await.refused(409, "adapters_needed");
    job.forward(&batch()).await.refused(409, "adapters_needed");
    client.put_tensors(&job.path("/adapters/0"), &one("theta.0", theta)).await.ok();
    job.step_ok().await;
}

#[tokio::test]
async fn a_lost_forward_is_told_from_one_that_never_was() {
    let (mut host, client) = host_and_client(&[]).await;
    let mut job = split_job(&client, json!({"adapter_sets": 1})).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    host.crash().await;
    let shares = crate::world::shares_like(&activations, 1);
    job.backward(&forward, &shares).await.refused(409, "forward_lost");
    job.backward(&format!("fwd-{}", "0".repeat(32)), &shares).await.refused(404, "not_found");
    let again = client.post_tensors(&job.path("/forward?seq=1"), &batch()).await.ok();
    assert_eq!((again.scalars()["forward_id"].as_str(), again.tensors()), (forward.as_str(), activations));
    job.backward(&forward, &shares).await.ok();
}
