use std::time::Duration;

use rand::Rng;
use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;
use sqlx::Row;

use crate::client::Client;
use crate::client_custody::host_and_client;
use crate::driver::patiently;
use crate::features::contents;
use crate::features::features_job;
use crate::features::jsonl;
use crate::features::succeeded;
use crate::host::Host;
use crate::host::until;
use crate::random::random;
use crate::world::Job;
use crate::world::id;

const ROWS: usize = 600;
const SHARDS: usize = 40;

fn settings() -> Value {
    json!({"layers": "all", "tokens": "all"})
}

async fn upload(client: &Client) -> String {
    id(&client.upload("rows.jsonl", jsonl(ROWS)).await.ok_json())
}

/// How often a host took the job's lease.
async fn turns(host: &Host, job: &Job) -> i32 {
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    let uuid = job.id.trim_start_matches("ftjob-").to_owned();
    let row = sqlx::query("select attempt from jobs where replace(id::text, '-', '') = $1").bind(uuid);
    let attempt = row.fetch_one(&mut connection).await.expect("the job").get(0);
    connection.close().await.expect("closes");
    attempt
}

#[tokio::test]
async fn a_job_whose_host_is_killed_ends_with_the_bytes_of_one_that_nothing_disturbed() {
    const KILLS: usize = 10;
    let mut random = random("features");
    let shard = (ROWS / SHARDS).to_string();
    let (mut host, client) = host_and_client(&[("BLINDTUNE_FEATURES__SHARD_ROWS", &shard)]).await;
    let file = upload(&client).await;
    let undisturbed = features_job(&client, &file, &settings()).await;
    let expected = contents(&client, &succeeded(&undisturbed).await).await;
    assert_eq!((expected.len(), turns(&host, &undisturbed).await), (SHARDS, SHARDS as i32));
    let job = features_job(&client, &file, &settings()).await;
    for kill in 1..=KILLS {
        let at = (kill * ROWS / (KILLS + 1)) as u64;
        until("progress", async || {
            let view = patiently(|| client.call(reqwest::Method::GET, &job.path(""))).await.ok_json();
            view["features"]["rows_done"].as_u64().is_some_and(|rows| rows >= at)
        })
        .await;
        // Not to wait for anything: the kill falls somewhere into a shard.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
        host.crash().await;
    }
    let view = succeeded(&job).await;
    assert!(contents(&client, &view).await == expected, "the bytes differ");
    let turns = turns(&host, &job).await as usize;
    assert!((SHARDS..=SHARDS + KILLS).contains(&turns), "{turns} turns for {SHARDS} shards and {KILLS} kills");
    let files = client.get("/v1/files?purpose=fine-tune-results&limit=100").await.ok_json();
    assert_eq!(files["data"].as_array().map(Vec::len), Some(2 * SHARDS), "no file besides those that are listed");
}

#[tokio::test]
async fn a_shutdown_amid_a_shard_costs_the_job_no_attempt() {
    let (mut host, client) =
        host_and_client(&[("BLINDTUNE_FEATURES__SHARD_ROWS", "15"), ("BLINDTUNE_JOBS__MAX_BARREN_ATTEMPTS", "1")])
            .await;
    let file = upload(&client).await;
    let job = features_job(&client, &file, &settings()).await;
    for _ in 0..3 {
        host.signal("TERM");
        let status = host.ended(Duration::from_secs(30)).await;
        assert!(status.success(), "{status}\n{}", host.log());
        host.restart().await;
    }
    succeeded(&job).await;
}
