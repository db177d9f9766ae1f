use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

use crate::client::Tensor;
use crate::client::one;
use crate::world::TEXTS;
use crate::world::World;
use crate::world::batch;
use crate::world::shares_like;

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn tensor<'a>(entry: &'a Value, name: &str) -> &'a Value {
    let tensors = entry["tensors"].as_array().expect("a list");
    tensors.iter().find(|tensor| tensor["name"] == name).unwrap_or_else(|| panic!("{name} in {entry}"))
}

#[tokio::test]
async fn every_call_leaves_names_shapes_and_hashes_in_order() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    let shares = shares_like(&activations, 1);
    job.backward(&forward, &shares).await.ok();
    job.evaluate(&batch()).await;
    let theta = job.theta(0).await;
    job.client.put_tensors(&job.path("/adapters/0"), &one("theta.0", theta.clone())).await.ok();
    job.client.post(&job.path("/metrics"), &json!({"step": 1, "metrics": {"learning_rate": 0.1}})).await.ok();
    job.client.verb(&job.path("/checkpoints")).await.ok();
    let ledger = job.ledger().await;
    let kinds: Vec<&str> = ledger.iter().filter_map(|entry| entry["kind"].as_str()).collect();
    assert_eq!(kinds, ["forward", "backward", "evaluate", "put_adapter", "metrics", "checkpoint"]);
    let times: Vec<Option<i64>> = ledger.iter().map(|entry| entry["created_at_ms"].as_i64()).collect();
    assert!(times.is_sorted() && times.first() < times.last(), "{times:?}");
    let seqs: Vec<Option<u64>> = ledger.iter().map(|entry| entry["seq"].as_u64()).collect();
    assert_eq!(seqs, [Some(1), Some(2), None, None, None, None]);
    let ids = tensor(&ledger[0], "input_ids");
    assert_eq!((&ids["dtype"], &ids["shape"], &ids["bytes"]), (&json!("I64"), &json!([12]), &json!(96)));
    assert_eq!(ids["sha256"], json!(hash(&batch()["input_ids"].bytes)));
    assert_eq!(tensor(&ledger[1], "s.1.0")["sha256"], json!(hash(&shares["s.1.0"].bytes)));
    assert_eq!(tensor(&ledger[3], "theta.0")["sha256"], json!(hash(&theta.bytes)));
    for entry in &ledger {
        assert_eq!(entry["object"], "fine_tuning.job.ledger_entry");
        assert!(entry["created_at"].is_i64() && entry["bytes"].is_u64());
        assert_eq!(entry["created_at_ms"].as_i64().map(|ms| ms / 1000), entry["created_at"].as_i64());
        assert_eq!(entry["sha256"].as_str().map(str::len), Some(64));
    }
    let summary = job.client.get(&job.path("/ledger/summary")).await.ok_json();
    let sum = |field: &str| ledger.iter().filter_map(|entry| entry[field].as_i64()).sum::<i64>();
    assert_eq!((&summary["calls"], &summary["bytes"]), (&json!(6), &json!(sum("bytes"))));
    let named: Vec<&str> =
        summary["kinds"].as_array().expect("a list").iter().filter_map(|kind| kind["kind"].as_str()).collect();
    assert_eq!(named, kinds);
    let put = &summary["kinds"][3];
    assert_eq!((&put["calls"], &put["tensor_bytes"]), (&json!(1), &json!(theta.bytes.len())));
    let newest = job.client.get(&job.path("/ledger?order=desc&limit=2")).await.ok_json();
    let two: Vec<&Value> = newest["data"].as_array().expect("a list").iter().map(|entry| &entry["kind"]).collect();
    assert_eq!((two, &newest["has_more"]), (vec![&json!("checkpoint"), &json!("metrics")], &json!(true)));
    let next = format!("/ledger?order=desc&after={}", newest["last_id"].as_str().expect("an id"));
    assert_eq!(job.client.get(&job.path(&next)).await.ok_json()["data"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn the_contents_are_never_there() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let secret = "w59 w58 a-secret-text";
    let body = json!({"seq": 1, "texts": [secret, TEXTS[0]]});
    let forward = job.client.post(&job.path("/forward"), &body).await.ok_json();
    job.seq += 1;
    let share = Tensor::f32(&[2, 16], &crate::world::values(32, 3));
    job.backward(forward["forward_id"].as_str().expect("an id"), &one("s.0.0", share.clone())).await.ok();
    let text = job.client.get(&job.path("/ledger")).await.ok().text();
    let data = share.to_json()["data"].as_str().expect("base64").to_owned();
    for content in [secret, "secret", &data, &data[..12]] {
        assert!(!text.contains(content), "{content} in {text}");
    }
    assert!(text.contains("texts") && text.contains("s.0.0"), "{text}");
}

#[tokio::test]
async fn the_ledger_is_paged_to_its_end_and_refused_calls_are_not_in_it() {
    let world = World::new().await;
    let mut job = world.job(json!({"adapter_sets": 1})).await;
    for _ in 0..3 {
        job.step_ok().await;
    }
    job.client.post_tensors(&job.path("/forward?seq=99"), &batch()).await.refused(409, "step_out_of_order");
    let (mut found, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let page = job.client.get(&job.path(&format!("/ledger?limit=4&after={after}"))).await.ok_json();
        found.extend(page["data"].as_array().expect("a list").iter().filter_map(|entry| entry["seq"].as_u64()));
        if page["has_more"] == false {
            break;
        }
        after = page["last_id"].as_str().expect("a cursor").to_owned();
        assert!(found.len() < 10, "the ledger does not end");
    }
    assert_eq!(found, [1, 2, 3, 4, 5, 6]);
}
