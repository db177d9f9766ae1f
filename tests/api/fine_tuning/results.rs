use serde_json::Value;
use serde_json::json;

use crate::world::Job;
use crate::world::World;

async fn report(job: &Job, step: u64, metrics: Value) {
    job.client.post(&job.path("/metrics"), &json!({"step": step, "metrics": metrics})).await.ok();
}

#[tokio::test]
async fn the_metrics_of_a_job_that_ends_become_a_file() {
    let world = World::new().await;
    for verb in ["complete", "cancel"] {
        let job = world.job(json!({})).await;
        report(&job, 1, json!({"train_loss": 0.5, "lr": 0.001})).await;
        report(&job, 2, json!({"train_loss": 0.25})).await;
        assert_eq!(job.view().await["result_files"], json!([]), "not before the end");
        let done = job.verb(verb).await.ok_json();
        let file = done["result_files"][0].as_str().expect("a file").to_owned();
        assert_eq!(job.view().await["result_files"], json!([file]), "{verb}");
        let view = world.client.get(&format!("/v1/files/{file}")).await.ok_json();
        assert_eq!(
            (&view["filename"], &view["purpose"], &view["rows"]),
            (&json!("step_metrics.csv"), &json!("fine-tune-results"), &json!(2))
        );
        let content = world.client.get(&format!("/v1/files/{file}/content")).await.ok();
        assert_eq!(content.text(), "step,lr,train_loss\n1,0.001,0.5\n2,,0.25\n");
        assert_eq!(view["bytes"], json!(content.body.len()));
        let body = json!({"model": "tiny", "training_file": file});
        let error = world.client.post("/v1/fine_tuning/jobs", &body).await.refused(400, "invalid_purpose");
        assert_eq!(error["param"], "training_file");
        world.client.delete(&format!("/v1/files/{file}")).await.ok();
    }
}

#[tokio::test]
async fn a_job_without_metrics_leaves_no_file() {
    let world = World::new().await;
    let done = world.job(json!({})).await.verb("complete").await.ok_json();
    assert_eq!(done["result_files"], json!([]));
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]));
}

#[tokio::test]
async fn more_reports_than_a_page_are_all_there_and_in_order() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    for step in 0..1003 {
        report(&job, step, json!({"loss": 1.0})).await;
    }
    let done = job.verb("cancel").await.ok_json();
    let file = done["result_files"][0].as_str().expect("a file").to_owned();
    let text = world.client.get(&format!("/v1/files/{file}/content")).await.ok().text();
    let expected: String = (0..1003).map(|step| format!("{step},1.0\n")).collect();
    assert_eq!(text, format!("step,loss\n{expected}"));
}

#[tokio::test]
async fn a_job_with_a_file_begins_in_words_that_users_know() {
    let world = World::new().await;
    let file = world.file("a.jsonl", "{\"text\": \"w5\"}\n").await;
    let job = world.job_with(json!({"training_file": file})).await;
    let list = job.client.get(&job.path("/events")).await.ok_json();
    let mut messages: Vec<_> = list["data"].as_array().expect("a list").iter().map(|e| e["message"].clone()).collect();
    messages.reverse();
    let expected = [
        format!("Created fine-tuning job: {}", job.id),
        format!("Validating training file: {file}"),
        "Files validated, moving job to queued state".to_owned(),
        "Fine-tuning job is running. It trains by the calls of its client, which has the labels, and ends when that completes it.".to_owned(),
    ];
    assert_eq!(messages[..4], expected.map(|text| json!(text)));
}
