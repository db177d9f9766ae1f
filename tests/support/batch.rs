//! Batches, for the tests of several binaries.

#![allow(dead_code, reason = "each test binary uses its own part")]

use reqwest::multipart::Form;
use reqwest::multipart::Part;
use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::Reply;
use crate::features::rows;
use crate::host::until;
use crate::world::MODEL;
use crate::world::id;

pub const EMBEDDINGS: &str = "/v1/embeddings";
pub const ACTIVATIONS: &str = "/v1/activations";

/// A line of a batch.
pub fn line(custom_id: &str, url: &str, body: Value) -> Value {
    json!({"custom_id": custom_id, "method": "POST", "url": url, "body": body})
}

/// Lines for embeddings of texts of different lengths, `r0`, `r1` and so on.
pub fn lines(count: usize) -> Vec<Value> {
    let texts = rows(count).into_iter().enumerate();
    texts.map(|(at, text)| line(&format!("r{at}"), EMBEDDINGS, json!({"model": MODEL, "input": text}))).collect()
}

/// The lines as a file.
pub fn file_of(lines: &[Value]) -> String {
    lines.iter().map(|line| line.to_string() + "\n").collect()
}

/// Uploads text with purpose `batch`.
pub async fn upload(client: &Client, text: String) -> Reply {
    client.form(Form::new().text("purpose", "batch").part("file", Part::text(text).file_name("requests.jsonl"))).await
}

/// Uploads lines, and gives the file's id.
pub async fn uploaded(client: &Client, lines: &[Value]) -> String {
    id(&upload(client, file_of(lines)).await.ok_json())
}

/// The body that makes a batch.
pub fn body(file: &str, endpoint: &str) -> Value {
    json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h"})
}

/// Makes a batch of lines, and gives its id.
pub async fn batch_of(client: &Client, endpoint: &str, lines: &[Value]) -> String {
    let file = uploaded(client, lines).await;
    id(&client.post("/v1/batches", &body(&file, endpoint)).await.ok_json())
}

/// The batch.
pub async fn view(client: &Client, batch: &str) -> Value {
    client.get(&format!("/v1/batches/{batch}")).await.ok_json()
}

/// Whether the batch is over.
pub fn is_over(view: &Value) -> bool {
    ["completed", "failed", "expired", "cancelled"].iter().any(|status| view["status"] == *status)
}

/// Waits until the batch is over, and gives it.
pub async fn ended(client: &Client, batch: &str) -> Value {
    until("the batch is over", async || is_over(&view(client, batch).await)).await;
    view(client, batch).await
}

/// Waits until the batch is completed, and gives it.
pub async fn completed(client: &Client, batch: &str) -> Value {
    let view = ended(client, batch).await;
    assert_eq!(view["status"], "completed", "{view}");
    view
}

/// The text of a file that the batch names in `field`; empty where it names none.
pub async fn content(client: &Client, view: &Value, field: &str) -> String {
    match view[field].as_str() {
        None => String::new(),
        Some(file) => client.get(&format!("/v1/files/{file}/content")).await.ok().text(),
    }
}

/// Its lines.
pub fn parsed(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The `custom_id`s of lines, in their order.
pub fn custom_ids(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["custom_id"].as_str().expect("a text")).collect()
}
