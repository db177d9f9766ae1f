//! What expires is gone at once, and then its bytes; what a job needs stays. A host of its own, whose clock the tests turn by
//! moving the times in its database.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use std::time::SystemTime;

use reqwest::multipart::Form;
use reqwest::multipart::Part;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::client::OCTETS;
use crate::host::Host;
use crate::host::until;
use crate::world::add_tiny;
use crate::world::id;
use crate::world::make_job;

const ROWS: &str = "{\"text\": \"w5\"}\n{\"text\": \"w6\"}\n";

async fn host() -> (Host, Client) {
    let host = Host::start(&[("BLINDTUNE_JOBS__LEASE_SECS", "3")]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("p", &[]).await));
    (host, client)
}

async fn file(client: &Client) -> String {
    let form = Form::new()
        .text("purpose", "fine-tune")
        .text("expires_after[anchor]", "created_at")
        .text("expires_after[seconds]", "3600")
        .part("file", Part::text(ROWS).file_name("a.jsonl"));
    id(&client.form(form).await.ok_json())
}

/// What lives for an hour has long gone by after this.
const TWO_HOURS: i32 = 120;

/// Moves all ends of a table's rows back.
async fn let_pass(host: &Host, table: &str, minutes: i32) {
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    let sql = format!("update {table} set expires_at = expires_at - make_interval(mins => $1)");
    sqlx::query(&sql).bind(minutes).execute(&mut connection).await.expect("moves");
}

/// The blobs of a kind.
fn blobs(host: &Host, kind: &str) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(host.state().join("blobs").join(kind)).expect("a folder");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// Returns when a sweep that began after this call has ended, which is told by expired files that go. The sweep that takes the first may
/// still be at work on what else it found; it has ended when the next one takes the second.
async fn sweep_passes(host: &Host, client: &Client) {
    for _ in 0..2 {
        let before = blobs(host, "files");
        file(client).await;
        let canary = &blobs(host, "files") - &before;
        let_pass(host, "files", TWO_HOURS).await;
        until("a sweep", async || blobs(host, "files").is_disjoint(&canary)).await;
    }
}

#[tokio::test]
async fn an_expired_file_reads_as_absent_and_its_bytes_go() {
    let (host, client) = host().await;
    let (file, path) = (file(&client).await, "/v1/files");
    client.get(&format!("{path}/{file}")).await.ok();
    let_pass(&host, "files", TWO_HOURS).await;
    client.get(&format!("{path}/{file}")).await.refused(404, "not_found");
    client.get(&format!("{path}/{file}/content")).await.refused(404, "not_found");
    client.delete(&format!("{path}/{file}")).await.refused(404, "not_found");
    assert_eq!(client.get(path).await.ok_json()["data"], json!([]));
    let body = json!({"model": "tiny", "training_file": file});
    let error = client.post("/v1/fine_tuning/jobs", &body).await.refused(404, "not_found");
    assert_eq!(error["param"], "training_file");
    until("the sweep", async || blobs(&host, "files").is_empty()).await;
}

#[tokio::test]
async fn a_job_reads_its_expired_file_to_its_end() {
    let (host, client) = host().await;
    let file = file(&client).await;
    let mut job = make_job(&client, json!({"training_file": file})).await;
    let_pass(&host, "files", TWO_HOURS).await;
    client.get(&format!("/v1/files/{file}")).await.refused(404, "not_found");
    sweep_passes(&host, &client).await;
    let rows = json!({"seq": job.seq, "rows": [1, 0]});
    client.post(&job.path("/forward"), &rows).await.ok();
    job.seq += 1;
    assert_eq!(blobs(&host, "files").len(), 2, "the file and its index");
    job.verb("cancel").await.ok();
    until("the sweep", async || blobs(&host, "files").is_empty()).await;
}

#[tokio::test]
async fn an_expired_upload_takes_nothing_and_after_ten_minutes_goes_with_its_parts() {
    let (host, client) = host().await;
    let body = json!({"bytes": 5, "filename": "a.jsonl", "mime_type": "x", "purpose": "fine-tune"});
    let upload = id(&client.post("/v1/uploads", &body).await.ok_json());
    let path = format!("/v1/uploads/{upload}");
    let part = || Form::new().part("data", Part::text("12345"));
    let first = id(&client.form_to(&format!("{path}/parts"), part()).await.ok_json());
    assert_eq!(blobs(&host, "parts").len(), 1);
    let complete = json!({"part_ids": [first]});
    let refused = async |status, code| {
        client.form_to(&format!("{path}/parts"), part()).await.refused(status, code);
        client.post(&format!("{path}/complete"), &complete).await.refused(status, code);
        client.verb(&format!("{path}/cancel")).await.refused(status, code);
    };
    let_pass(&host, "uploads", 61).await;
    refused(409, "upload_not_pending").await;
    assert_eq!(blobs(&host, "parts").len(), 1, "a completion that began in time may still read it");
    let_pass(&host, "uploads", TWO_HOURS).await;
    until("the sweep", async || blobs(&host, "parts").is_empty()).await;
    refused(404, "not_found").await;
}

#[tokio::test]
async fn an_expired_checkpoint_goes_unless_a_job_would_go_on_from_it() {
    let (host, client) = host().await;
    let job = make_job(&client, json!({"method": {"type": "split", "split": {"custody": "host"}}})).await;
    let life = json!({"expires_after": {"anchor": "created_at", "seconds": 3600}});
    client.post(&job.path("/checkpoints"), &life).await.ok();
    let newest = id(&client.post(&job.path("/checkpoints"), &life).await.ok_json());
    let_pass(&host, "checkpoints", TWO_HOURS).await;
    let ids = async || {
        let list = client.get(&job.path("/checkpoints")).await.ok_json();
        list["data"].as_array().expect("a list").iter().map(id).collect::<Vec<_>>()
    };
    until("the sweep of the older one", async || ids().await == [newest.clone()]).await;
    sweep_passes(&host, &client).await;
    assert_eq!(ids().await, vec![newest]);
    job.verb("cancel").await.ok();
    until("the sweep of the newest", async || ids().await.is_empty() && blobs(&host, "checkpoints").is_empty()).await;
}

#[tokio::test]
async fn a_blob_that_no_row_names_goes_after_a_day() {
    let (mut host, client) = host().await;
    let file = file(&client).await;
    let folder = host.state().join("blobs/adapters");
    let (old, new) = (folder.join("old"), folder.join("new"));
    for path in [&old, &new] {
        std::fs::write(path, "x").expect("writes");
    }
    let yesterday = SystemTime::now() - Duration::from_secs(25 * 3600);
    let aged =
        std::fs::read_dir(host.state().join("blobs/files")).expect("a folder").map(|entry| entry.expect("one").path());
    for path in aged.chain([old.clone()]) {
        std::fs::File::options().write(true).open(path).expect("opens").set_modified(yesterday).expect("ages");
    }
    host.kill9();
    host.restart().await;
    until("the sweep", async || !old.exists()).await;
    assert!(new.exists(), "it may be on its way into a row");
    let client = client.at(&host.base());
    let content = client.call(reqwest::Method::GET, &format!("/v1/files/{file}/content")).header("accept", OCTETS);
    assert_eq!(content.send().await.ok().text(), ROWS);
}
