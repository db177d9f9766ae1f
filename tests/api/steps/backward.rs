use serde_json::json;

use crate::client::Tensor;
use crate::client::Tensors;
use crate::client::from_json;
use crate::client::one;
use crate::client::to_json;
use crate::world::World;
use crate::world::batch;
use crate::world::shares_like;
use crate::world::values;

fn share(values: &[f32]) -> Tensor {
    Tensor::f32(&[3, 16], values)
}

/// A job whose first set is not at its start, so that gradients reach both matrices, with a forward made.
async fn job_with_forward(world: &World) -> (crate::world::Job, String) {
    let mut job = world.job(json!({})).await;
    let mut tensors = batch();
    tensors.insert("theta.0".to_owned(), Tensor::f32(&[1024], &values(1024, 11)));
    let forward = job.forward_ok(&tensors).await.0;
    (job, forward)
}

#[tokio::test]
async fn each_share_has_its_own_product_and_products_are_linear() {
    let world = World::new().await;
    let (mut job, forward) = job_with_forward(&world).await;
    let (a, b) = (values(48, 1), values(48, 2));
    let sum: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + 2.0 * b).collect();
    let shares = Tensors::from([
        ("s.0.0".to_owned(), share(&a)),
        ("s.0.1".to_owned(), share(&b)),
        ("s.0.2".to_owned(), share(&sum)),
        ("s.1.0".to_owned(), share(&[0.0; 48])),
    ]);
    let products = job.backward(&forward, &shares).await.tensors();
    assert_eq!(products.keys().collect::<Vec<_>>(), ["G.0.0", "G.0.1", "G.0.2", "G.1.0"]);
    let [ga, gb, gsum, zero] = ["G.0.0", "G.0.1", "G.0.2", "G.1.0"].map(|name| products[name].floats());
    assert!(products.values().all(|product| product.shape == [1024]));
    assert!(ga.iter().any(|value| *value != 0.0) && zero.iter().all(|value| *value == 0.0));
    let largest = gsum.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    for ((a, b), sum) in ga.iter().zip(&gb).zip(&gsum) {
        assert!((a + 2.0 * b - sum).abs() <= 1e-5 * largest, "{a} + 2 * {b} is not {sum}");
    }
}

#[tokio::test]
async fn one_forward_takes_several_backwards_each_with_its_own_seq() {
    let world = World::new().await;
    let (mut job, forward) = job_with_forward(&world).await;
    let first = job.backward(&forward, &one("s.0.0", share(&values(48, 1)))).await.ok();
    let second = job.backward(&forward, &one("s.0.0", share(&values(48, 1)))).await.ok();
    assert_eq!(first.tensors(), second.tensors());
    assert_eq!((first.scalars()["seq"].as_str(), second.scalars()["seq"].as_str()), ("2", "3"));
}

#[tokio::test]
async fn json_and_binary_calls_give_the_same_numbers() {
    let world = World::new().await;
    let (mut job, forward) = job_with_forward(&world).await;
    let shares = one("s.0.0", share(&values(48, 4)));
    let binary = job.backward(&forward, &shares).await.tensors();
    let body = json!({"seq": 3, "forward_id": forward, "shares": to_json(&shares)});
    let answer = job.client.post(&job.path("/backward"), &body).await.ok_json();
    assert_eq!(from_json(&answer["gradients"]), binary);
    assert_eq!((&answer["object"], &answer["seq"]), (&json!("fine_tuning.job.backward"), &json!(3)));
}

#[tokio::test]
async fn a_backward_may_be_late_a_few_forwards() {
    let world = World::new().await;
    let (mut job, forward) = job_with_forward(&world).await;
    let on_time = job.backward(&forward, &one("s.0.0", share(&values(48, 4)))).await.tensors();
    for seed in 0..4 {
        let mut tensors = batch();
        tensors.insert("theta.0".to_owned(), Tensor::f32(&[1024], &values(1024, 50 + seed)));
        job.forward_ok(&tensors).await;
    }
    let late = job.backward(&forward, &one("s.0.0", share(&values(48, 4)))).await.tensors();
    assert_eq!(late, on_time, "the graph was evicted and is computed again");
}

#[tokio::test]
async fn each_wrong_share_is_refused_and_no_step_is_taken() {
    let world = World::new().await;
    let (mut job, forward) = job_with_forward(&world).await;
    let good = || share(&values(48, 1));
    let cases = [
        (Tensors::new(), 400, "shares_missing"),
        (one("s.2.0", good()), 422, "tensor_invalid"),
        (one("s.0.8", good()), 422, "tensor_invalid"),
        (one("g.0.0", good()), 400, "unknown_tensor"),
        (one("label", good()), 400, "label_present"),
        (one("s.0.0", Tensor::i64(&[1; 48])), 422, "tensor_invalid"),
        (one("s.0.0", share(&[1e6; 48])), 422, "tensor_invalid"),
    ];
    for (shares, status, code) in cases {
        job.backward(&forward, &shares).await.refused(status, code);
    }
    for id in ["x".to_owned(), format!("fwd-{}", "0".repeat(32))] {
        job.backward(&id, &one("s.0.0", good())).await.refused(404, "not_found");
    }
    assert_eq!((job.next_seq().await, job.ledger().await.len()), (2, 1));
    job.backward(&forward, &one("s.0.0", good())).await.ok();
}

#[tokio::test]
async fn a_set_that_was_not_run_takes_no_share() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let reply = job.client.post_tensors(&job.path("/forward?seq=1&adapters=1"), &batch()).await.ok();
    job.seq = 2;
    let forward = reply.scalars()["forward_id"].clone();
    let error = job.backward(&forward, &one("s.0.0", share(&values(48, 1)))).await.refused(422, "tensor_invalid");
    assert_eq!(error["param"], "s.0.0");
    job.backward(&forward, &shares_like(&reply.tensors(), 1)).await.ok();
}

#[tokio::test]
async fn a_forward_of_another_job_is_unknown() {
    let world = World::new().await;
    let (_, forward) = job_with_forward(&world).await;
    let (mut job, _) = job_with_forward(&world).await;
    job.backward(&forward, &one("s.0.0", share(&values(48, 1)))).await.refused(404, "not_found");
}
