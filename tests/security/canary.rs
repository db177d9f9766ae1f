//! Secrets are in nobody's log.

use serde_json::json;

use crate::client::Client;
use crate::client::Tensor;
use crate::client::one;
use crate::host::Host;
use crate::world::add_tiny;
use crate::world::make_job;
use crate::world::values;

#[tokio::test]
async fn keys_texts_and_tensors_are_nowhere_in_the_log() {
    let host = Host::start(&[("BLINDTUNE_LOG__FILTER", "trace")]).await;
    add_tiny(&host).await;
    let key = host.key("canary", &[]).await;
    let client = Client::new(&host.base(), Some(&key));
    let secret = "canary-in-a-row";
    let row = format!("{{\"text\": \"{secret}\"}}\n");
    let file = client.upload("a.jsonl", row.clone()).await.ok_json()["id"].as_str().expect("an id").to_owned();
    let label = "canary-in-a-label";
    let bad = format!("{{\"text\": \"{secret}\", \"label\": \"{label}\"}}\n");
    client.upload("b.jsonl", bad).await.refused(400, "label_present");
    client.upload("c.jsonl", format!("{{\"text\": 7, \"x\": \"{secret}\"}}\n")).await.refused(400, "malformed_row");
    let mut job = make_job(&client, json!({"training_file": file})).await;
    job.forward_ok(&one("rows", Tensor::i64(&[0]))).await;
    let inline = "canary-in-a-call";
    let forward = client.post(&job.path("/forward"), &json!({"seq": 2, "texts": [inline]})).await.ok_json();
    job.seq = 3;
    let share = Tensor::f32(&[1, 16], &values(16, 77));
    job.backward(forward["forward_id"].as_str().expect("an id"), &one("s.0.0", share.clone())).await.ok();
    client
        .post(&job.path("/forward"), &json!({"seq": 4, "texts": [inline], "labels": [label]}))
        .await
        .refused(400, "label_present");
    client.with_key(Some(&format!("{key}x"))).get("/v1/models").await.refused(401, "invalid_api_key");
    job.verb("complete").await.ok();

    let log = host.log();
    assert!(log.contains(&job.id) && log.lines().count() > 20, "the log is there");
    let signature = key.rsplit('.').next().expect("three parts");
    let tensor = share.to_json()["data"].as_str().expect("base64").to_owned();
    let value = format!("{:?}", share.floats()[0]);
    for canary in [key.as_str(), signature, secret, label, inline, &tensor, &value, "PRIVATE KEY"] {
        let line = log.lines().find(|line| line.contains(canary));
        assert!(line.is_none(), "{canary} is in the log: {}", line.unwrap_or_default());
    }
}
