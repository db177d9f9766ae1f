use reqwest::Method;
use reqwest::multipart::Form;
use reqwest::multipart::Part;
use serde_json::Value;
use serde_json::json;

use crate::client::Client;
use crate::host::Host;
use crate::world::World;
use crate::world::add_tiny;
use crate::world::id;
use crate::world::make_job;

const THREE_ROWS: &str = "{\"text\": \"w5 w6\"}\n{\"text\": \"w7\", \"text_pair\": \"w8\"}\n\n{\"text\": \"w9\"}\n";

fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().expect("a list").iter().map(id).collect()
}

#[tokio::test]
async fn a_file_is_kept_as_it_came_until_it_is_deleted() {
    let world = World::new().await;
    let file = world.client.upload("rows.jsonl", THREE_ROWS).await.ok_json();
    assert_eq!(
        (&file["object"], &file["filename"], &file["purpose"]),
        (&json!("file"), &json!("rows.jsonl"), &json!("fine-tune"))
    );
    assert_eq!(
        (&file["bytes"], &file["rows"], &file["status"]),
        (&json!(THREE_ROWS.len()), &json!(3), &json!("processed"))
    );
    assert!(file["created_at"].is_i64() && file["expires_at"].is_null());
    let path = format!("/v1/files/{}", id(&file));
    assert_eq!(world.client.get(&path).await.ok_json(), file);
    let content = world.client.get(&format!("{path}/content")).await.ok();
    assert_eq!(content.text(), THREE_ROWS);
    let deleted = world.client.delete(&path).await.ok_json();
    assert_eq!(deleted, json!({"id": id(&file), "object": "file", "deleted": true}));
    world.client.get(&path).await.refused(404, "not_found");
    world.client.get(&format!("{path}/content")).await.refused(404, "not_found");
    world.client.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn each_format_is_read() {
    let world = World::new().await;
    let cases = [
        ("a.csv", "text,text_pair\n\"w5, w6\",w7\n\"two\nlines\",w8\n", 2),
        ("a.tsv", "text\nw5 \"w6\nw7\n", 2),
        ("a.jsonl", "{\"input_ids\": [2, 5, 3]}\n{\"input_ids\": [2, 3]}", 2),
        ("A.CSV", "\u{feff}text\r\nw5\r\n", 1),
        ("no-extension", "{\"text\": \"w5\"}", 1),
    ];
    for (name, content, rows) in cases {
        assert_eq!(world.client.upload(name, content).await.ok_json()["rows"], rows, "{name}");
    }
}

#[tokio::test]
async fn the_fields_of_the_form_come_in_any_order() {
    let world = World::new().await;
    let part = || Part::text("{\"text\": \"w5\"}\n").file_name("a.jsonl");
    let stock = Form::new().text("purpose", "fine-tune").text("expires_after[anchor]", "created_at");
    let stock = stock.text("expires_after[seconds]", "3600").part("file", part());
    let made = world.client.form(stock).await.ok_json();
    let life = made["expires_at"].as_i64().expect("a time") - made["created_at"].as_i64().expect("a time");
    assert_eq!(life, 3600);
    world.client.form(Form::new().part("file", part()).text("purpose", "fine-tune")).await.ok();
}

#[tokio::test]
async fn a_form_that_is_not_whole_leaves_nothing() {
    let world = World::new().await;
    let part = || Part::text("{\"text\": \"w5\"}\n").file_name("a.jsonl");
    let cases = [
        (Form::new().text("purpose", "assistants").part("file", part()), "invalid_purpose"),
        (Form::new().part("file", part()), "purpose_missing"),
        (Form::new().text("purpose", "fine-tune"), "file_missing"),
        (Form::new().text("purpose", "fine-tune").part("file", part()).text("colour", "red"), "unknown_field"),
        (Form::new().part("file", part()).text("labels", "1"), "label_present"),
        (Form::new().text("purpose", "x".repeat(300)).part("file", part()), "invalid_form"),
    ];
    for (form, code) in cases {
        world.client.form(form).await.refused(400, code);
    }
    let call = world.client.call(Method::POST, "/v1/files").json(&json!({"purpose": "fine-tune"}));
    call.send().await.refused(400, "invalid_form");
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]));
}

#[tokio::test]
async fn a_malformed_row_refuses_the_file_and_names_the_line() {
    let world = World::new().await;
    let cases = [
        ("a.jsonl", "{\"text\": \"w5\"}\nnot json\n", "line 2"),
        ("a.jsonl", "{\"text\": \"w5\"}\n\n{\"text\": 7}\n", "line 3: text"),
        ("a.jsonl", "{\"text\": \"w5\"}\n{\"input_ids\": [1]}\n", "line 2"),
        ("a.jsonl", "{\"input_ids\": [1.5]}\n", "line 1: input_ids"),
        ("a.jsonl", "{\"sentence\": \"w5\"}\n", "line 1: sentence"),
        ("a.csv", "text\nw5\nw6,w7\n", "line 3"),
        ("a.csv", "sentence\nw5\n", "line 1: sentence"),
        ("a.jsonl", "", "line 1"),
    ];
    for (name, content, param) in cases {
        let error = world.client.upload(name, content).await.refused(400, "malformed_row");
        assert_eq!(error["param"], param, "{content:?}: {error}");
    }
    world.client.upload("a.parquet", "PAR1").await.refused(400, "unknown_format");
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]));
}

#[tokio::test]
async fn a_list_is_paged_to_its_end_in_both_orders() {
    let world = World::new().await;
    let mut made = Vec::new();
    for number in 0..5 {
        made.push(world.file(&format!("{number}.jsonl"), "{\"text\": \"w5\"}\n").await);
    }
    for (order, expected) in [("asc", made.clone()), ("desc", made.iter().rev().cloned().collect())] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = world.client.get(&format!("/v1/files?limit=2&order={order}{after}")).await.ok_json();
            found.extend(ids(&page));
            assert_eq!(
                (page["first_id"].as_str(), page["last_id"].as_str()),
                (ids(&page).first().map(String::as_str), ids(&page).last().map(String::as_str))
            );
            if page["has_more"] == false {
                break;
            }
            after = format!("&after={}", page["last_id"].as_str().expect("a cursor"));
            assert!(found.len() < 10, "the list does not end");
        }
        assert_eq!(found, expected, "{order}");
    }
    assert_eq!(ids(&world.client.get("/v1/files?purpose=fine-tune").await.ok_json()).len(), 5);
    assert_eq!(ids(&world.client.get("/v1/files?purpose=assistants").await.ok_json()).len(), 0);
    assert_eq!(ids(&world.client.get("/v1/files?limit=10000").await.ok_json()).len(), 5, "what stock clients ask for");
    world.client.get("/v1/files?limit=10001").await.refused(400, "invalid_query");
}

#[tokio::test]
async fn a_cursor_that_is_not_in_the_list_is_refused() {
    let world = World::new().await;
    world.file("a.jsonl", "{\"text\": \"w5\"}\n").await;
    world.client.get("/v1/files?after=x").await.refused(400, "invalid_query");
    world.client.get("/v1/files?limit=0").await.refused(400, "invalid_query");
    world.client.get("/v1/files?order=up").await.refused(400, "invalid_query");
    let random = "/v1/files?after=file-00000000000000000000000000000000";
    world.client.get(random).await.refused(400, "invalid_cursor");
    let other = World::new().await.file("b.jsonl", "{\"text\": \"w5\"}\n").await;
    world.client.get(&format!("/v1/files?after={other}")).await.refused(400, "invalid_cursor");
}

#[tokio::test]
async fn a_file_that_a_job_reads_cannot_be_deleted_before_the_job_is_over() {
    let world = World::new().await;
    let file = world.file("a.jsonl", THREE_ROWS).await;
    let job = world.job_with(json!({"training_file": file})).await;
    let path = format!("/v1/files/{file}");
    world.client.delete(&path).await.refused(409, "file_in_use");
    assert_eq!(world.client.get(&format!("{path}/content")).await.ok().text(), THREE_ROWS);
    job.verb("cancel").await.ok();
    world.client.delete(&path).await.ok();
    assert_eq!(job.view().await["training_file"], json!(file), "the job remembers what it read");
}

#[tokio::test]
async fn equal_files_are_deleted_one_at_a_time() {
    let world = World::new().await;
    let (first, second) = (world.file("a.jsonl", THREE_ROWS).await, world.file("b.jsonl", THREE_ROWS).await);
    world.client.delete(&format!("/v1/files/{first}")).await.ok();
    let content = world.client.get(&format!("/v1/files/{second}/content")).await.ok();
    assert_eq!(content.text(), THREE_ROWS);
}

#[tokio::test]
async fn what_a_project_stores_has_a_quota_that_counts_indexes_and_checkpoints() {
    let host = Host::start(&[("BLINDTUNE_LIMITS__STORED_BYTES_PER_PROJECT", "60000")]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("stores", &[]).await));
    // 3,000 rows of 14 bytes, and 12 bytes of index for each.
    let rows = "{\"text\":\"w5\"}\n".repeat(3000);
    let error = client.upload("large.jsonl", rows).await.refused(413, "storage_exceeded");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("limits.stored_bytes_per_project")), "{error}");
    let file = client.upload("rows.jsonl", "{\"text\":\"w5\"}\n".repeat(1000)).await.ok_json();
    let mut job = make_job(&client, json!({})).await;
    job.step_ok().await;
    client.post(&job.path("/checkpoints"), &json!({})).await.ok(); // 8 KB of adapters
    let second = || client.upload("more.jsonl", "{\"text\":\"w5\"}\n".repeat(1900));
    second().await.refused(413, "storage_exceeded");
    let other = Client::new(&host.base(), Some(&host.key("other", &[]).await));
    other.upload("rows.jsonl", "{\"text\":\"w5\"}\n".repeat(1000)).await.ok();
    client.delete(&format!("/v1/files/{}", file["id"].as_str().expect("an id"))).await.ok();
    second().await.ok();
    client.post(&job.path("/checkpoints"), &json!({})).await.refused(413, "storage_exceeded");
    job.step_ok().await;
}
