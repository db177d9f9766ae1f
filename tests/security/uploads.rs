//! Uploads over the limit: refused without being held in memory, and without leaving anything on disk.

use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use serde_json::json;

use crate::client::Client;
use crate::host::Host;
use crate::raw;
use crate::world::World;
use crate::world::add_tiny;
use crate::world::split_job;

const MIB: usize = 1024 * 1024;
const BOUNDARY: &str = "part";

fn head(key: &str, path: &str, length: &str, media: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: {media}\r\n{length}\r\n\r\n"
    )
}

/// The head of an upload, with the form as far as the file's content.
fn upload(key: &str, length: &str) -> String {
    head(key, "/v1/files", length, &format!("multipart/form-data; boundary={BOUNDARY}"))
}

fn form() -> String {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--{BOUNDARY}\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n"
    )
}

/// As one chunk of a chunked body.
fn chunked(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// Files below a folder.
fn files_below(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.flat_map(|entry| match entry.path().is_dir() {
        true => files_below(&entry.path()),
        false => vec![entry.path().to_string_lossy().into_owned()],
    });
    names.collect()
}

#[tokio::test]
async fn a_gigabyte_is_refused_without_costing_memory_or_disk() {
    let settings = [("BLINDTUNE_LIMITS__FILE_BYTES", "33554432"), ("BLINDTUNE_LIMITS__TENSOR_BODY_BYTES", "33554432")];
    let host = Host::start(&settings).await;
    add_tiny(&host).await;
    let key = host.key("uploads", &[]).await;
    let client = Client::new(&host.base(), Some(&key));
    let mut job = split_job(&client, json!({})).await;
    job.step_ok().await;
    let (memory, disk) = (host.memory_kb("VmHWM"), files_below(&host.state().join("blobs")));

    let announced = upload(&key, "Content-Length: 1073741824") + &form();
    let answer = raw::send(&host.address(), &announced, &vec![b'x'; MIB], 1024).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    let row = format!("{{\"text\": \"{}\"}}\n", "w5 ".repeat(20_000));
    let begun = upload(&key, "Transfer-Encoding: chunked") + &chunked(&form());
    let answer = raw::send(&host.address(), &begun, chunked(&row).as_bytes(), 1024 * MIB / row.len()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    let endless = chunked(&"x".repeat(MIB));
    let answer = raw::send(&host.address(), &begun, endless.as_bytes(), 1024).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "a row without an end: {answer}");

    let bomb = head(&key, &job.path("/forward?seq=3"), "Content-Length: 88080384", "application/octet-stream");
    let answer = raw::send(&host.address(), &bomb, &vec![b' '; MIB], 84).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "84 MB of header: {answer}");

    let grown = host.memory_kb("VmHWM") - memory;
    assert!(grown < 24 * 1024, "the host grew by {grown} kB");
    assert_eq!(files_below(&host.state().join("blobs")), disk, "nothing is left on disk");
    assert_eq!(client.get("/v1/files").await.ok_json()["data"], json!([]));
    job.step_ok().await;
}

#[tokio::test]
async fn who_asks_before_sending_is_answered_at_once() {
    let world = World::new().await;
    let head = upload(world.client.key(), "Content-Length: 1073741824\r\nExpect: 100-continue");
    let asked = Instant::now();
    let answer = raw::send(&world.host.address(), &head, b"", 0).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // A host that waits for the body would answer when the client gives up, after 30 s.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_file_is_taken_up_to_the_limit_and_not_beyond() {
    let world = World::new().await;
    let row = "{\"text\": \"w5 w6 w7\"}\n";
    let fits = row.repeat(MIB / row.len());
    let file = world.client.upload("a.jsonl", fits.clone()).await.ok_json();
    assert_eq!(file["rows"], json!(MIB / row.len()));
    let reply = world.client.upload("b.jsonl", fits + row).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"), "{}", reply.text());
    assert!(reply.text().contains("file_bytes"), "the limit is named: {}", reply.text());
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_name_that_is_a_path_is_refused() {
    let world = World::new().await;
    for name in ["../a.jsonl", "/etc/passwd.jsonl", "a/b.jsonl", "..\\a.jsonl", "", &"x".repeat(300)] {
        let reply = world.client.upload(name, "{\"text\": \"w5\"}\n").await;
        assert_eq!(reply.status, 400, "{name}: {}", reply.text());
        assert!(!reply.code().is_empty(), "{name}");
    }
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]));
}

#[tokio::test]
async fn a_request_that_two_readers_would_read_differently_is_refused() {
    let world = World::new().await;
    let both =
        head(world.client.key(), "/v1/fine_tuning/jobs", "Content-Length: 5\r\nContent-Length: 6", "application/json");
    let answer = raw::send(&world.host.address(), &both, b"{}   {", 1).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let fat = format!("GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Fat: {}\r\n\r\n", "x".repeat(600_000));
    let answer = raw::send(&world.host.address(), &fat, b"", 0).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{}", &answer[..answer.len().min(100)]);
    world.client.get("/v1/models").await.ok();
}
