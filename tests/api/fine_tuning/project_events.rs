//! `/v1/events`: what happens to all jobs of a project.

use serde_json::Value;
use serde_json::json;

use crate::stream::Frame;
use crate::stream::Stream;
use crate::world::Job;
use crate::world::World;
use crate::world::batch;

/// Changes of state, as a stream tells them: which job, and what it is now.
async fn states(stream: &mut Stream, count: usize) -> Vec<(Frame, String, String)> {
    let mut found = Vec::new();
    while found.len() < count {
        let frame = stream.event().await.expect("a project's stream has no end");
        let event = frame.json();
        if let Some(status) = event["data"]["status"].as_str() {
            let job = event["job_id"].as_str().expect("a job").to_owned();
            found.push((frame, job, status.to_owned()));
        }
    }
    found
}

fn told(found: &[(Frame, String, String)]) -> Vec<(&str, &str)> {
    found.iter().map(|(_, job, status)| (job.as_str(), status.as_str())).collect()
}

#[tokio::test]
async fn one_stream_tells_what_happens_to_every_job() {
    let world = World::new().await;
    let before = world.job(json!({})).await;
    let mut stream = Stream::open(&world.client, "/v1/events", None).await;
    let job = world.job(json!({})).await;
    before.verb("pause").await.ok();
    job.verb("cancel").await.ok();
    let mut expected = vec![(&*job.id, "running"), (&*before.id, "paused"), (&*job.id, "cancelled")];
    let found = states(&mut stream, 3).await;
    assert_eq!(told(&found), expected, "nothing of what was before it began");
    let mut resumed = Stream::open(&world.client, "/v1/events", Some(&found[0].0.id)).await;
    expected.remove(0);
    assert_eq!(told(&states(&mut resumed, 2).await), expected, "behind the event that came last");
    let stranger = World::new().await;
    let last = &found[2].0.id;
    stranger.client.get(&format!("/v1/events?stream=true&after={last}")).await.refused(400, "invalid_cursor");
}

#[tokio::test]
async fn it_tells_how_far_jobs_have_come_to_those_who_ask() {
    let world = World::new().await;
    let (mut one, mut two) = (world.job(json!({})).await, world.job(json!({})).await);
    let mut stream = Stream::open(&world.client, "/v1/events?steps=true", None).await;
    for job in [&mut one, &mut two] {
        job.forward_ok(&batch()).await;
        job.forward_ok(&batch()).await;
    }
    let is_there =
        |job: &Job, step: &Value| step["job_id"] == *job.id && step["next_seq"] == 3 && step["trained_tokens"] == 24;
    let (mut first, mut second) = (false, false);
    while !(first && second) {
        let frame = stream.event().await.expect("it goes on");
        if frame.event == "job.step" {
            assert!(frame.id.is_empty(), "a step is nothing to resume from");
            let step = frame.json();
            (first, second) = (first || is_there(&one, &step), second || is_there(&two, &step));
        }
    }
}

#[tokio::test]
async fn the_list_has_all_jobs_newest_first() {
    let world = World::new().await;
    let (one, two) = (world.job(json!({})).await, world.job(json!({})).await);
    one.verb("cancel").await.ok();
    let list = world.client.get("/v1/events?limit=3").await.ok_json();
    let jobs: Vec<_> = list["data"].as_array().expect("a list").iter().map(|event| event["job_id"].clone()).collect();
    assert_eq!((jobs, &list["has_more"]), (vec![json!(one.id), json!(two.id), json!(two.id)], &json!(true)));
    let rest = format!("/v1/events?after={}", list["last_id"].as_str().expect("a cursor"));
    let rest = world.client.get(&rest).await.ok_json();
    assert_eq!((rest["data"].as_array().map(Vec::len), &rest["has_more"]), (Some(2), &json!(false)));
    assert_eq!(list["data"][0], one.client.get(&one.path("/events?limit=1")).await.ok_json()["data"][0]);
}
