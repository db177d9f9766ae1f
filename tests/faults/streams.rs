//! Streams of events: they wait without holding anything, hear of events wherever those are written, and survive the loss of
//! the connection that listens.

use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::client_custody::host_and_client;
use crate::host::POLL;
use crate::host::until;
use crate::stream::Stream;
use crate::world::Job;
use crate::world::split_job;

/// A ping that no test waits for.
const RARE: (&str, &str) = ("BLINDTUNE_SERVER__SSE_PING_SECS", "60");

async fn follow(client: &Client, job: &Job) -> Stream {
    Stream::open(client, &job.path("/events"), None).await
}

async fn report(client: &Client, job: &Job, step: u64) {
    client.post(&job.path("/metrics"), &json!({"step": step, "metrics": {"loss": 0.5}})).await.ok();
}

/// Reads on until the metrics of this step come, and gives the steps on the way.
async fn until_step(stream: &mut Stream, step: u64) -> Vec<u64> {
    let mut steps = Vec::new();
    while steps.last() != Some(&step) {
        let frame = stream.event().await.expect("the stream goes on");
        steps.extend(frame.json()["data"]["step"].as_u64());
    }
    steps
}

#[tokio::test]
async fn a_listener_at_another_host_hears_of_it_at_once() {
    let (first, client) = host_and_client(&[RARE]).await;
    let second = first.start_beside(&[RARE]).await;
    let there = client.at(&second.base());
    let job = split_job(&client, json!({})).await;
    let mut stream = follow(&there, &job).await;
    report(&client, &job, 1).await;
    until_step(&mut stream, 1).await;
    for step in 2..6 {
        let sent = Instant::now();
        report(&client, &job, step).await;
        assert_eq!(until_step(&mut stream, step).await, [step]);
        // A look by ping would come after 60 s.
        assert!(sent.elapsed() < Duration::from_secs(20), "{:?}: that was a poll", sent.elapsed());
    }
}

#[tokio::test]
async fn a_silent_stream_is_pinged_and_holds_nothing_that_requests_need() {
    let settings = [
        ("BLINDTUNE_SERVER__SSE_PING_SECS", "1"),
        ("BLINDTUNE_SERVER__CONTROL_TIMEOUT_SECS", "2"),
        ("BLINDTUNE_SERVER__MAX_REQUESTS_IN_FLIGHT", "2"),
        ("BLINDTUNE_DATABASE__MAX_CONNECTIONS", "2"),
        ("BLINDTUNE_SERVER__MAX_EVENT_STREAMS", "12"),
        ("BLINDTUNE_SERVER__PROJECT_SHARE", "1"),
    ];
    let (host, client) = host_and_client(&settings).await;
    let other = Client::new(&host.base(), Some(&host.key("other", &[]).await));
    let (job, theirs) = (split_job(&client, json!({})).await, split_job(&other, json!({})).await);
    let mut streams = Vec::new();
    for _ in 0..12 {
        streams.push(follow(&client, &job).await);
    }
    other.get(&theirs.path("/events?stream=true")).await.refused(503, "too_many_streams");
    for _ in 0..5 {
        client.get(&job.path("")).await.ok();
    }
    for stream in &mut streams {
        let mut pings = 0;
        while pings < 3 {
            pings += u32::from(stream.frame().await.expect("the stream goes on").comment == "ping");
        }
    }
    report(&client, &job, 1).await;
    for stream in &mut streams {
        until_step(stream, 1).await;
    }
    drop(streams);
    let path = job.path("/events?stream=true");
    until("places are given back", async || {
        client.call(Method::GET, &path).start().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
    let mut again = follow(&client, &job).await;
    until_step(&mut again, 1).await;
}

#[tokio::test]
async fn one_projects_streams_leave_room_for_anothers() {
    let (host, client) = host_and_client(&[RARE, ("BLINDTUNE_SERVER__MAX_EVENT_STREAMS", "4")]).await;
    let neighbour = Client::new(&host.base(), Some(&host.key("neighbour", &[]).await));
    let (job, theirs) = (split_job(&client, json!({})).await, split_job(&neighbour, json!({})).await);
    let mut streams = vec![follow(&client, &job).await, follow(&client, &job).await];
    let path = job.path("/events?stream=true");
    let reply = client.get(&path).await;
    let error = reply.refused(429, "too_many_project_streams");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("server.project_share")), "{error}");
    assert!(!reply.header("retry-after").is_empty());
    let _theirs = [follow(&neighbour, &theirs).await, follow(&neighbour, &theirs).await];
    streams.pop();
    until("the share is given back", async || {
        client.call(Method::GET, &path).start().await.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_listening_connection_is() {
    let (host, client) = host_and_client(&[RARE]).await;
    let job = split_job(&client, json!({})).await;
    let mut stream = follow(&client, &job).await;
    let mut admin = PgConnection::connect(host.database()).await.expect("connects");
    let mut cuts = 0;
    for step in 0..40 {
        if step % 8 == 3 {
            let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                       where datname = current_database() and query ilike 'listen %'";
            let count: i64 = sqlx::query_scalar(cut).fetch_one(&mut admin).await.expect("cuts");
            assert!(count <= 1, "{count} connections listen");
            cuts += count;
        }
        report(&client, &job, step).await;
        // Not to wait for anything: some steps fall before the host listens again, and some after.
        tokio::time::sleep(POLL).await;
    }
    assert_eq!(until_step(&mut stream, 39).await, (0..40).collect::<Vec<_>>());
    assert!(cuts > 0, "no connection was cut");
}

#[tokio::test]
async fn open_streams_end_with_the_host_and_can_be_resumed_at_the_next() {
    let (mut host, client) = host_and_client(&[RARE]).await;
    let second = host.start_beside(&[RARE]).await;
    let job = split_job(&client, json!({})).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(follow(&client, &job).await);
    }
    report(&client, &job, 1).await;
    let asked = Instant::now();
    host.signal("TERM");
    let mut last = String::new();
    for stream in &mut streams {
        let frames = stream.rest().await;
        assert!(frames.iter().all(|frame| frame.data != "[DONE]"), "the job goes on");
        last = frames.last().map(|frame| frame.id.clone()).unwrap_or(last);
    }
    // Held, it would take all of server.shutdown_secs, which is 25.
    assert!(host.ended(Duration::from_secs(60)).await.success(), "{}", host.log());
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}: streams held the host", asked.elapsed());
    let there = client.at(&second.base());
    there.verb(&job.path("/cancel")).await.ok();
    let mut resumed = Stream::open(&there, &job.path("/events"), (!last.is_empty()).then_some(&last)).await;
    let told: Vec<Value> =
        resumed.rest().await.iter().rev().skip(1).map(|frame| frame.json()["data"].clone()).collect();
    assert_eq!(told.first(), Some(&json!({"status": "cancelled"})));
}

#[tokio::test]
async fn a_revoked_key_ends_its_streams() {
    let settings = [("BLINDTUNE_SERVER__SSE_PING_SECS", "1"), ("BLINDTUNE_KEYS__CACHE_SECS", "1")];
    let (host, client) = host_and_client(&settings).await;
    let job = split_job(&client, json!({})).await;
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    let mut stream = follow(&client, &job).await;
    let revoke = "update api_keys set revoked_at = now()";
    sqlx::raw_sql(revoke).execute(&mut connection).await.expect("revokes");
    let frames = stream.rest().await;
    assert!(frames.iter().all(|frame| frame.data != "[DONE]"), "{frames:?}");
    client.get(&job.path("")).await.refused(401, "invalid_api_key");
}
