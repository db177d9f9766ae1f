use serde_json::json;

use crate::client_custody::host_and_client;
use crate::world::batch;
use crate::world::make_job;

#[tokio::test]
async fn a_job_that_kills_its_host_three_times_without_a_step_fails_and_others_go_on() {
    let (mut host, client) = host_and_client(&[]).await;
    let (mut cursed, mut other) = (make_job(&client, json!({})).await, make_job(&client, json!({})).await);
    let metrics = json!({"step": 1, "metrics": {"loss": 0.5}});
    client.post(&cursed.path("/metrics"), &metrics).await.ok();
    for _ in 0..3 {
        // Opens a session, and takes no step.
        client.get(&cursed.path("/adapters")).await.ok();
        other.step_ok().await;
        host.crash().await;
    }
    cursed.forward(&batch()).await.refused(409, "job_not_running");
    let view = cursed.view().await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("failed"), &json!("crash_loop")));
    assert!(view["finished_at"].is_i64() && view["error"]["message"].is_string());
    let results = view["result_files"][0].as_str().expect("what was reported is not lost");
    let content = client.get(&format!("/v1/files/{results}/content")).await.ok();
    assert_eq!(content.text(), "step,loss\n1,0.5\n");
    let events = client.get(&cursed.path("/events")).await.ok_json();
    assert_eq!(events["data"][0]["level"], "error");
    other.step_ok().await;
}

#[tokio::test]
async fn one_step_in_between_forgives_the_crashes() {
    let (mut host, client) = host_and_client(&[]).await;
    let mut job = make_job(&client, json!({})).await;
    for _ in 0..4 {
        client.get(&job.path("/adapters")).await.ok();
        host.crash().await;
        job.step_ok().await;
    }
    assert_eq!(job.status().await, "running");
}

#[tokio::test]
async fn pauses_are_no_crashes() {
    let (_host, client) = host_and_client(&[]).await;
    let job = make_job(&client, json!({})).await;
    for _ in 0..5 {
        client.get(&job.path("/adapters")).await.ok();
        job.verb("pause").await.ok();
        job.verb("resume").await.ok();
    }
    assert_eq!(job.status().await, "running");
}
