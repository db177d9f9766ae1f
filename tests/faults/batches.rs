use std::collections::BTreeSet;
use std::time::Duration;

use rand::Rng;
use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::batch::EMBEDDINGS;
use crate::batch::batch_of;
use crate::batch::body;
use crate::batch::completed;
use crate::batch::content;
use crate::batch::custom_ids;
use crate::batch::lines;
use crate::batch::parsed;
use crate::batch::uploaded;
use crate::batch::view;
use crate::client::Client;
use crate::client_custody::host_and_client;
use crate::driver::patiently;
use crate::features::features_job;
use crate::features::jsonl;
use crate::features::succeeded;
use crate::host::Host;
use crate::host::until;
use crate::random::random;
use crate::world::Job;
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

/// Rows of the job and requests of the batch that are done.
async fn done(job: &Job, batch: &str) -> (u64, u64) {
    let (rows, requests) = (job.view().await, view(&job.client, batch).await);
    let count = |value: &Value| value.as_u64().expect("a count");
    (count(&rows["features"]["rows_done"]), count(&requests["request_counts"]["completed"]))
}

#[tokio::test]
async fn a_feature_job_and_a_batch_alternate() {
    let (_host, client) = host().await;
    let file = id(&client.upload("rows.jsonl", jsonl(LINES)).await.ok_json());
    let requests = uploaded(&client, &lines(LINES)).await;
    let batch = id(&client.post("/v1/batches", &body(&requests, EMBEDDINGS)).await.ok_json());
    let job = features_job(&client, &file, &json!({"layers": "all", "tokens": "all"})).await;
    let (mut began, mut now) = (None, (0, 0));
    until("one of them is over", async || {
        now = done(&job, &batch).await;
        if now.0 > 0 && now.1 > 0 {
            began.get_or_insert(now);
        }
        now.0 == LINES as u64 || now.1 == LINES as u64
    })
    .await;
    let began = began.expect("a count");
    let (rows, requests) = (now.0 - began.0, now.1 - began.1);
    // A shard has as many rows as a piece has lines; the two are not looked at in the same moment.
    assert!(rows > 0 && requests > 0, "both were on their way at once: {began:?}, {now:?}");
    assert!(rows.abs_diff(requests) <= (LINES / 4) as u64, "{rows} rows and {requests} requests meanwhile");
    completed(&client, &batch).await;
    succeeded(&job).await;
}
