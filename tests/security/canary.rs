//! Secrets are in no log, no refusal and no table; labels in no blob either.

use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::client::Tensor;
use crate::client::one;
use crate::host::Host;
use crate::world::add_tiny;
use crate::world::make_job;
use crate::world::values;

/// Every row of every table, binary columns in hexadecimal.
async fn tables(host: &Host) -> Vec<String> {
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    let names = "select tablename::text from pg_tables where schemaname = 'public'";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut connection).await.expect("tables");
    let mut rows = Vec::new();
    for name in names {
        let all = format!("select '{name} ' || to_jsonb(t)::text from {name} t");
        rows.extend(sqlx::query_scalar::<_, String>(&all).fetch_all(&mut connection).await.expect("rows"));
    }
    connection.close().await.expect("closes");
    rows
}

/// The bytes of all blobs.
fn blobs(host: &Host) -> Vec<u8> {
    let kinds = std::fs::read_dir(host.state().join("blobs")).expect("folders");
    let files = kinds.flat_map(|kind| std::fs::read_dir(kind.expect("readable").path()).expect("blobs"));
    files.flat_map(|file| std::fs::read(file.expect("readable").path()).expect("a blob")).collect()
}

#[tokio::test]
async fn keys_texts_and_tensors_are_in_no_log_no_refusal_and_no_table() {
    let host = Host::start(&[("BLINDTUNE_LOG__FILTER", "trace")]).await;
    add_tiny(&host).await;
    let key = host.key("canary", &[]).await;
    let client = Client::new(&host.base(), Some(&key));
    let secret = "canary-in-a-row";
    let row = format!("{{\"text\": \"{secret}\"}}\n");
    let file = client.upload("a.jsonl", row.clone()).await.ok_json()["id"].as_str().expect("an id").to_owned();
    let label = "canary-in-a-label";
    let bad = format!("{{\"text\": \"{secret}\", \"label\": \"{label}\"}}\n");
    let mut refusals = vec![
        client.upload("b.jsonl", bad).await.refused(400, "label_present"),
        client.upload("c.jsonl", format!("{{\"text\": 7, \"x\": \"{secret}\"}}\n")).await.refused(400, "malformed_row"),
    ];
    let mut job = make_job(&client, json!({"training_file": file})).await;
    job.forward_ok(&one("rows", Tensor::i64(&[0]))).await;
    let inline = "canary-in-a-call";
    let forward = client.post(&job.path("/forward"), &json!({"seq": 2, "texts": [inline]})).await.ok_json();
    job.seq = 3;
    let share = Tensor::f32(&[1, 16], &values(16, 77));
    job.backward(forward["forward_id"].as_str().expect("an id"), &one("s.0.0", share.clone())).await.ok();
    let labelled = json!({"seq": 4, "texts": [inline], "labels": [label]});
    refusals.push(client.post(&job.path("/forward"), &labelled).await.refused(400, "label_present"));
    refusals.push(client.post("/v1/embeddings", &json!({"model": "tiny", "input": [inline, 7]})).await.json());
    let forged = client.with_key(Some(&format!("{key}x")));
    refusals.push(forged.get("/v1/models").await.refused(401, "invalid_api_key"));
    job.verb("complete").await.ok();

    let log = host.log();
    assert!(log.contains(&job.id) && log.lines().count() > 20, "the log is there");
    let signature = key.rsplit('.').next().expect("three parts");
    let tensor = share.to_json()["data"].as_str().expect("base64").to_owned();
    let value = format!("{:?}", share.floats()[0]);
    let rows = tables(&host).await;
    assert!(rows.iter().any(|row| row.contains("ledger ")) && rows.len() > 20, "the tables are there");
    let refusals: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    for canary in [key.as_str(), signature, secret, label, inline, &tensor, &value, "PRIVATE KEY"] {
        let line = log.lines().find(|line| line.contains(canary));
        assert!(line.is_none(), "{canary} is in the log: {}", line.unwrap_or_default());
        let said = refusals.iter().find(|refusal| refusal.contains(canary));
        assert!(said.is_none(), "{canary} is in a refusal: {}", said.map_or("", String::as_str));
        let in_hex = hex::encode(canary);
        let row = rows.iter().find(|row| row.contains(canary) || row.contains(&in_hex));
        assert!(row.is_none(), "{canary} is in a table: {}", row.map_or("", String::as_str));
    }
    let blobs = blobs(&host);
    let holds = |text: &str| blobs.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds(secret), "a file's own texts are kept");
    assert!(!holds(label) && !holds(inline) && !holds(&key), "and nothing else that was sent");
}
