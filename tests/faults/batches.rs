use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use serde_json::Value;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::batch::EMBEDDINGS;
use crate::batch::batch_of;
use crate::batch::completed;
use crate::batch::content;
use crate::batch::custom_ids;
use crate::batch::is_over;
use crate::batch::lines;
use crate::batch::parsed;
use crate::batch::view;
use crate::client::Client;
use crate::client_custody::host_and_client;
use crate::driver::patiently;
use crate::features::features_job;
use crate::features::jsonl;
use crate::host::Host;
use crate::host::until;
use crate::random;
use crate::world::id;

const LINES: usize = 600;
const PIECE: usize = 15;

async fn host() -> (Host, Client) {
    let settings = [("BLINDTUNE_BATCHES__PIECE_LINES", "15"), ("BLINDTUNE_FEATURES__SHARD_ROWS", "15")];
    host_and_client(&settings).await
}

/// The batch, from a host that may be down.
async fn seen(client: &Client, batch: &str) -> Value {
    patiently(|| client.call(reqwest::Method::GET, &format!("/v1/batches/{batch}"))).await.ok_json()
}

/// Bytes of the answers alone: ids name the batch.
async fn bodies(client: &Client, view: &Value) -> Vec<String> {
    let text = content(client, view, "output_file_id").await;
    let bodies = text.lines().map(|line| line.split_once("\"body\":").expect("a body").1.to_owned());
    bodies.collect()
}

/// How often a host took the lease of the newest batch.
async fn turns(host: &Host) -> i32 {
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    let attempt = sqlx::query_scalar("select attempt from batches order by id desc limit 1");
    let attempt = attempt.fetch_one(&mut connection).await.expect("a batch");
    connection.close().await.expect("closes");
    attempt
}

#[tokio::test]
async fn a_batch_whose_host_is_killed_answers_each_request_once_with_the_bytes_of_one_that_nothing_disturbed() {
    const KILLS: usize = 8;
    let mut random = random("batches");
    let (mut host, client) = host().await;
    let lines = lines(LINES);
    let undisturbed = batch_of(&client, EMBEDDINGS, &lines).await;
    let expected = bodies(&client, &completed(&client, &undisturbed).await).await;
    assert_eq!(expected.len(), LINES);
    let least = LINES / PIECE + 2; // the check of the lines, the pieces, the files
    assert_eq!(turns(&host).await as usize, least);
    let batch = batch_of(&client, EMBEDDINGS, &lines).await;
    for kill in 1..=KILLS {
        let at = (kill * LINES / (KILLS + 1)) as u64;
        until("progress", async || {
            seen(&client, &batch).await["request_counts"]["completed"].as_u64().is_some_and(|done| done >= at)
        })
        .await;
        // Not to wait for anything: the kill falls somewhere into a piece.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..20_000))).await;
        host.crash().await;
    }
    let view = completed(&client, &batch).await;
    assert_eq!(bodies(&client, &view).await, expected, "the bytes differ");
    let answers = parsed(&content(&client, &view, "output_file_id").await);
    assert_eq!(custom_ids(&answers), custom_ids(&lines), "each once, in order");
    let ids: BTreeSet<&str> = answers.iter().map(|answer| answer["id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), LINES);
    let turns = turns(&host).await as usize;
    assert!((least..=least + KILLS).contains(&turns), "{turns} turns, {least} undisturbed, {KILLS} kills");
    let report = client.get("/v1/usage?group_by=model").await.ok_json();
    let tokens: u64 =
        report["data"].as_array().expect("rows").iter().filter_map(|row| row["inference_tokens"].as_u64()).sum();
    assert_eq!(2 * view["usage"]["total_tokens"].as_u64().expect("tokens"), tokens, "what was used is counted once");
    let blobs = std::fs::read_dir(host.state().join("blobs/batches")).expect("a folder");
    let whole =
        blobs.filter(|entry| !entry.as_ref().expect("an entry").path().to_string_lossy().ends_with(".tmp")).count();
    assert!((2..=2 + KILLS).contains(&whole), "the files, and at most what a kill left: {whole}");
}

#[tokio::test]
async fn a_shutdown_amid_a_piece_costs_the_batch_no_attempt() {
    let settings = [("BLINDTUNE_BATCHES__PIECE_LINES", "40"), ("BLINDTUNE_JOBS__MAX_BARREN_ATTEMPTS", "1")];
    let (mut host, client) = host_and_client(&settings).await;
    let batch = batch_of(&client, EMBEDDINGS, &lines(LINES)).await;
    for _ in 0..3 {
        host.signal("TERM");
        host.ended(Duration::from_secs(30)).await;
        host.restart().await;
    }
    completed(&client, &batch).await;
}

#[tokio::test]
async fn a_feature_job_and_a_batch_alternate() {
    let (_host, client) = host().await;
    let file = id(&client.upload("rows.jsonl", jsonl(LINES)).await.ok_json());
    let job = features_job(&client, &file, &serde_json::json!({"layers": "all", "tokens": "all"})).await;
    let batch = batch_of(&client, EMBEDDINGS, &lines(LINES)).await;
    let mut both = 0;
    until("one of them is over", async || {
        let (job, batch) = (job.view().await, view(&client, &batch).await);
        let (rows, done) = (job["features"]["rows_done"].as_u64(), batch["request_counts"]["completed"].as_u64());
        let is_between = |count: Option<u64>| count.is_some_and(|count| (1..LINES as u64).contains(&count));
        both += usize::from(is_between(rows) && is_between(done));
        job["finished_at"].is_i64() || is_over(&batch)
    })
    .await;
    assert!(both > 0, "both were on their way at once");
    let (rows, done) = (job.view().await["features"]["rows_done"].as_u64(), view(&client, &batch).await);
    let (rows, done) = (rows.expect("a count"), done["request_counts"]["completed"].as_u64().expect("a count"));
    // Turns alternate, and a shard has as many rows as a piece has lines: what one is ahead is what it began with.
    assert!(rows.abs_diff(done) <= (LINES / 2) as u64, "{rows} rows and {done} requests");
    completed(&client, &batch).await;
    crate::features::succeeded(&job).await;
}
