use serde_json::json;

use crate::client::OCTETS;
use crate::client::Tensor;
use crate::client::from_json;
use crate::client::to_json;
use crate::world::World;
use crate::world::batch;
use crate::world::values;

/// The largest difference of two elements.
fn furthest(a: &Tensor, b: &Tensor) -> f32 {
    a.floats().iter().zip(b.floats()).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

#[tokio::test]
async fn json_and_binary_calls_give_the_same_numbers() {
    let world = World::new().await;
    let (mut binary, json) = (world.job(json!({})).await, world.job(json!({})).await);
    let theta = Tensor::f32(&[1024], &values(1024, 3));
    let mut tensors = batch();
    tensors.insert("theta.1".to_owned(), theta.clone());
    let reply = binary.forward(&tensors).await.ok();
    let ids = json!([[2, 5, 6, 3], [2, 7, 3], [2, 8, 9, 10, 3]]);
    let body = json!({"seq": 1, "input_ids": ids, "theta": {"1": theta.to_json()}});
    let answer = json.client.post(&json.path("/forward"), &body).await.ok_json();
    assert_eq!(from_json(&answer["activations"]), reply.tensors());
    let scalars = reply.scalars();
    assert_eq!((scalars["seq"].as_str(), scalars["tokens"].as_str()), ("1", "12"));
    assert_eq!(
        (&answer["object"], &answer["seq"], &answer["tokens"]),
        (&json!("fine_tuning.job.forward"), &json!(1), &json!(12))
    );
    assert!(answer["forward_id"].as_str().is_some_and(|id| id.starts_with("fwd-")));
}

#[tokio::test]
async fn the_answer_comes_in_the_form_asked_for() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let path = job.path("/forward");
    let body = json!({"train": false, "texts": ["w5"]});
    let call = || job.client.call(reqwest::Method::POST, &path).json(&body);
    let tensors = call().header("accept", OCTETS).send().await.tensors();
    let safetensors = call().header("accept", "application/vnd.safetensors").send().await.tensors();
    let json = from_json(&call().header("accept", "application/json").send().await.ok_json()["activations"]);
    assert_eq!((&tensors, &safetensors), (&json, &json));
    assert_eq!(to_json(&tensors), to_json(&json));
}

#[tokio::test]
async fn only_the_sets_asked_for_are_run() {
    let world = World::new().await;
    let mut job = world.job(json!({"adapter_sets": 3})).await;
    for (query, names) in [
        ("adapters=all", vec!["h.0", "h.1", "h.2"]),
        ("adapters=2,0", vec!["h.0", "h.2"]),
        ("adapters=1&base=true", vec!["h.1", "h.base"]),
        ("adapters=none&base=true", vec!["h.base"]),
    ] {
        let path = job.path(&format!("/forward?seq={}&{query}", job.seq));
        let tensors = job.client.post_tensors(&path, &batch()).await.tensors();
        assert_eq!(tensors.keys().map(String::as_str).collect::<Vec<_>>(), names, "{query}");
        job.seq += 1;
    }
}

#[tokio::test]
async fn fresh_adapters_change_nothing_and_the_seed_fixes_them() {
    let world = World::new().await;
    let (mut first, second) = (world.job(json!({})).await, world.job(json!({})).await);
    let activations = first.evaluate(&batch()).await;
    for set in ["h.0", "h.1"] {
        assert!(furthest(&activations[set], &activations["h.base"]) < 1e-4, "B begins at zero");
    }
    assert_eq!(first.theta(0).await, second.theta(0).await, "two jobs of one seed begin alike");
    assert_ne!(first.theta(0).await, first.theta(1).await, "two sets do not");
    let mut tensors = batch();
    let theta = Tensor::f32(&[1024], &values(1024, 5));
    tensors.insert("theta.0".to_owned(), theta.clone());
    let (_, moved) = first.forward_ok(&tensors).await;
    assert!(furthest(&moved["h.0"], &activations["h.base"]) > 1e-2);
    assert!(furthest(&moved["h.1"], &activations["h.base"]) < 1e-4);
    assert_eq!(first.theta(0).await, theta, "a new theta stays");
}

#[tokio::test]
async fn an_evaluation_is_no_step() {
    let world = World::new().await;
    let mut job = world.job(json!({"lora": {"dropout": 0.5}})).await;
    let path = job.path("/forward?train=false");
    let reply = job.client.post_tensors(&path, &batch()).await.ok();
    assert_eq!(reply.scalars().keys().collect::<Vec<_>>(), ["tokens", "truncated"], "no seq, no forward_id");
    let again = job.client.post_tensors(&path, &batch()).await;
    assert_eq!(again.body, reply.body, "no dropout");
    assert_eq!(job.next_seq().await, 1);
    job.client.post_tensors(&job.path("/forward?train=false&seq=1"), &batch()).await.refused(400, "seq_unexpected");
    job.step_ok().await;
}

#[tokio::test]
async fn pooling_none_gives_every_token_and_the_lengths() {
    let world = World::new().await;
    let mut job = world.job(json!({"pooling": "none", "adapter_sets": 1})).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    assert_eq!(activations["h.0"].shape, [12, 16]);
    assert_eq!(activations.get("lengths"), Some(&Tensor::i64(&[4, 3, 5])));
    job.backward(&forward, &crate::world::shares_like(&activations, 1)).await.ok();
}

#[tokio::test]
async fn in_host_custody_the_client_sends_no_theta() {
    let world = World::new().await;
    let mut job = world.job(json!({"custody": "host"})).await;
    let before = job.theta(0).await;
    let mut tensors = batch();
    tensors.insert("theta.0".to_owned(), Tensor::f32(&[1024], &values(1024, 5)));
    job.forward(&tensors).await.refused(400, "theta_not_accepted");
    assert_eq!((job.next_seq().await, job.theta(0).await), (1, before));
}
