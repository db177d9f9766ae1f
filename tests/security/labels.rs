//! Labels stay with their holder: whatever carries one is refused, and the place is named.

use serde_json::Value;
use serde_json::json;

use crate::client::Tensor;
use crate::world::World;
use crate::world::batch;
use crate::world::shares_like;

/// JSONL of which one line carries a further field.
fn jsonl(bad_line: usize, field: &str) -> String {
    let row = |line: usize| match line == bad_line {
        true => format!("{{\"text\": \"w5\", \"{field}\": 1}}\n"),
        false => "{\"text\": \"w5\"}\n".to_owned(),
    };
    (1..=30).map(row).collect()
}

#[tokio::test]
async fn a_file_that_carries_a_label_is_refused_with_its_line_and_the_job_goes_on() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"w5\"}, {\"role\": \"assistant\", \"content\": \"yes\"}]}\n";
    let cases = [
        ("a.csv", "text,label\nw5,1\n".to_owned(), "line 1: label"),
        ("a.csv", "\u{feff}\"Label\",text\n1,w5\n".to_owned(), "line 1: Label"),
        ("a.tsv", "text\tgold_label\nw5\t1\n".to_owned(), "line 1: gold_label"),
        ("a.jsonl", jsonl(20, "label"), "line 20: label"),
        ("a.jsonl", jsonl(7, "y"), "line 7: y"),
        ("a.jsonl", jsonl(1, "completion"), "line 1: completion"),
        ("a.jsonl", jsonl(30, "Target"), "line 30: Target"),
        ("a.jsonl", chat.to_owned(), "line 1: messages"),
    ];
    for (name, content, param) in cases {
        let error = world.client.upload(name, content).await.refused(400, "label_present");
        assert_eq!(error["param"], param, "{error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("never needs labels")), "{error}");
        job.step_ok().await;
    }
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]), "no file was kept");
}

#[tokio::test]
async fn a_call_that_carries_a_label_is_refused_wherever_it_stands() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    let mut shares = shares_like(&activations, 1);
    shares.insert("labels".to_owned(), Tensor::i64(&[0, 1, 1]));
    job.backward(&forward, &shares).await.refused(400, "label_present");
    let mut inputs = batch();
    inputs.insert("y_true".to_owned(), Tensor::i64(&[0, 1, 1]));
    job.forward(&inputs).await.refused(400, "label_present");
    let jobs = "/v1/fine_tuning/jobs".to_owned();
    let cases: [(String, Value, &str); 6] = [
        (jobs.clone(), json!({"model": "tiny", "label_column": "x"}), "label_column"),
        (jobs, json!({"model": "tiny", "metadata": {"target": "x"}}), "metadata.target"),
        (job.path("/forward"), json!({"seq": 2, "texts": ["w5"], "target": [1]}), "target"),
        (job.path("/backward"), json!({"seq": 2, "forward_id": forward, "shares": {}, "labels": [1]}), "labels"),
        (job.path("/metrics"), json!({"step": 1, "metrics": {"label_0": 1.0}}), "metrics.label_0"),
        (job.path("/metrics"), json!({"step": 1, "metrics": {}, "answers": [1]}), "answers"),
    ];
    for (path, body, param) in cases {
        let error = job.client.post(&path, &body).await.refused(400, "label_present");
        assert_eq!(error["param"], param, "{body}: {error}");
    }
    assert_eq!((job.next_seq().await, job.ledger().await.len()), (2, 1));
    job.backward(&forward, &shares_like(&activations, 1)).await.ok();
}
