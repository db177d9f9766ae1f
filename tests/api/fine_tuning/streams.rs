use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::stream::Frame;
use crate::stream::Stream;
use crate::world::Job;
use crate::world::World;

async fn report(job: &Job, step: u64) {
    job.client.post(&job.path("/metrics"), &json!({"step": step, "metrics": {"loss": 0.5}})).await.ok();
}

/// What the list has, oldest first.
async fn listed(job: &Job) -> Vec<Value> {
    let list = job.client.get(&job.path("/events?limit=100&order=asc")).await.ok_json();
    list["data"].as_array().expect("a list").clone()
}

fn ids(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.id.as_str()).filter(|id| !id.is_empty()).collect()
}

#[tokio::test]
async fn a_stream_tells_the_whole_story_in_order_and_ends() {
    let world = World::new().await;
    let mut job = world.job(json!({"custody": "host"})).await;
    let mut stream = Stream::open(&job.client, &job.path("/events"), None).await;
    report(&job, 1).await;
    job.step_ok().await;
    let checkpoint = job.client.verb(&job.path("/checkpoints")).await.ok_json();
    job.verb("complete").await.ok();
    let mut frames = stream.rest().await;
    assert_eq!(frames.pop(), Some(Frame { data: "[DONE]".to_owned(), ..Frame::default() }));
    let (told, listed): (Vec<Value>, _) = (frames.iter().map(Frame::json).collect(), listed(&job).await);
    assert_eq!(told, listed);
    for frame in &frames {
        assert_eq!(frame.id, frame.json()["id"].as_str().unwrap_or_default());
    }
    let named = |name: &str| -> Vec<Value> {
        frames.iter().filter(|frame| frame.event == name).map(|frame| frame.json()["data"].clone()).collect()
    };
    assert_eq!(named("job.metrics"), [json!({"loss": 0.5, "step": 1})]);
    assert!(named("checkpoint.created").contains(&json!({"checkpoint": checkpoint["id"]})));
    let states = named("job.status");
    assert_eq!(states.last(), Some(&json!({"status": "succeeded"})), "{states:?}");
    assert!(states.contains(&json!({"status": "running"})), "{states:?}");
}

#[tokio::test]
async fn who_asks_for_steps_is_told_how_far_the_job_has_come() {
    let world = World::new().await;
    let mut job = world.job(json!({"custody": "host"})).await;
    let mut stream = Stream::open(&job.client, &job.path("/events?steps=true"), None).await;
    let mut plain = Stream::open(&job.client, &job.path("/events"), None).await;
    let first = step(&mut stream).await;
    assert_eq!(
        (&first["job_id"], &first["next_seq"], &first["optimizer_steps"]),
        (&json!(job.id), &json!(1), &json!(0))
    );
    assert_eq!((&first["object"], &first["last_call_at"]), (&json!("fine_tuning.job.step"), &json!(null)));
    job.step_ok().await;
    job.optim_step(0.01).await.ok();
    let now = job.client.get(&job.path("")).await.ok_json();
    let mut told = step(&mut stream).await;
    while told["optimizer_steps"] != 1 {
        told = step(&mut stream).await; // it looked amid the step
    }
    for (field, known) in [
        ("next_seq", &now["split"]["next_seq"]),
        ("trained_tokens", &now["trained_tokens"]),
        ("last_call_at", &now["last_call_at"]),
    ] {
        assert_eq!(&told[field], known, "{field}");
    }
    job.verb("cancel").await.ok();
    let kept = listed(&job).await.len();
    let rest = plain.rest().await;
    assert_eq!((rest.len(), rest.iter().filter(|frame| frame.event == "job.step").count()), (kept + 1, 0));
    assert_eq!(stream.rest().await.pop().map(|last| last.data), Some("[DONE]".to_owned()));
}

/// The next frame that tells how far the job has come. It has no id: a browser keeps that of the last event.
async fn step(stream: &mut Stream) -> Value {
    loop {
        let frame = stream.event().await.expect("the stream goes on");
        if frame.event == "job.step" {
            assert_eq!(frame.id, "");
            return frame.json();
        }
    }
}

#[tokio::test]
async fn the_query_asks_for_a_stream_as_well_and_the_list_stays_the_default() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    job.verb("cancel").await.ok();
    let asked = job.client.call(Method::GET, &job.path("/events?stream=true")).send().await.ok();
    assert_eq!(asked.header("content-type"), "text/event-stream");
    assert!(asked.text().ends_with("data: [DONE]\n\n"), "{}", asked.text());
    for accept in ["*/*", "application/json", "application/json, text/event-stream"] {
        let list = job.client.call(Method::GET, &job.path("/events")).header("accept", accept).send().await.ok_json();
        assert_eq!(list["object"], "list", "{accept}");
    }
    let mut newest = job.client.get(&job.path("/events")).await.ok_json()["data"].as_array().expect("a list").clone();
    newest.reverse();
    assert_eq!(newest, listed(&job).await, "asc is desc from behind");
}

#[tokio::test]
async fn a_stream_that_is_cut_again_and_again_has_neither_gap_nor_repeat() {
    const EVENTS: u64 = 60;
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let writer = job.clone();
    let writing = tokio::spawn(async move {
        for step in 0..EVENTS {
            report(&writer, step).await;
        }
        writer.verb("cancel").await.ok();
    });
    let (mut frames, mut last) = (Vec::new(), None::<String>);
    'cut: loop {
        let path = if frames.len() % 2 == 0 { "/events" } else { "/events?after=ftevent-ignored" };
        let mut stream =
            Stream::open(&job.client, &job.path(if last.is_some() { path } else { "/events" }), last.as_deref()).await;
        for _ in 0..7 {
            let frame = stream.event().await.expect("the job goes on");
            if frame.data == "[DONE]" {
                break 'cut;
            }
            last = Some(frame.id.clone());
            frames.push(frame);
        }
    }
    writing.await.expect("writes");
    let listed: Vec<String> =
        listed(&job).await.iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(ids(&frames), listed);
    assert_eq!(listed.iter().collect::<BTreeSet<_>>().len() as u64, EVENTS + 3);
}

#[tokio::test]
async fn an_unknown_place_to_resume_from_is_refused() {
    let world = World::new().await;
    let (job, other) = (world.job(json!({})).await, world.job(json!({})).await);
    let foreign = listed(&other).await[0]["id"].as_str().expect("an id").to_owned();
    let never = format!("ftevent-{}", uuid::Uuid::now_v7().simple());
    for (last, code) in [(foreign.as_str(), "invalid_cursor"), (&never, "invalid_cursor"), ("7", "invalid_query")] {
        let call = job.client.call(Method::GET, &job.path("/events?stream=true")).header("last-event-id", last);
        call.send().await.refused(400, code);
        job.client.get(&job.path(&format!("/events?stream=true&after={last}"))).await.refused(400, code);
    }
    let stranger = World::new().await;
    let call = stranger.client.call(Method::GET, &job.path("/events")).header("accept", "text/event-stream");
    call.send().await.refused(404, "not_found");
}
