//! Whole projects: exported and deleted for good beside a running host, and what is forgotten by itself.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::client_custody::host_and_client;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::host::Host;
use crate::host::text;
use crate::host::until;
use crate::world::id;
use crate::world::split_job;

const SETTINGS: [(&str, &str); 2] =
    [("BLINDTUNE_JOBS__CHECKPOINT_EVERY_STEPS", "2"), ("BLINDTUNE_KEYS__CACHE_SECS", "1")];

/// Runs `blindtuned projects ...`: what it printed, or what it complained of.
async fn projects(host: &Host, arguments: &[&str]) -> Result<String, String> {
    let output = host.cli(&[&["projects"], arguments].concat()).await;
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
}

/// A project with some of everything: a file, a job that is over with its model and checkpoints, and one that never began.
async fn fill(client: &Client) -> String {
    let file = client.upload("notes.jsonl", "{\"text\": \"w5 w6\"}\n").await.ok_json();
    let mut run = HostRun::new(client, 6, 6, &Count::default()).await;
    run.run_to(6).await;
    run.job.verb("complete").await.ok();
    let hook = json!({"url": "https://hooks.example/in", "events": ["fine_tuning.job.succeeded"]});
    client.post("/v1/webhooks", &hook).await.ok();
    let upload = json!({"filename": "a.jsonl", "purpose": "fine-tune", "bytes": 4, "mime_type": "text/jsonl"});
    client.post("/v1/uploads", &upload).await.ok();
    let waits = split_job(client, json!({"custody": "client"})).await;
    waits.verb("cancel").await.ok();
    id(&file)
}

async fn sql(host: &Host, statement: &str) -> i64 {
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    let done = sqlx::query(statement).execute(&mut connection).await.expect("runs");
    connection.close().await.expect("closes");
    done.rows_affected() as i64
}

async fn count(host: &Host, table: &str) -> i64 {
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    let select = format!("select count(*) from {table}");
    let found = sqlx::query_scalar(&select).fetch_one(&mut connection).await.expect("counts");
    connection.close().await.expect("closes");
    found
}

/// How many blobs there are.
fn blobs(host: &Host) -> usize {
    let kinds =
        std::fs::read_dir(host.state().join("blobs")).expect("folders").map(|kind| kind.expect("readable").path());
    kinds.map(|kind| std::fs::read_dir(kind).expect("blobs").count()).sum()
}

/// The rows of an export by table.
fn rows(folder: &Path) -> BTreeMap<String, Vec<Value>> {
    let files = std::fs::read_dir(folder.join("rows")).expect("rows").map(|entry| entry.expect("readable").path());
    let read = files.map(|path| {
        let text = std::fs::read_to_string(&path).expect("text");
        let rows = text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), rows)
    });
    read.collect()
}

#[tokio::test]
async fn an_exported_project_is_whole_and_holds_nothing_of_its_neighbour_and_no_secret() {
    let (host, mine) = host_and_client(&SETTINGS).await;
    let theirs = Client::new(&host.base(), Some(&host.key("theirs", &[]).await));
    let file = fill(&mine).await;
    let other = fill(&theirs).await;
    let folder = host.scratch("somewhere").join("export");
    let said = projects(&host, &["export", "faults", &folder.to_string_lossy()]).await.expect("an export");
    assert!(said.contains("of 'faults' at "), "{said}");
    let rows = rows(&folder);
    let counted = |table: &str| rows[table].len();
    assert_eq!((counted("files"), counted("jobs"), counted("projects"), counted("webhooks")), (1, 2, 1, 1), "{said}");
    assert_eq!(rows["projects"][0]["name"], "faults");
    assert!(counted("ledger") >= 18 && counted("steps") >= 18 && counted("checkpoints") >= 1 && counted("audit") >= 1);
    for hidden in [("webhooks", "secret"), ("webhooks", "previous_secret"), ("api_keys", "token_sha256")] {
        assert!(rows[hidden.0][0].get(hidden.1).is_none(), "{hidden:?}");
    }
    assert_eq!(rows["files"][0]["id"].as_str().expect("an id").replace('-', ""), uuid_of(&file));
    let blob = rows["files"][0]["blob"].as_str().expect("a path");
    assert_eq!(std::fs::read_to_string(folder.join("blobs").join(blob)).expect("the file"), "{\"text\": \"w5 w6\"}\n");
    let tenants: Vec<&Value> = rows.values().flatten().filter_map(|row| row.get("project_id")).collect();
    assert!(tenants.iter().all(|tenant| **tenant == rows["projects"][0]["id"]), "rows of one project alone");
    let refused = projects(&host, &["export", "nobody", &folder.to_string_lossy()]).await.expect_err("no such project");
    assert!(refused.contains("nobody"), "{refused}");
    let restored = host.cli(&["restore", &folder.to_string_lossy()]).await;
    assert!(text(&restored.stderr).contains("is an export of project 'faults'"), "{}", text(&restored.stderr));
    theirs.get(&format!("/v1/files/{other}/content")).await.ok();
}

#[tokio::test]
async fn a_deleted_project_is_nowhere_any_more_and_its_neighbour_has_everything() {
    let (host, mine) = host_and_client(&SETTINGS).await;
    let theirs = Client::new(&host.base(), Some(&host.key("theirs", &[]).await));
    let other = fill(&theirs).await;
    let before = blobs(&host);
    fill(&mine).await;
    assert!(blobs(&host) > before);

    let said = projects(&host, &["delete", "faults"]).await.expect_err("nothing was deleted");
    assert!(said.contains("\"deleted\": false") && said.contains("add --yes"), "{said}");
    mine.get("/v1/files").await.ok();
    let said = projects(&host, &["delete", "faults", "--yes"]).await.expect("is deleted");
    let receipt: Value = serde_json::from_str(&said).expect("a receipt in JSON");
    let rows = &receipt["rows"];
    assert_eq!(
        (&receipt["deleted"], &rows["jobs"], &rows["files"], &rows["models"]),
        (&json!(true), &json!(2), &json!(1), &json!(1))
    );
    assert!(receipt["bytes"].as_i64() > Some(0) && receipt["blobs"].as_i64() > Some(2), "{receipt}");
    assert_eq!(blobs(&host), before, "its blobs are gone, and no other");
    mine.get("/v1/files").await.refused(401, "invalid_api_key");

    for table in ["jobs", "files", "models", "uploads", "webhooks", "usage", "audit", "idempotency", "api_keys"] {
        let others = format!("{table} where project_id <> (select id from projects where name = 'theirs')");
        assert_eq!(count(&host, &others).await, 0, "{table}");
    }
    theirs.get(&format!("/v1/files/{other}/content")).await.ok();
    assert_eq!(theirs.get("/v1/fine_tuning/jobs").await.ok_json()["data"].as_array().expect("jobs").len(), 2);
    let folder = host.scratch("somewhere").join("export");
    projects(&host, &["export", "theirs", &folder.to_string_lossy()])
        .await
        .expect("every blob of the neighbour is there");
    let anew = Client::new(&host.base(), Some(&host.key("faults", &[]).await));
    assert_eq!(anew.get("/v1/fine_tuning/jobs").await.ok_json()["data"], json!([]), "the name begins anew");
}

#[tokio::test]
async fn a_project_at_which_a_host_is_at_work_keeps_its_keys_and_rows() {
    let (host, client) = host_and_client(&SETTINGS).await;
    let mut run = HostRun::new(&client, 6, 12, &Count::default()).await;
    run.run_to(3).await;
    let refused = projects(&host, &["delete", "faults", "--yes"]).await.expect_err("a job is being trained");
    assert!(refused.contains("at work on 1 jobs or batches") && refused.contains("Cancel or complete"), "{refused}");
    run.run_to(6).await;
    run.job.verb("cancel").await.ok();
    projects(&host, &["delete", "faults", "--yes"]).await.expect("nobody is at work");
}

#[tokio::test]
async fn what_is_over_is_forgotten_when_its_time_has_come_and_not_before() {
    let settings = [
        ("BLINDTUNE_RETENTION__JOBS_DAYS", "30"),
        ("BLINDTUNE_RETENTION__AUDIT_DAYS", "30"),
        ("BLINDTUNE_RETENTION__USAGE_DAYS", "400"),
        ("BLINDTUNE_JOBS__LEASE_SECS", "3"),
    ];
    let (host, client) = host_and_client(&settings).await;
    let (old, young) = (split_job(&client, json!({})).await, split_job(&client, json!({})).await);
    old.verb("cancel").await.ok();
    young.verb("cancel").await.ok();
    let aged = format!("update jobs set finished_at = now() - interval '31 days' where id = '{}'", uuid_of(&old.id));
    assert_eq!(sql(&host, &aged).await, 1);
    let young_aged =
        format!("update jobs set finished_at = now() - interval '29 days' where id = '{}'", uuid_of(&young.id));
    assert_eq!(sql(&host, &young_aged).await, 1);
    assert!(
        sql(&host, "update audit set created_at = now() - interval '31 days' where resource is not null").await >= 1
    );
    // Requests are counted each second.
    until("use is counted, and long ago", async || sql(&host, "update usage set day = day - 399").await >= 1).await;
    until("the old job is forgotten", async || client.get(&old.path("")).await.status == 404).await;
    assert_eq!(young.status().await, "cancelled");
    until("the old entries are forgotten", async || {
        count(&host, "audit where created_at < now() - interval '30 days'").await == 0
    })
    .await;
    assert!(count(&host, "usage where day < now() - interval '300 days'").await >= 1, "400 days are not over");
}

/// The id as the database has it.
fn uuid_of(id: &str) -> &str {
    &id[id.len() - 32..]
}
