//! `(job, seq, bytes)` makes a step call idempotent.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::client::Reply;
use crate::client::Tensors;
use crate::world::Job;
use crate::world::World;
use crate::world::batch;
use crate::world::inputs;
use crate::world::shares_like;

async fn post(job: &Job, rest: &str, tensors: &Tensors) -> Reply {
    job.client.post_tensors(&job.path(rest), tensors).await
}

/// Sends again what the host was too busy for, as stock clients do.
async fn post_until_taken(job: &Job, rest: &str, tensors: &Tensors) -> Reply {
    for _ in 0..200 {
        let reply = post(job, rest, tensors).await;
        if reply.status != 429 {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the host stays busy");
}

#[tokio::test]
async fn the_same_call_again_has_the_same_answer_and_one_effect() {
    let world = World::new().await;
    let mut job = world.job(json!({"lora": {"dropout": 0.3}})).await;
    let first = job.forward(&batch()).await.ok();
    assert_eq!(post(&job, "/forward?seq=1", &batch()).await.ok().body, first.body);
    let (forward, shares) = (first.scalars()["forward_id"].clone(), shares_like(&first.tensors(), 1));
    let second = job.backward(&forward, &shares).await.ok();
    let again = post(&job, &format!("/backward?seq=2&forward_id={forward}"), &shares).await.ok();
    assert_eq!(again.body, second.body);
    assert_eq!(post(&job, "/forward?seq=1", &batch()).await.ok().body, first.body, "still, after its backward");
    assert_eq!((job.next_seq().await, job.ledger().await.len()), (3, 2));
}

#[tokio::test]
async fn ten_at_once_are_one_step_with_one_answer() {
    let world = World::new().await;
    let mut job = world.job(json!({"custody": "host"})).await;
    let tensors = batch();
    let replies = join_all((0..10).map(|_| post_until_taken(&job, "/forward?seq=1", &tensors))).await;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
    let (forward, shares) = (replies[0].scalars()["forward_id"].clone(), shares_like(&replies[0].tensors(), 1));
    let path = format!("/backward?seq=2&forward_id={forward}");
    let norms = join_all((0..10).map(|_| post_until_taken(&job, &path, &shares))).await;
    assert!(norms.iter().all(|reply| reply.status == 200 && reply.body == norms[0].body), "summed once");
    assert_eq!((job.next_seq().await, job.ledger().await.len()), (3, 2));
    job.seq = 3;
    let step = job.optim_step(0.01).await.ok();
    let again = job.client.post(&job.path("/optim_step"), &json!({"seq": 3, "lr": 0.01})).await.ok();
    assert_eq!((again.body, job.view().await["split"]["optimizer_steps"].as_u64()), (step.body, Some(1)));
}

#[tokio::test]
async fn other_bytes_under_a_used_seq_are_refused() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let first = job.forward(&batch()).await.ok();
    let other = inputs(&[&[2, 5, 3]]);
    post(&job, "/forward?seq=1", &other).await.refused(422, "step_conflict");
    post(&job, "/forward?seq=1&base=true", &batch()).await.refused(422, "step_conflict");
    let shares = shares_like(&first.tensors(), 1);
    let forward = first.scalars()["forward_id"].clone();
    post(&job, &format!("/backward?seq=1&forward_id={forward}"), &shares).await.refused(422, "step_conflict");
    assert_eq!(post(&job, "/forward?seq=1", &batch()).await.ok().body, first.body);
    assert_eq!((job.next_seq().await, job.ledger().await.len()), (2, 1));
}

#[tokio::test]
async fn a_skipped_seq_is_refused_and_the_right_one_is_named() {
    let world = World::new().await;
    let mut job = world.job(json!({"custody": "host"})).await;
    for seq in [0, 2, 3, u64::MAX] {
        let error = post(&job, &format!("/forward?seq={seq}"), &batch()).await.refused(409, "step_out_of_order");
        assert_eq!((&error["expected_seq"], &error["param"]), (&json!(1), &json!("seq")), "{error}");
    }
    let (forward, activations) = job.forward_ok(&batch()).await;
    let path = format!("/backward?seq=7&forward_id={forward}");
    let error = post(&job, &path, &shares_like(&activations, 1)).await.refused(409, "step_out_of_order");
    assert_eq!(error["expected_seq"], 2);
    let reply = job.client.post(&job.path("/optim_step"), &json!({"seq": 9, "lr": 0.1})).await;
    assert_eq!(reply.refused(409, "step_out_of_order")["expected_seq"], 2);
    assert_eq!(reply.header("x-should-retry"), "false");
    assert_eq!((job.next_seq().await, job.ledger().await.len()), (2, 1));
}

#[tokio::test]
async fn an_answer_older_than_the_newest_forward_is_gone() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    let shares = shares_like(&activations, 1);
    job.backward(&forward, &shares).await.ok();
    job.forward_ok(&batch()).await;
    let backward = format!("/backward?seq=2&forward_id={forward}");
    post(&job, "/forward?seq=1", &batch()).await.refused(409, "answer_expired");
    post(&job, &backward, &shares).await.refused(409, "answer_expired");
    post(&job, "/forward?seq=1", &inputs(&[&[2, 3]])).await.refused(422, "step_conflict");
    assert_eq!(job.next_seq().await, 4);
}

#[tokio::test]
async fn a_refused_step_uses_up_no_seq() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let bad = inputs(&[&[2, 999, 3]]);
    job.forward(&bad).await.refused(422, "tensor_invalid");
    job.step_ok().await;
    assert_eq!(job.next_seq().await, 3);
}
