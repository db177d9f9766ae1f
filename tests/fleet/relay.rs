//! A call for a job's session reaches the node that has it, whichever node takes it.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::Fleet;
use crate::client::OCTETS;
use crate::client::pack;
use crate::driver::ClientRun;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::world::batch;
use crate::world::id;
use crate::world::inputs;
use crate::world::shares_like;
use crate::world::split_job;

#[tokio::test]
async fn a_run_through_a_balancer_equals_one_at_one_node_bit_for_bit() {
    let fleet = Fleet::of(3).await;
    let alone = fleet.at(0);
    let expected = ClientRun::new(&alone, 7, 6, &Count::default()).await.run().await;
    let (of_host, _) = HostRun::new(&alone, 8, 6, &Count::default()).await.run().await;
    assert!(ClientRun::new(&fleet.client, 7, 6, &Count::default()).await.run().await == expected);
    let (through, replays) = HostRun::new(&fleet.client, 8, 6, &Count::default()).await.run().await;
    assert!(through == of_host && replays == 0, "{replays} replays");
}

#[tokio::test]
async fn every_node_takes_every_call_and_one_of_them_works() {
    let fleet = Fleet::of(3).await;
    let job = split_job(&fleet.at(1), json!({"adapter_sets": 1})).await;
    let first = fleet.at(1).post_tensors(&job.path("/forward?seq=1"), &batch()).await.ok();
    assert_eq!(fleet.worker(&first).await, 1, "nobody had it");
    let forward = first.scalars()["forward_id"].clone();
    let mut workers = BTreeSet::new();
    let shares = shares_like(&first.tensors(), 3);
    let backward = job.path(&format!("/backward?seq=2&forward_id={forward}"));
    let answer = fleet.at(2).post_tensors(&backward, &shares).await.ok();
    workers.insert(fleet.worker(&answer).await);
    let again = fleet.at(0).post_tensors(&backward, &shares).await.ok();
    assert_eq!(again.tensors(), answer.tensors(), "a repeat through another node");
    for node in 0..3 {
        let evaluation = fleet.at(node).post_tensors(&job.path("/forward?train=false"), &batch()).await.ok();
        assert_eq!(evaluation.tensors(), first.tensors(), "node {node}");
        workers.insert(fleet.worker(&evaluation).await);
        assert!(evaluation.header("x-request-id").len() > 8 && !evaluation.header("server-timing").is_empty());
    }
    assert_eq!(workers, BTreeSet::from([1]));
    let saved = fleet.at(2).post(&job.path("/checkpoints"), &json!({})).await.ok_json();
    assert_eq!(saved["object"], "fine_tuning.job.checkpoint");
    assert_eq!(fleet.at(0).verb(&job.path("/pause")).await.ok_json()["status"], "paused");
    let done = fleet.at(0).verb(&job.path("/complete")).await;
    assert_eq!((done.status, done.json()["status"].as_str()), (200, Some("succeeded")), "{}", done.text());
}

#[tokio::test]
async fn a_large_body_and_a_refusal_come_through_as_they_are() {
    let fleet = Fleet::of(2).await;
    let job = split_job(&fleet.at(0), json!({})).await;
    fleet.at(0).post_tensors(&job.path("/forward?train=false"), &batch()).await.ok();
    let row: Vec<i64> = (0..40).map(|token| 4 + token % 50).collect();
    let many = inputs(&vec![row.as_slice(); 400]);
    let path = job.path("/forward?train=false");
    let [here, there] = [fleet.at(0).post_tensors(&path, &many).await, fleet.at(1).post_tensors(&path, &many).await];
    assert_eq!(here.ok().tensors(), there.ok().tensors());
    for (path, body) in
        [("/forward?seq=9", pack(&batch())), ("/forward?seq=1", b"no tensors".to_vec()), ("/forward?sex=1", Vec::new())]
    {
        let call = |node: usize| fleet.at(node).call(Method::POST, &job.path(path)).body(OCTETS, body.clone());
        let (here, there) = (call(0).send().await, call(1).send().await);
        assert!(here.status >= 400 && here.status < 500, "{}", here.text());
        assert_eq!((here.status, here.json()), (there.status, there.json()), "{path}");
    }
}

/// What nodes tell each other gives nobody anything: the node that works checks the caller's own key.
#[tokio::test]
async fn a_strangers_call_is_nobodys_at_every_node() {
    let fleet = Fleet::of(2).await;
    let job = split_job(&fleet.at(0), json!({})).await;
    fleet.at(0).post_tensors(&job.path("/forward?train=false"), &batch()).await.ok();
    let stranger = fleet.at(1).with_key(Some(&fleet.nodes[0].key("rival", &[]).await));
    let path = job.path("/forward?train=false");
    stranger.post_tensors(&path, &batch()).await.refused(404, "not_found");
    let forged =
        stranger.call(Method::POST, &path).header("x-blindtune-relayed", "node-1").body(OCTETS, pack(&batch()));
    forged.send().await.refused(404, "not_found");
    let reader = fleet.at(1).with_key(Some(&fleet.nodes[0].key("clinic", &["--scopes", "jobs:read"]).await));
    reader.post_tensors(&path, &batch()).await.refused(403, "missing_scope");
    fleet.at(1).with_key(None).post_tensors(&path, &batch()).await.refused(401, "invalid_api_key");
    let claimed =
        fleet.at(1).call(Method::POST, &path).header("x-blindtune-relayed", "node-1").body(OCTETS, pack(&batch()));
    claimed.send().await.refused(503, "job_elsewhere");
}

#[tokio::test]
async fn an_operator_sees_the_nodes_and_drains_one() {
    let mut fleet = Fleet::of(2).await;
    let ids = fleet.ids().await;
    let list = fleet.operator.get("/v1/nodes").await.ok_json();
    for node in list["data"].as_array().expect("a list") {
        assert_eq!((&node["alive"], &node["draining"], &node["device"]), (&json!(true), &json!(false), &json!("cpu")));
        assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    }
    let told = crate::host::text(&fleet.nodes[0].cli(&["nodes", "list"]).await.stdout).to_owned();
    assert!(ids.iter().all(|id| told.contains(id.as_str())), "{told}");
    let said = fleet.nodes[0].cli(&["nodes", "drain", &ids[1]]).await;
    assert!(said.status.success(), "{said:?}");
    let path = format!("/v1/nodes/{}", ids[1]);
    assert_eq!(fleet.operator.patch(&path, &json!({"draining": false})).await.ok_json()["draining"], false);
    fleet.operator.patch(&path, &json!({"draining": "yes"})).await.refused(400, "invalid_json");
    let nobody = format!("/v1/nodes/node-{}", uuid::Uuid::now_v7().simple());
    fleet.operator.patch(&nobody, &json!({"draining": true})).await.refused(404, "not_found");
    fleet.client.get("/v1/nodes").await.refused(403, "missing_scope");
    let mut last = fleet.nodes.pop().expect("a node");
    fleet.balancer.take_out(&last.address());
    last.signal("TERM");
    assert!(last.ended(std::time::Duration::from_secs(25)).await.success());
    let left = fleet.operator.get("/v1/nodes").await.ok_json();
    assert_eq!(left["data"].as_array().map(Vec::len), Some(1), "one that ends in good order is gone: {left}");
    assert_eq!(id(&left["data"][0]), ids[0]);
}
