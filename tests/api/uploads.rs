use md5::Digest;
use reqwest::multipart::Form;
use reqwest::multipart::Part;
use serde_json::Value;
use serde_json::json;

use crate::client::Reply;
use crate::world::World;
use crate::world::id;

const UPLOADS: &str = "/v1/uploads";
/// Cut in the middle of a row.
const PARTS: [&str; 3] = ["{\"text\": \"w5 w6\"}\n{\"te", "xt\": \"w7\"}\n", "{\"text\": \"w8\"}\n"];

fn announced(bytes: usize) -> Value {
    json!({"bytes": bytes, "filename": "a.jsonl", "mime_type": "application/jsonl", "purpose": "fine-tune"})
}

async fn begun(world: &World, parts: &[&str]) -> (String, Vec<String>) {
    let bytes = parts.iter().map(|part| part.len()).sum();
    let upload = id(&world.client.post(UPLOADS, &announced(bytes)).await.ok_json());
    let mut ids = Vec::new();
    for part in parts {
        ids.push(id(&add(world, &upload, part).await.ok_json()));
    }
    (upload, ids)
}

async fn add(world: &World, upload: &str, bytes: &str) -> Reply {
    let part = Part::bytes(bytes.as_bytes().to_vec()).file_name("chunk");
    world.client.form_to(&format!("{UPLOADS}/{upload}/parts"), Form::new().part("data", part)).await
}

async fn complete(world: &World, upload: &str, body: &Value) -> Reply {
    world.client.post(&format!("{UPLOADS}/{upload}/complete"), body).await
}

#[tokio::test]
async fn parts_become_one_file_in_the_order_named() {
    let world = World::new().await;
    let whole = PARTS.concat();
    let mut body = announced(whole.len());
    body["expires_after"] = json!({"anchor": "created_at", "seconds": 3600});
    let upload = world.client.post(UPLOADS, &body).await.ok_json();
    assert_eq!(
        (&upload["object"], &upload["status"], &upload["file"], &upload["bytes"]),
        (&json!("upload"), &json!("pending"), &json!(null), &json!(whole.len()))
    );
    assert_eq!(upload["expires_at"], json!(upload["created_at"].as_i64().expect("a time") + 3600));
    let mut ids = Vec::new();
    for place in [2, 0, 1] {
        let part = add(&world, &id(&upload), PARTS[place]).await.ok_json();
        assert_eq!((&part["object"], &part["upload_id"]), (&json!("upload.part"), &json!(id(&upload))));
        ids.push(id(&part));
    }
    let md5 = hex::encode(md5::Md5::digest(&whole)).to_uppercase();
    let body = json!({"part_ids": [ids[1], ids[2], ids[0]], "md5": md5});
    let done = complete(&world, &id(&upload), &body).await.ok_json();
    let file = &done["file"];
    assert_eq!(
        (&done["status"], &file["rows"], &file["filename"]),
        (&json!("completed"), &json!(3), &json!("a.jsonl"))
    );
    assert_eq!(file["expires_at"], json!(file["created_at"].as_i64().expect("a time") + 3600));
    let content = world.client.get(&format!("/v1/files/{}/content", id(file))).await.ok();
    assert_eq!(content.text(), whole);
    complete(&world, &id(&upload), &body).await.refused(409, "upload_not_pending");
    add(&world, &id(&upload), "x").await.refused(409, "upload_not_pending");
}

#[tokio::test]
async fn a_completion_that_is_refused_leaves_the_upload_pending() {
    let world = World::new().await;
    let (upload, ids) = begun(&world, &PARTS).await;
    let strange = begun(&World::new().await, &PARTS).await.1[0].clone();
    let cases = [
        (json!({"part_ids": []}), 400, "parts_missing"),
        (json!({"part_ids": [ids[0], ids[1]]}), 400, "size_mismatch"),
        (json!({"part_ids": [ids[0], ids[0], ids[1], ids[2]]}), 400, "part_twice"),
        (json!({"part_ids": [ids[0], ids[1], strange]}), 404, "not_found"),
        (json!({"part_ids": ["x"]}), 404, "not_found"),
        (json!({"part_ids": [ids[2], ids[1], ids[0]]}), 400, "malformed_row"),
        (json!({"part_ids": ids, "md5": "0".repeat(32)}), 400, "md5_mismatch"),
        (json!({"part_ids": ids, "colour": "red"}), 400, "unknown_field"),
    ];
    for (body, status, code) in cases {
        complete(&world, &upload, &body).await.refused(status, code);
    }
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]));
    complete(&world, &upload, &json!({"part_ids": ids})).await.ok();
}

#[tokio::test]
async fn a_row_with_a_label_refuses_the_whole_and_names_its_line() {
    let world = World::new().await;
    let (upload, ids) = begun(&world, &["{\"text\": \"w5\"}\n{\"text\": \"w6\", \"la", "bel\": 1}\n"]).await;
    let error = complete(&world, &upload, &json!({"part_ids": ids})).await.refused(400, "label_present");
    assert_eq!(error["param"], "line 2: label");
}

#[tokio::test]
async fn a_cancelled_upload_takes_nothing_any_more() {
    let world = World::new().await;
    let (upload, ids) = begun(&world, &PARTS).await;
    let cancelled = world.client.verb(&format!("{UPLOADS}/{upload}/cancel")).await.ok_json();
    assert_eq!((&cancelled["status"], &cancelled["file"]), (&json!("cancelled"), &json!(null)));
    add(&world, &upload, "x").await.refused(409, "upload_not_pending");
    complete(&world, &upload, &json!({"part_ids": ids})).await.refused(409, "upload_not_pending");
    world.client.verb(&format!("{UPLOADS}/{upload}/cancel")).await.refused(409, "upload_not_pending");
}

#[tokio::test]
async fn each_wrong_field_of_an_announcement_is_named() {
    let world = World::new().await;
    let big = json!({"bytes": 1_048_577, "filename": "a.jsonl", "mime_type": "", "purpose": "fine-tune"});
    world.client.post(UPLOADS, &big).await.refused(413, "too_large");
    let cases = [
        ("bytes", json!(0), "invalid_size", "bytes"),
        ("bytes", json!(-1), "invalid_json", "bytes"),
        ("filename", json!("a/b.jsonl"), "invalid_filename", "filename"),
        ("filename", json!(""), "invalid_filename", "filename"),
        ("purpose", json!("assistants"), "invalid_purpose", "purpose"),
        ("mime_type", json!("x".repeat(256)), "invalid_mime_type", "mime_type"),
        ("labels", json!([1]), "label_present", "labels"),
        ("expires_after", json!({"anchor": "now", "seconds": 3600}), "invalid_expires_after", "expires_after.anchor"),
        (
            "expires_after",
            json!({"anchor": "created_at", "seconds": 1}),
            "invalid_expires_after",
            "expires_after.seconds",
        ),
    ];
    for (field, value, code, param) in cases {
        let mut body = announced(10);
        body[field] = value;
        assert_eq!(world.client.post(UPLOADS, &body).await.refused(400, code)["param"], param, "{body}");
    }
}

#[tokio::test]
async fn parts_that_are_empty_or_too_many_bytes_are_refused() {
    let world = World::new().await;
    let (upload, _) = begun(&world, &PARTS).await;
    add(&world, &upload, "").await.refused(400, "empty_part");
    add(&world, &upload, &"x".repeat(1 << 20)).await.refused(413, "too_large");
    let path = format!("{UPLOADS}/{upload}/parts");
    world.client.form_to(&path, Form::new().text("label", "1")).await.refused(400, "label_present");
    world.client.form_to(&path, Form::new().text("file", "1")).await.refused(400, "unknown_field");
    let more = Form::new().text("data", "1").text("colour", "red");
    assert_eq!(world.client.form_to(&path, more).await.refused(400, "unknown_field")["param"], "colour");
    world.client.post(&path, &json!({})).await.refused(400, "invalid_form");
}

#[tokio::test]
async fn another_projects_upload_reads_as_one_that_never_was() {
    let world = World::new().await;
    let (upload, ids) = begun(&world, &PARTS).await;
    let other = World::new().await;
    for upload in [upload.as_str(), "upload_x", &format!("upload_{}", "0".repeat(32))] {
        add(&other, upload, "x").await.refused(404, "not_found");
        complete(&other, upload, &json!({"part_ids": ids})).await.refused(404, "not_found");
        other.client.verb(&format!("{UPLOADS}/{upload}/cancel")).await.refused(404, "not_found");
    }
    complete(&world, &upload, &json!({"part_ids": ids})).await.ok();
}

#[tokio::test]
async fn a_project_has_a_hundred_pending_uploads_at_most() {
    let world = World::new().await;
    let mut first = String::new();
    for _ in 0..100 {
        first = id(&world.client.post(UPLOADS, &announced(10)).await.ok_json());
    }
    world.client.post(UPLOADS, &announced(10)).await.refused(429, "too_many_uploads");
    world.client.verb(&format!("{UPLOADS}/{first}/cancel")).await.ok();
    world.client.post(UPLOADS, &announced(10)).await.ok();
}
