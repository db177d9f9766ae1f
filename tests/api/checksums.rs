use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::header::HeaderMap;
use reqwest::multipart::Form;
use reqwest::multipart::Part;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

use crate::client::Client;
use crate::client::Reply;
use crate::host::Host;
use crate::world::World;
use crate::world::id;

const ROWS: &str = "{\"text\": \"w5 w6\"}\n{\"text\": \"w7\"}\n";
const DIGEST: &str = "content-digest";
const AMZ: &str = "x-amz-checksum-sha256";

fn base64_of(bytes: &str) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}

fn hex_of(bytes: &str) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn part(digest: Option<&str>) -> Part {
    let headers =
        digest.map(|digest| HeaderMap::from_iter([(DIGEST.parse().expect("a name"), digest.parse().expect("text"))]));
    Part::text(ROWS).file_name("a.jsonl").headers(headers.unwrap_or_default())
}

async fn upload(client: &Client, digest: Option<&str>, amz: Option<&str>) -> Reply {
    let form = Form::new().text("purpose", "fine-tune").part("file", part(digest));
    send(client, "/v1/files", form, amz).await
}

async fn send(client: &Client, path: &str, form: Form, amz: Option<&str>) -> Reply {
    let call = client.call(Method::POST, path).form(form);
    match amz {
        Some(checksum) => call.header(AMZ, checksum).send().await,
        None => call.send().await,
    }
}

fn blobs(host: &Host, kind: &str) -> usize {
    let folder: &Path = &host.state().join("blobs").join(kind);
    std::fs::read_dir(folder).expect("a folder").count()
}

#[tokio::test]
async fn a_file_with_the_checksum_that_its_sender_gave_is_taken_and_shows_it() {
    let world = World::new().await;
    let (digest, amz) = (format!("sha-512=:YQ==:, sha-256=:{}:", base64_of(ROWS)), base64_of(ROWS));
    for (digest, amz) in [(Some(&digest), None), (None, Some(&amz)), (Some(&digest), Some(&amz)), (None, None)] {
        let file = upload(&world.client, digest.map(String::as_str), amz.map(String::as_str)).await.ok_json();
        assert_eq!(file["sha256"], hex_of(ROWS));
        let path = format!("/v1/files/{}/content", id(&file));
        for (range, bytes) in [(None, ROWS), (Some("bytes=3-9"), &ROWS[3..10])] {
            let call = world.client.call(Method::GET, &path);
            let call = if let Some(range) = range { call.header("range", range) } else { call };
            let answer = call.send().await;
            assert_eq!(
                (answer.text().as_str(), answer.header("repr-digest")),
                (bytes, format!("sha-256=:{}:", base64_of(ROWS)).as_str())
            );
        }
    }
}

#[tokio::test]
async fn a_file_with_another_checksum_is_refused_with_both_and_leaves_nothing() {
    let host = Host::start(&[]).await;
    let client = Client::new(&host.base(), Some(&host.key("checksums", &[]).await));
    let (wrong, right) = (base64_of("other"), base64_of(ROWS));
    let digest = |hash: &str| format!("sha-256=:{hash}:");
    let cases = [
        (Some(digest(&wrong)), None, DIGEST),
        (None, Some(&wrong), AMZ),
        (Some(digest(&right)), Some(&wrong), AMZ),
        (Some(digest(&wrong)), Some(&right), DIGEST),
    ];
    for (digest, amz, place) in cases {
        let refused =
            upload(&client, digest.as_deref(), amz.map(String::as_str)).await.refused(400, "checksum_mismatch");
        let message = refused["message"].as_str().expect("a message");
        assert!(message.contains(&hex_of(ROWS)) && message.contains(&hex_of("other")), "{message}");
        assert_eq!(refused["param"], place);
    }
    assert_eq!(client.get("/v1/files").await.ok_json()["data"], json!([]));
    assert_eq!(blobs(&host, "files"), 0);
}

#[tokio::test]
async fn a_checksum_that_is_none_is_refused_by_its_header() {
    let world = World::new().await;
    let right = base64_of(ROWS);
    for digest in [&right, &format!("sha-256={right}"), "sha-512=:YQ==:", "sha-256=:YQ==:", ""] {
        let refused = upload(&world.client, Some(digest), None).await.refused(400, "invalid_checksum");
        assert_eq!(refused["param"], DIGEST, "{digest}");
    }
    for amz in ["", "YQ==", &hex_of(ROWS), &format!(":{right}:")] {
        let refused = upload(&world.client, None, Some(amz)).await.refused(400, "invalid_checksum");
        assert_eq!(refused["param"], AMZ, "{amz}");
    }
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]));
}

#[tokio::test]
async fn a_part_and_a_whole_of_parts_are_compared_as_well() {
    let host = Host::start(&[]).await;
    let client = Client::new(&host.base(), Some(&host.key("checksums", &[]).await));
    let announced = json!({"bytes": ROWS.len(), "filename": "a.jsonl", "mime_type": "", "purpose": "fine-tune"});
    let upload = format!("/v1/uploads/{}", id(&client.post("/v1/uploads", &announced).await.ok_json()));
    let parts = format!("{upload}/parts");
    let digest = |bytes: &str| format!("sha-256=:{}:", base64_of(bytes));
    let form = |digest: Option<&str>| Form::new().part("data", part(digest));
    send(&client, &parts, form(Some(&digest("other"))), None).await.refused(400, "checksum_mismatch");
    send(&client, &parts, form(None), Some(&base64_of("other"))).await.refused(400, "checksum_mismatch");
    send(&client, &parts, form(Some("x")), None).await.refused(400, "invalid_checksum");
    assert_eq!(blobs(&host, "parts"), 0);
    let part = id(&send(&client, &parts, form(Some(&digest(ROWS))), Some(&base64_of(ROWS))).await.ok_json());
    let complete = async |sha256: &str| {
        client.post(&format!("{upload}/complete"), &json!({"part_ids": [part], "sha256": sha256})).await
    };
    assert_eq!(complete(&hex_of("other")).await.refused(400, "checksum_mismatch")["param"], "sha256");
    assert_eq!(complete("5f").await.refused(400, "invalid_checksum")["param"], "sha256");
    assert_eq!((blobs(&host, "files"), blobs(&host, "parts")), (0, 1), "the upload stays pending");
    assert_eq!(complete(&hex_of(ROWS).to_uppercase()).await.ok_json()["file"]["sha256"], hex_of(ROWS));
}
