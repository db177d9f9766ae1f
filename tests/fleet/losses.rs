//! Nodes that die, stand still or drain under load: every run ends with the bits of an undisturbed one, and no client is told of it in more
//! than one slow answer.

use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::Fleet;
use crate::client::Client;
use crate::client::Reply;
use crate::driver::ClientRun;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::host::until;
use crate::world::batch;
use crate::world::split_job;

/// The slowest takeover: five seconds until a node is dead, a look, and opening the session; with room for a busy machine.
const TAKEOVER: Duration = Duration::from_secs(20);

async fn forward(client: &Client, path: &str) -> (Reply, Duration) {
    let asked = Instant::now();
    let reply = client.post_tensors(path, &batch()).await;
    (reply, asked.elapsed())
}

#[tokio::test]
async fn a_killed_nodes_job_goes_on_at_another_without_an_error() {
    let mut fleet = Fleet::of(2).await;
    let mut job = split_job(&fleet.at(1), json!({"custody": "host"})).await;
    job.step_ok().await;
    job.optim_step(0.01).await.ok_json();
    let theta = job.theta(0).await;
    fleet.nodes[1].kill9();
    let path = job.path(&format!("/forward?seq={}", job.seq));
    let (reply, took) = forward(&fleet.at(0), &path).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(took < TAKEOVER, "{took:?}");
    job.client = fleet.at(0);
    assert_eq!(job.theta(0).await, theta, "what was acknowledged is there");
    assert_eq!(fleet.worker(&reply).await, 0);
    let list = fleet.operator.get("/v1/nodes").await.ok_json();
    let alive: Vec<_> = list["data"].as_array().expect("a list").iter().map(|node| node["alive"].clone()).collect();
    assert_eq!(alive, [json!(true), json!(false)], "the dead one is still told of: {list}");
}

#[tokio::test]
async fn a_node_that_stands_still_amid_a_call_writes_nothing_afterwards() {
    let fleet = Fleet::of(2).await;
    let job = split_job(&fleet.at(1), json!({"adapter_sets": 1})).await;
    fleet.at(1).post_tensors(&job.path("/forward?seq=1"), &batch()).await.ok();
    fleet.nodes[1].signal("STOP");
    let (reply, took) = forward(&fleet.at(0), &job.path("/forward?seq=2")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(took < TAKEOVER, "{took:?}");
    fleet.nodes[1].signal("CONT");
    // Through the node that stood still: it has a session of before, and learns that the job is another's.
    for seq in 3..6 {
        let path = job.path(&format!("/forward?seq={seq}"));
        let reply = crate::driver::patiently(|| {
            fleet.at(1).call(reqwest::Method::POST, &path).body(crate::client::OCTETS, crate::client::pack(&batch()))
        });
        let reply = reply.await.ok();
        assert_eq!(fleet.worker(&reply).await, 0);
    }
    let ledger = fleet.at(0).get(&job.path("/ledger")).await.ok_json();
    assert_eq!(ledger["data"].as_array().map(Vec::len), Some(5), "each call once");
}

#[tokio::test]
async fn a_node_that_drains_hands_its_jobs_over_without_an_error() {
    let fleet = Fleet::of(2).await;
    let mut job = split_job(&fleet.at(0), json!({"custody": "host"})).await;
    job.step_ok().await;
    job.optim_step(0.01).await.ok_json();
    let ids = fleet.ids().await;
    fleet.operator.patch(&format!("/v1/nodes/{}", ids[0]), &json!({"draining": true})).await.ok();
    let begun = Instant::now();
    let mut workers = Vec::new();
    // Steps go on through both nodes meanwhile: none is refused and none is lost.
    while workers.last() != Some(&1) || workers.len() < 6 {
        job.client = fleet.at(workers.len() % 2);
        let before = job.seq;
        job.step_ok().await;
        let step = job.optim_step(0.01).await.ok();
        assert_eq!(job.seq, before + 3);
        workers.push(fleet.worker(&step).await);
        assert!(begun.elapsed() < TAKEOVER, "still at the node that drains: {workers:?}");
    }
    assert_eq!(fleet.at(0).get("/readyz").await.status, 503);
    fleet.at(1).get("/readyz").await.ok();
    until("the node that drains has no session", async || {
        let list = fleet.operator.get("/v1/nodes").await.ok_json();
        list["data"].as_array().expect("a list").iter().any(|node| node["id"] == *ids[0] && node["sessions"] == 0)
    })
    .await;
    let new = split_job(&fleet.at(0), json!({})).await;
    let reply = fleet.at(0).post_tensors(&new.path("/forward?seq=1"), &batch()).await.ok();
    assert_eq!(fleet.worker(&reply).await, 1, "a node that drains opens nothing");
    fleet.operator.patch(&format!("/v1/nodes/{}", ids[0]), &json!({"draining": false})).await.ok();
    until("it is ready again", async || fleet.at(0).get("/readyz").await.status == 200).await;
}

#[tokio::test]
async fn nodes_killed_one_after_the_other_change_nothing_in_the_end() {
    const STEPS: u64 = 12;
    let mut fleet = Fleet::of(3).await;
    let alone = fleet.at(0);
    let expected = ClientRun::new(&alone, 5, STEPS, &Count::default()).await.run().await;
    let (of_host, _) = HostRun::new(&alone, 6, STEPS, &Count::default()).await.run().await;
    let done = Count::default();
    let one = tokio::spawn(ClientRun::new(&fleet.client, 5, STEPS, &done).await.run());
    let two = tokio::spawn(HostRun::new(&fleet.client, 6, STEPS, &done).await.run());
    for at in [6, 14] {
        until("progress", async || done.load(Ordering::SeqCst) >= at).await;
        fleet.nodes.last_mut().expect("a node").kill9();
        fleet.nodes.pop();
    }
    assert!(one.await.expect("the run ends") == expected, "the adapters differ");
    assert!(two.await.expect("the run ends").0 == of_host, "the adapters differ");
}
