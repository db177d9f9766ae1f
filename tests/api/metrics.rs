use serde_json::json;

use crate::client::Client;
use crate::client::JSON;
use crate::host::Host;
use crate::world::World;
use crate::world::add_tiny;
use crate::world::make_job;

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

#[tokio::test]
async fn names_of_metrics_are_bounded_and_a_job_with_many_reports_completes() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    job.step_ok().await;
    let report = |step: u64, names: std::ops::Range<u64>| {
        let metrics: serde_json::Map<_, _> = names.map(|name| (format!("loss_{name}"), json!(step))).collect();
        json!({"step": step, "metrics": metrics})
    };
    let error = job.client.post(&job.path("/metrics"), &report(0, 0..3500)).await.refused(400, "too_many_metrics");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("limits.metric_names_per_job")), "{error}");
    for step in 1..=60 {
        job.client.post(&job.path("/metrics"), &report(step, 0..200)).await.ok();
    }
    job.client.post(&job.path("/metrics"), &report(61, 200..300)).await.refused(400, "too_many_metrics");
    let done = job.verb("complete").await.ok_json();
    let file = done["result_files"][0].as_str().expect("a file").to_owned();
    let csv = job.client.get(&format!("/v1/files/{file}/content")).await.ok().text();
    assert_eq!(csv.lines().count(), 61, "the refused reports are not in it");
    assert!(csv.lines().all(|line| line.split(',').count() == 201), "a column for each name");
}

#[tokio::test]
async fn values_of_metrics_are_bounded_over_all_reports_of_a_job() {
    let host = Host::start(&[("BLINDTUNE_LIMITS__METRIC_VALUES_PER_JOB", "40")]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("reports", &[]).await));
    let mut job = make_job(&client, json!({})).await;
    job.step_ok().await;
    let report = json!({"step": 1, "metrics": {"loss": 0.5}});
    for _ in 0..4 {
        client.post(&job.path("/metrics"), &report).await.ok();
    }
    let error = client.post(&job.path("/metrics"), &report).await.refused(400, "too_many_metrics");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("limits.metric_values_per_job")), "{error}");
    job.verb("complete").await.ok();
}
