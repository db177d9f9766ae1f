use serde_json::Value;
use serde_json::json;

use crate::world::Job;
use crate::world::World;
use crate::world::batch;
use crate::world::shares_like;

async fn host_job(world: &World) -> Job {
    world.job(json!({"custody": "host"})).await
}

fn norm(answer: &Value) -> f64 {
    answer["gradient_norms"]["0"].as_f64().unwrap_or_else(|| panic!("no norm in {answer}"))
}

#[tokio::test]
async fn the_host_sums_what_it_is_sent_and_steps_on_the_sum() {
    let world = World::new().await;
    let mut job = host_job(&world).await;
    let before = job.theta(0).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    let shares = shares_like(&activations, 1);
    let once = job.backward(&forward, &shares).await.ok_json();
    let twice = job.backward(&forward, &shares).await.ok_json();
    assert!((norm(&twice) - 2.0 * norm(&once)).abs() <= 1e-5 * norm(&twice), "{once} then {twice}");
    assert!(once.get("gradients").is_none(), "the host keeps the products");
    let step = job.optim_step(0.01).await.ok_json();
    assert_eq!(
        (&step["object"], &step["seq"], &step["step"]),
        (&json!("fine_tuning.job.optim_step"), &json!(4), &json!(1))
    );
    assert!((norm(&step) - norm(&twice)).abs() <= 1e-5 * norm(&twice), "{step}");
    assert_ne!(job.theta(0).await, before);
    let (forward, activations) = job.forward_ok(&batch()).await;
    let fresh = job.backward(&forward, &shares_like(&activations, 1)).await.ok_json();
    assert!(norm(&fresh) < norm(&twice) * 0.9, "the sum begins anew: {fresh}");
}

#[tokio::test]
async fn the_durable_step_follows_the_checkpoints() {
    let world = World::new().await;
    let mut job = host_job(&world).await;
    let mut durable = Vec::new();
    for seed in 0..4 {
        let (forward, activations) = job.forward_ok(&batch()).await;
        job.backward(&forward, &shares_like(&activations, seed)).await.ok();
        let step = job.optim_step(0.01).await.ok_json();
        durable.push((step["durable_step"].as_u64(), step["durable_seq"].as_u64()));
    }
    let none = (Some(0), Some(0));
    assert_eq!(durable, [none, (Some(2), Some(6)), (Some(2), Some(6)), (Some(4), Some(12))]);
    let split = job.view().await["split"].clone();
    assert_eq!((&split["durable_seq"], &split["optimizer_steps"]), (&json!(12), &json!(4)));
}

#[tokio::test]
async fn clipping_bounds_the_norm() {
    let world = World::new().await;
    let mut job = host_job(&world).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    job.backward(&forward, &shares_like(&activations, 1)).await.ok();
    let body = json!({"seq": job.seq, "lr": 0.01, "betas": [0.8, 0.9], "eps": 1e-6, "weight_decay": 0.0, "max_grad_norm": 1e-3});
    let step = job.client.post(&job.path("/optim_step"), &body).await.ok_json();
    assert!(step["clipped_norm"].as_f64().is_some_and(|norm| norm <= 1.001e-3), "{step}");
}

#[tokio::test]
async fn each_wrong_setting_is_refused_and_the_values_stay() {
    let world = World::new().await;
    let mut job = host_job(&world).await;
    let before = job.theta(0).await;
    job.optim_step(0.01).await.refused(422, "tensor_invalid");
    let (forward, activations) = job.forward_ok(&batch()).await;
    job.backward(&forward, &shares_like(&activations, 1)).await.ok();
    let seq = job.seq;
    let cases = [
        (json!({"seq": seq}), "invalid_json"),
        (json!({"seq": seq, "lr": -1.0}), "invalid_setting"),
        (json!({"seq": seq, "lr": 0.1, "betas": [1.0, 0.9]}), "invalid_setting"),
        (json!({"seq": seq, "lr": 0.1, "max_grad_norm": 0.0}), "invalid_setting"),
        (json!({"seq": seq, "lr": 0.1, "eps": -1.0}), "invalid_setting"),
        (json!({"seq": seq, "lr": 0.1, "momentum": 0.9}), "unknown_field"),
        (json!({"seq": seq, "lr": 0.1, "label": 1}), "label_present"),
    ];
    for (body, code) in cases {
        job.client.post(&job.path("/optim_step"), &body).await.refused(400, code);
    }
    assert_eq!((job.theta(0).await, job.next_seq().await), (before, seq));
    job.optim_step(0.01).await.ok();
}

#[tokio::test]
async fn a_step_that_would_not_be_finite_is_refused_and_the_values_stay() {
    let world = World::new().await;
    let mut job = host_job(&world).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    job.backward(&forward, &shares_like(&activations, 1)).await.ok();
    let before = job.theta(0).await;
    job.optim_step(1e300).await.refused(422, "tensor_invalid");
    assert_eq!((job.theta(0).await, job.next_seq().await), (before, 3));
    job.optim_step(0.01).await.ok();
}

#[tokio::test]
async fn in_client_custody_the_client_steps() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    job.step_ok().await;
    job.optim_step(0.01).await.refused(409, "client_custody");
    assert_eq!(job.next_seq().await, 3);
}
