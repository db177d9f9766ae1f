//! Rates and budgets, of a key and of a project.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use super::with;
use crate::client::Client;
use crate::client::Reply;
use crate::host::POLL;
use crate::world::Job;
use crate::world::World;
use crate::world::batch;

fn number(reply: &Reply, name: &str) -> u64 {
    reply.header(name).parse().unwrap_or_else(|_| panic!("{name}: '{}'", reply.header(name)))
}

/// An evaluation, which makes the device read twelve tokens.
async fn evaluate(client: &Client, job: &Job) -> Reply {
    client.post_tensors(&job.path("/forward?train=false"), &batch()).await
}

#[tokio::test]
async fn a_key_over_its_rate_waits_and_the_others_go_on() {
    let world = World::new().await;
    let client = with(&world, &["--requests-per-minute", "3"]).await;
    for left in [2, 1, 0] {
        let reply = client.get("/v1/models").await.ok();
        assert_eq!(
            (number(&reply, "x-ratelimit-limit-requests"), number(&reply, "x-ratelimit-remaining-requests")),
            (3, left)
        );
        assert!(reply.header("x-ratelimit-reset-requests").ends_with('s'), "{:?}", reply.headers);
        assert_eq!(number(&reply, "x-ratelimit-limit-tokens"), 100_000_000, "the host's");
    }
    let refused = client.get("/v1/models").await;
    let error = refused.refused(429, "rate_limit_exceeded");
    assert_eq!(error["type"], "rate_limit_error");
    let (ms, seconds) = (number(&refused, "retry-after-ms"), number(&refused, "retry-after"));
    assert!((1..=20_000).contains(&ms) && seconds == ms.div_ceil(1000), "{ms} ms, {seconds} s");
    assert_eq!(number(&refused, "x-ratelimit-remaining-requests"), 0);
    world.client.get("/v1/models").await.ok();
}

#[tokio::test]
async fn tokens_are_charged_when_they_are_known() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let client = with(&world, &["--tokens-per-minute", "10"]).await;
    let begun = Instant::now();
    let first = evaluate(&client, &job).await.ok();
    assert_eq!((number(&first, "x-ratelimit-limit-tokens"), number(&first, "x-ratelimit-remaining-tokens")), (10, 0));
    let refused = evaluate(&client, &job).await;
    let error = refused.refused(429, "rate_limit_exceeded");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("tokens per minute")), "{error}");
    // Two tokens too many were read, and one is wanted: three tokens at ten a minute, less the time since.
    let (wait, since) = (number(&refused, "retry-after-ms"), begun.elapsed().as_millis() as u64);
    assert!(wait <= 18_000 && wait + since >= 18_000, "{wait} ms to wait, {since} ms since: {:?}", refused.headers);
    client.get(&job.path("")).await.ok();
    evaluate(&world.client, &job).await.ok();
}

async fn spent(client: &Client, job: &Job) -> Reply {
    let begun = Instant::now();
    loop {
        let reply = evaluate(client, job).await;
        if reply.status != 200 {
            return reply;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "the budget is never spent");
        tokio::time::sleep(POLL * 5).await;
    }
}

#[tokio::test]
async fn a_spent_budget_of_a_key_ends_its_work_and_nothing_else() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let client = with(&world, &["--monthly-tokens", "12"]).await;
    evaluate(&client, &job).await.ok();
    let refused = spent(&client, &job).await;
    let error = refused.refused(429, "insufficient_quota");
    assert_eq!((&error["param"], refused.header("x-should-retry")), (&json!("monthly_tokens"), "false"));
    assert!(error["message"].as_str().is_some_and(|text| text.contains("this key")), "{error}");
    client.get(&job.path("")).await.ok();
    evaluate(&world.client, &job).await.ok();
}

#[tokio::test]
async fn a_projects_limits_hold_for_all_its_keys_and_follow_the_operator() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let limit = async |more: &[&str]| {
        let output = world.host.cli(&[&["projects", "limit", &world.project], more].concat()).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let table = limit(&["--monthly-device-seconds", "0", "--requests-per-minute", "500"]).await;
    assert!(table.contains(&world.project) && table.contains("500"), "{table}");
    let other = with(&world, &[]).await;
    for client in [&world.client, &other] {
        let error = spent(client, &job).await.refused(429, "insufficient_quota");
        assert_eq!(error["param"], "monthly_device_seconds");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("the project")), "{error}");
        assert_eq!(number(&client.get("/v1/models").await.ok(), "x-ratelimit-limit-requests"), 500);
    }
    limit(&[]).await;
    let begun = Instant::now();
    while evaluate(&other, &job).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the host follows within the time of its cache");
        tokio::time::sleep(POLL * 5).await;
    }
    let unknown = world.host.cli(&["projects", "limit", "no-such-project"]).await;
    assert!(!unknown.status.success());
}
