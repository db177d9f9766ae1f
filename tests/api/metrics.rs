use serde_json::json;

use crate::client::JSON;
use crate::world::World;

#[tokio::test]
async fn scalars_become_an_event() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let body = json!({"step": 12, "metrics": {"learning_rate": 0.001, "train_loss": 0.25}});
    let event = job.client.post(&job.path("/metrics"), &body).await.ok_json();
    assert_eq!((&event["object"], &event["type"]), (&json!("fine_tuning.job.event"), &json!("metrics")));
    assert_eq!(event["data"], json!({"learning_rate": 0.001, "train_loss": 0.25, "step": 12}));
    let events = job.client.get(&job.path("/events")).await.ok_json();
    assert_eq!(events["data"][0], event, "newest first");
}

#[tokio::test]
async fn a_name_that_looks_like_a_label_is_refused_and_nothing_is_kept() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let before = job.client.get(&job.path("/events")).await.ok().text();
    for name in ["label", "Labels", "y", "target", "gold_label"] {
        let body = json!({"step": 1, "metrics": {"loss": 0.5, name: 1.0}});
        let error = job.client.post(&job.path("/metrics"), &body).await.refused(400, "label_present");
        assert_eq!(error["param"], format!("metrics.{name}"));
    }
    let long = "x".repeat(65);
    for body in [json!({"step": 1, "metrics": {"": 1.0}}), json!({"step": 1, "metrics": {long: 1.0}})] {
        job.client.post(&job.path("/metrics"), &body).await.refused(400, "invalid_metric");
    }
    job.client
        .post(&job.path("/metrics"), &json!({"step": 1, "metrics": {"loss": "0.5"}}))
        .await
        .refused(400, "invalid_json");
    let infinite = b"{\"step\": 1, \"metrics\": {\"loss\": 1e999}}".to_vec();
    let call = job.client.call(reqwest::Method::POST, &job.path("/metrics")).body(JSON, infinite);
    call.send().await.refused(400, "invalid_json");
    assert_eq!(job.client.get(&job.path("/events")).await.ok().text(), before);
    assert!(job.ledger().await.is_empty());
}

#[tokio::test]
async fn a_job_that_is_over_takes_none() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    job.verb("cancel").await.ok();
    let body = json!({"step": 1, "metrics": {"loss": 0.5}});
    job.client.post(&job.path("/metrics"), &body).await.refused(409, "job_not_running");
}
