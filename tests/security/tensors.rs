//! Tensors that would poison a job or reach foreign memory, and ids that are not there.

use serde_json::json;

use crate::client::Reply;
use crate::client::Tensor;
use crate::client::Tensors;
use crate::client::one;
use crate::world::Job;
use crate::world::World;
use crate::world::batch;
use crate::world::inputs;
use crate::world::shares_like;
use crate::world::values;

fn spoiled(value: f32, at: usize) -> Tensor {
    let mut values = values(48, 1);
    values[at] = value;
    Tensor::f32(&[3, 16], &values)
}

/// A refusal left the job as it was: a good step succeeds and the answer is the one that was to come.
async fn harmless(job: &mut Job, reply: Reply, expected: &Tensors) {
    let (forward, activations) = job.forward_ok(&batch()).await;
    assert_eq!(activations["h.0"], expected["h.0"], "after {}", reply.text());
    let gradients = job.backward(&forward, &shares_like(&activations, 1)).await.tensors();
    assert!(gradients.values().all(|tensor| tensor.floats().iter().all(|value| value.is_finite())));
}

#[tokio::test]
async fn a_share_that_is_not_finite_or_of_another_shape_is_refused_and_the_job_goes_on() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let shapes: [&[usize]; 8] = [&[1], &[16], &[1, 16], &[3, 1], &[16, 3], &[3, 16, 1], &[1, 3, 16], &[6, 16]];
    let of = |shape: &[usize]| Tensor::f32(shape, &vec![0.5; shape.iter().product()]);
    let mut bad: Vec<Tensor> = shapes.into_iter().map(of).collect();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        bad.extend([spoiled(value, 0), spoiled(value, 47)]);
    }
    bad.push(spoiled(f32::MAX, 5));
    bad.push(Tensor::i64(&[1; 48]));
    for share in bad {
        let (forward, activations) = job.forward_ok(&batch()).await;
        let reply = job.backward(&forward, &one("s.0.0", share)).await;
        reply.refused(422, "tensor_invalid");
        assert_eq!(reply.json()["error"]["param"], "s.0.0");
        harmless(&mut job, reply, &activations).await;
    }
}

#[tokio::test]
async fn in_host_custody_a_refused_share_is_not_summed() {
    let world = World::new().await;
    let (mut job, mut twin) =
        (world.job(json!({"custody": "host"})).await, world.job(json!({"custody": "host"})).await);
    let (forward, activations) = job.forward_ok(&batch()).await;
    let mut half = shares_like(&activations, 1);
    half.insert("s.1.1".to_owned(), spoiled(f32::NAN, 3));
    job.backward(&forward, &half).await.refused(422, "tensor_invalid");
    job.backward(&forward, &shares_like(&activations, 1)).await.ok();
    twin.step_ok().await;
    assert_eq!(job.optim_step(0.01).await.ok().body, twin.optim_step(0.01).await.ok().body);
    assert_eq!(job.theta(0).await, twin.theta(0).await);
}

#[tokio::test]
async fn an_adapter_that_is_not_finite_is_refused_on_both_ways_in() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let expected = job.step_ok().await;
    for value in [f32::NAN, f32::INFINITY] {
        let mut theta = values(1024, 1);
        theta[1023] = value;
        let theta = Tensor::f32(&[1024], &theta);
        let mut with_theta = batch();
        with_theta.insert("theta.0".to_owned(), theta.clone());
        let reply = job.forward(&with_theta).await;
        assert_eq!(reply.refused(422, "tensor_invalid")["param"], "theta.0");
        harmless(&mut job, reply, &expected).await;
        let reply = job.client.put_tensors(&job.path("/adapters/0"), &one("theta.0", theta)).await;
        reply.refused(422, "tensor_invalid");
        harmless(&mut job, reply, &expected).await;
    }
}

#[tokio::test]
async fn token_ids_that_the_backbone_does_not_have_are_refused_and_the_job_goes_on() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let expected = job.step_ok().await;
    for id in [60, 1_000_000, i64::MAX, -1, i64::MIN] {
        let reply = job.forward(&inputs(&[&[2, 5, 3], &[2, id, 3]])).await;
        reply.refused(422, "tensor_invalid");
        assert!(reply.text().contains("input 1"), "{}", reply.text());
        harmless(&mut job, reply, &expected).await;
    }
    let mut types = batch();
    types.insert("token_type_ids".to_owned(), Tensor::i64(&[2; 12]));
    let reply = job.forward(&types).await;
    reply.refused(422, "tensor_invalid");
    harmless(&mut job, reply, &expected).await;
    for lengths in [vec![12, 0], vec![i64::MAX, i64::MAX, 14], vec![-1, 13], vec![11], vec![13]] {
        let mut ragged = batch();
        ragged.insert("lengths".to_owned(), Tensor::i64(&lengths));
        let reply = job.forward(&ragged).await;
        reply.refused(422, "tensor_invalid");
        harmless(&mut job, reply, &expected).await;
    }
}

#[tokio::test]
async fn an_unknown_forward_is_a_404_and_the_job_goes_on() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let expected = job.step_ok().await;
    let zeros = format!("fwd-{}", "0".repeat(32));
    for id in [&zeros, "x", "", "..%2F..%2Fetc%2Fpasswd", "fwd-%FF"] {
        let reply = job.backward(id, &shares_like(&expected, 1)).await;
        reply.refused(404, "not_found");
        harmless(&mut job, reply, &expected).await;
    }
}

#[tokio::test]
async fn json_tensors_go_through_the_same_door() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let expected = job.step_ok().await;
    let (forward, _) = job.forward_ok(&batch()).await;
    let cases = [
        json!({"dtype": "F32", "shape": [3, 16], "data": "AAAA"}),
        json!({"dtype": "F32", "shape": [3, 16], "data": "not base64!"}),
        json!({"dtype": "F64", "shape": [1], "data": "AAAAAAAAAAA="}),
        json!({"dtype": "F32", "shape": [0], "data": ""}),
        json!({"dtype": "F32", "shape": [4_611_686_018_427_387_904_u64, 4], "data": ""}),
        json!({"dtype": "F32", "shape": [], "data": ""}),
    ];
    for tensor in cases {
        let body = json!({"seq": job.seq, "forward_id": forward, "shares": {"s.0.0": tensor}});
        let reply = job.client.post(&job.path("/backward"), &body).await;
        reply.refused(422, "tensor_invalid");
        harmless(&mut job, reply, &expected).await;
    }
    for tensor in
        [json!({"dtype": "F32", "shape": [-1], "data": ""}), json!({"dtype": "F32", "shape": [1.5], "data": ""})]
    {
        let body = json!({"seq": job.seq, "forward_id": forward, "shares": {"s.0.0": tensor}});
        let reply = job.client.post(&job.path("/backward"), &body).await;
        reply.refused(400, "invalid_json");
        harmless(&mut job, reply, &expected).await;
    }
}

#[tokio::test]
async fn adapters_that_give_no_finite_activations_are_refused_and_no_model_is_made_of_them() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let theta = job.theta(0).await;
    let huge = Tensor::f32(&theta.shape, &vec![1e38; theta.shape[0]]);
    let (_, expected) = job.forward_ok(&batch()).await;

    let mut sent = batch();
    sent.insert("theta.0".to_owned(), huge.clone());
    let seq = job.seq;
    let reply = job.forward(&sent).await;
    assert_eq!(reply.refused(422, "tensor_invalid")["param"], "h.0");
    assert_eq!((job.seq, job.next_seq().await), (seq, seq), "a refused forward is no step");
    assert_eq!(job.theta(0).await, theta, "the values that were sent with it are not taken over");
    world.client.post_tensors(&job.path("/forward?train=false"), &sent).await.refused(422, "tensor_invalid");
    assert_eq!(job.forward_ok(&batch()).await.1["h.0"], expected["h.0"]);

    world.client.put_tensors(&job.path("/adapters/0"), &one("theta.0", huge)).await.ok();
    let error = job.verb("complete").await.refused(422, "tensor_invalid");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("No model is made")), "{error}");
    let models = world.client.get("/v1/models").await.ok_json();
    let made = models["data"].as_array().expect("a list").iter();
    assert_eq!(made.filter(|model| model["id"].as_str().is_some_and(|id| id.starts_with("ft:"))).count(), 0);
    world.client.put_tensors(&job.path("/adapters/0"), &one("theta.0", theta)).await.ok();
    job.verb("complete").await.ok();
}
