use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

use crate::client::Client;
use crate::client_custody::host_and_client;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::features::contents;
use crate::features::features_job;
use crate::features::jsonl;
use crate::features::succeeded;
use crate::host::Host;
use crate::host::text;
use crate::host::until;
use crate::world::batch;
use crate::world::id;

const KEYS: &str = "BLINDTUNE_STATE__BLOB_KEYS";
const A: (&str, &str) = ("TEST_BLOB_KEY_A", "5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c5f3c");
const B: (&str, &str) = ("TEST_BLOB_KEY_B", "a0b1a0b1a0b1a0b1a0b1a0b1a0b1a0b1a0b1a0b1a0b1a0b1a0b1a0b1a0b1a0b1");
const ONLY_A: (&str, &str) = (KEYS, "[\"env:TEST_BLOB_KEY_A\"]");
const ONLY_B: (&str, &str) = (KEYS, "[\"env:TEST_BLOB_KEY_B\"]");
const B_THEN_A: (&str, &str) = (KEYS, "[\"env:TEST_BLOB_KEY_B\", \"env:TEST_BLOB_KEY_A\"]");
const EVERY_STEP: (&str, &str) = ("BLINDTUNE_JOBS__CHECKPOINT_EVERY_STEPS", "2");
const CANARY: &str = "w5 w6 canary-that-nobody-else-writes";

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

fn have(folder: &Path, needle: &[u8]) -> bool {
    let has =
        |path: &PathBuf| std::fs::read(path).expect("readable").windows(needle.len()).any(|bytes| bytes == needle);
    files_below(folder).iter().any(has)
}

async fn content(client: &Client, file: &str) -> Vec<u8> {
    client.get(&format!("/v1/files/{file}/content")).await.ok().body
}

async fn upload(client: &Client, content: &str) -> String {
    id(&client.upload("notes.jsonl", content).await.ok_json())
}

/// What the program says when it does not start.
async fn refused_start(host: &Host) -> String {
    let started = tokio::time::timeout(Duration::from_secs(60), host.cli(&["serve", "--port", "0"]));
    let output = started.await.expect("it ends by itself");
    assert!(!output.status.success(), "it started");
    text(&output.stderr)
}

#[tokio::test]
async fn a_host_with_a_key_does_to_the_byte_what_one_without_does_and_leaves_nothing_to_read() {
    let rows = jsonl(60) + &json!({"text": CANARY}).to_string() + "\n";
    let settings = [EVERY_STEP, ("BLINDTUNE_FEATURES__SHARD_ROWS", "16")];
    let (plain_host, plain) = host_and_client(&settings).await;
    let (mut sealed_host, sealed) = host_and_client(&[&settings[..], &[A, ONLY_A]].concat()).await;
    let mut features = Vec::new();
    for client in [&plain, &sealed] {
        let file = upload(client, &rows).await;
        assert_eq!(content(client, &file).await, rows.as_bytes());
        let part = client.call(Method::GET, &format!("/v1/files/{file}/content")).header("range", "bytes=100-299");
        assert_eq!(part.send().await.text(), rows[100..300]);
        let job = features_job(client, &file, &json!({"layers": "all", "tokens": "all"})).await;
        features.push(contents(client, &succeeded(&job).await).await);
    }
    assert!(features[0] == features[1] && features[0].len() > 3, "the features differ");
    let expected = HostRun::new(&plain, 6, 9, &Count::default()).await.run().await.0;
    let mut run = HostRun::new(&sealed, 6, 9, &Count::default()).await;
    run.run_to(5).await;
    sealed_host.crash().await;
    assert!(run.run().await.0 == expected, "the adapters differ");

    let (open, closed) = (plain_host.state().join("blobs"), sealed_host.state().join("blobs"));
    assert!(have(&open, CANARY.as_bytes()), "the test can see it");
    assert!(!have(&closed, CANARY.as_bytes()) && !have(&closed, b"\"text\"") && !have(&closed, b"theta"));
    let hash = hex::encode(Sha256::digest(&rows));
    for path in files_below(&closed) {
        let name = path.to_string_lossy().into_owned();
        assert!(name.ends_with(".enc") && !name.contains(&hash[..12]), "{name}");
    }
}

#[tokio::test]
async fn keys_are_rotated_and_a_host_that_lacks_one_does_not_start() {
    let (mut host, client) = host_and_client(&[A, B]).await;
    let plain = upload(&client, "{\"text\": \"w5\"}\n").await;
    host.restart_with(ONLY_A.0, ONLY_A.1).await;
    let first = upload(&client, "{\"text\": \"w6\"}\n").await;
    host.restart_with(B_THEN_A.0, B_THEN_A.1).await;
    let second = upload(&client, "{\"text\": \"w7\"}\n").await;
    for (file, word) in [(&plain, "w5"), (&first, "w6"), (&second, "w7")] {
        assert_eq!(content(&client, file).await, format!("{{\"text\": \"{word}\"}}\n").into_bytes());
    }
    host.kill9();
    for keys in [ONLY_A, ONLY_B, (KEYS, "[]")] {
        host.set(keys.0, keys.1);
        let said = refused_start(&host).await;
        assert!(said.contains("is encrypted with key") && said.contains("state.blob_keys"), "{keys:?}: {said}");
        assert!(!said.contains(A.1) && !said.contains(B.1), "{said}");
    }
    host.restart_with(B_THEN_A.0, B_THEN_A.1).await;
    client.delete(&format!("/v1/files/{first}")).await.ok();
    host.restart_with(ONLY_B.0, ONLY_B.1).await;
    assert_eq!(content(&client, &second).await, b"{\"text\": \"w7\"}\n");
    assert_eq!(content(&client, &plain).await, b"{\"text\": \"w5\"}\n");
}

#[tokio::test]
async fn a_host_without_the_key_of_a_checkpoint_says_so_and_sets_none_aside() {
    let short = [EVERY_STEP, ("BLINDTUNE_JOBS__LEASE_SECS", "3"), ("BLINDTUNE_FEATURES__SHARD_ROWS", "15"), A, B];
    let (mut host, client) = host_and_client(&[&short[..], &[ONLY_A]].concat()).await;
    let expected = HostRun::new(&client, 6, 9, &Count::default()).await.run().await.0;
    let mut run = HostRun::new(&client, 6, 9, &Count::default()).await;
    // It starts while no blob is under the other key.
    let mut other = host.start_beside(&[&short[..], &[B_THEN_A]].concat()).await;
    let at_other = client.at(&other.base());
    let file = upload(&at_other, &jsonl(600)).await;
    client.get(&format!("/v1/files/{file}/content")).await.refused(503, "storage_locked");
    run.job.client = at_other.clone();
    run.run_to(5).await;
    // Of more shards than are done until the only host with their key is gone.
    let mut waiting = features_job(&at_other, &file, &json!({"layers": "all"})).await;
    other.kill9();
    waiting.client = client.clone();
    run.job.client = client.clone();
    until("the job is this host's", async || {
        let reply = run.job.forward(&batch()).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        reply.code() == "storage_locked"
    })
    .await;
    until("the job pauses", async || waiting.status().await == "paused").await;
    assert_eq!(waiting.view().await["error"]["code"], "storage_locked");
    let events = client.get(&run.job.path("/events?limit=100")).await.ok().text();
    assert!(!events.contains("set aside"), "{events}");
    host.restart_with(B_THEN_A.0, B_THEN_A.1).await;
    assert!(run.run().await.0 == expected, "the adapters differ");
    waiting.verb("resume").await.ok();
    succeeded(&waiting).await;
}

#[tokio::test]
async fn a_backup_holds_encrypted_blobs_as_they_lie_and_no_key_for_them() {
    let (mut host, client) = host_and_client(&[A, ONLY_A]).await;
    let rows = json!({"text": CANARY}).to_string() + "\n";
    let file = upload(&client, &rows).await;
    let folder = host.scratch("backup");
    let backup = host.cli(&["backup", &folder.to_string_lossy()]).await;
    assert!(backup.status.success(), "{}", text(&backup.stderr));
    assert!(!have(&folder, CANARY.as_bytes()) && !have(&folder, A.1.as_bytes()));
    host.kill9();

    let mut other = Host::to_be_restored(&[A]).await;
    let restored = other.cli(&["restore", &folder.to_string_lossy()]).await;
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let said = refused_start(&other).await;
    assert!(said.contains("state.blob_keys"), "{said}");
    other.restart_with(ONLY_A.0, ONLY_A.1).await;
    assert_eq!(content(&client.at(&other.base()), &file).await, rows.as_bytes());
}

/// A backup is for the host and stays encrypted; an export is for the project, which has no key of the host's.
#[tokio::test]
async fn a_project_is_exported_as_it_wrote_its_files() {
    let (host, client) = host_and_client(&[A, ONLY_A]).await;
    upload(&client, &format!("{{\"text\": \"{CANARY}\"}}\n")).await;
    let folder = host.scratch("exports").join("one");
    let output = host.cli(&["projects", "export", "faults", &folder.to_string_lossy()]).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(have(&folder.join("blobs"), CANARY.as_bytes()), "an export is readable");
    assert!(!have(&host.state().join("blobs"), CANARY.as_bytes()), "what the host keeps is not");
}
