use serde_json::json;

use crate::world::World;
use crate::world::id;

#[tokio::test]
async fn a_job_tells_its_story_newest_first() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    job.verb("pause").await.ok();
    job.verb("cancel").await.ok();
    let list = job.client.get(&job.path("/events")).await.ok_json();
    let events = list["data"].as_array().expect("a list");
    let messages: Vec<&str> = events.iter().filter_map(|event| event["message"].as_str()).collect();
    assert_eq!(
        messages,
        [
            "Fine-tuning job is cancelled",
            "Fine-tuning job is paused",
            "Fine-tuning job is running. It trains by the calls of its client, which has the labels, and ends when that completes it.",
            &format!("Created fine-tuning job: {}", job.id),
        ]
    );
    for event in events {
        assert_eq!(
            (&event["object"], &event["type"], &event["level"]),
            (&json!("fine_tuning.job.event"), &json!("message"), &json!("info"))
        );
        assert!(event["data"].is_object() && event["created_at"].is_i64());
    }
}

#[tokio::test]
async fn events_are_paged_to_their_end() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    for step in 0..5 {
        job.client.post(&job.path("/metrics"), &json!({"step": step, "metrics": {"loss": 0.5}})).await.ok();
    }
    let all = job.client.get(&job.path("/events?limit=100")).await.ok_json();
    let all: Vec<String> = all["data"].as_array().expect("a list").iter().map(id).collect();
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = job.client.get(&job.path(&format!("/events?limit=3{after}"))).await.ok_json();
        found.extend(page["data"].as_array().expect("a list").iter().map(id));
        if page["has_more"] == false {
            break;
        }
        after = format!("&after={}", page["last_id"].as_str().expect("a cursor"));
        assert!(found.len() < 20, "the list does not end");
    }
    assert_eq!(found, all);
    assert_eq!(found.len(), 7);
}

#[tokio::test]
async fn a_cursor_of_another_job_is_refused() {
    let world = World::new().await;
    let (job, other) = (world.job(json!({})).await, world.job(json!({})).await);
    let event = other.client.get(&other.path("/events?limit=1")).await.ok_json()["last_id"].clone();
    let path = job.path(&format!("/events?after={}", event.as_str().expect("an id")));
    job.client.get(&path).await.refused(400, "invalid_cursor");
    job.client.get(&job.path("/events?after=x")).await.refused(400, "invalid_query");
    job.client.get(&job.path("/events?limit=0")).await.refused(400, "invalid_query");
}

#[tokio::test]
async fn what_a_client_reported_is_listed_by_itself() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    for step in 1..=3 {
        job.client.post(&job.path("/metrics"), &json!({"step": step, "metrics": {"loss": 0.5}})).await.ok();
    }
    let steps = |list: &serde_json::Value| -> Vec<Option<i64>> {
        list["data"].as_array().expect("a list").iter().map(|report| report["data"]["step"].as_i64()).collect()
    };
    let newest = job.client.get(&job.path("/metrics?limit=2")).await.ok_json();
    assert_eq!((steps(&newest), &newest["has_more"]), (vec![Some(3), Some(2)], &json!(true)));
    assert_eq!(newest["data"][0]["type"], "metrics");
    let after = newest["last_id"].as_str().expect("a cursor");
    let rest = job.client.get(&job.path(&format!("/metrics?after={after}"))).await.ok_json();
    assert_eq!((steps(&rest), &rest["has_more"]), (vec![Some(1)], &json!(false)));
    let oldest = job.client.get(&job.path("/metrics?order=asc")).await.ok_json();
    assert_eq!(steps(&oldest), [Some(1), Some(2), Some(3)]);
    job.client.get(&job.path("/metrics?after=x")).await.refused(400, "invalid_query");
}
