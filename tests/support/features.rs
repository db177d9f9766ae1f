//! Feature jobs, for the tests of several binaries.

#![allow(dead_code, reason = "each test binary uses its own part")]

use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::client::Tensors;
use crate::client::unpack;
use crate::host::until;
use crate::world::Job;
use crate::world::MODEL;
use crate::world::id;

/// Rows of different lengths.
pub fn rows(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| (0..1 + number % 5).map(|word| format!("w{}", 4 + (number * 7 + word) % 50)).collect::<Vec<_>>())
        .map(|words| words.join(" "))
        .collect()
}

/// The same as a file.
pub fn jsonl(count: usize) -> String {
    rows(count).iter().map(|text| json!({"text": text}).to_string() + "\n").collect()
}

/// The body of a features job.
pub fn body(file: &str, settings: &Value) -> Value {
    json!({"model": MODEL, "training_file": file, "method": {"type": "features", "features": settings}})
}

/// Makes a features job.
pub async fn features_job(client: &Client, file: &str, settings: &Value) -> Job {
    let made = client.post("/v1/fine_tuning/jobs", &body(file, settings)).await.ok_json();
    Job { id: id(&made), client: client.clone(), seq: 1 }
}

/// Waits until the job is over, and gives it.
pub async fn ended(job: &Job) -> Value {
    until("the job is over", async || job.view().await["finished_at"].is_i64()).await;
    job.view().await
}

/// Waits until the job has succeeded, and gives it.
pub async fn succeeded(job: &Job) -> Value {
    let view = ended(job).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    view
}

/// The ids of a job's files.
pub fn files(view: &Value) -> Vec<String> {
    let files = view["result_files"].as_array().expect("a list").iter();
    files.map(|id| id.as_str().expect("an id").to_owned()).collect()
}

/// The bytes of a job's files.
pub async fn contents(client: &Client, view: &Value) -> Vec<Vec<u8>> {
    let mut contents = Vec::new();
    for file in files(view) {
        contents.push(client.get(&format!("/v1/files/{file}/content")).await.ok().body);
    }
    contents
}

/// The tensors of several files, one after the other.
pub fn joined(contents: &[Vec<u8>]) -> Tensors {
    let mut whole = Tensors::new();
    for (name, tensor) in contents.iter().flat_map(|content| unpack(content).0) {
        match whole.get_mut(&name) {
            None => drop(whole.insert(name, tensor)),
            Some(first) => {
                first.shape[0] += tensor.shape[0];
                first.bytes.extend(tensor.bytes);
            }
        }
    }
    whole
}
