//! Requests that are sent again: by an Idempotency-Key, or silently by the stock client.

use futures::future::join_all;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use super::admin;
use crate::client::Client;
use crate::client::Reply;
use crate::world::MODEL;
use crate::world::World;

const JOBS: &str = "/v1/fine_tuning/jobs";

/// Makes a job under a key.
async fn create(client: &Client, key: &str, body: &Value) -> Reply {
    client.call(Method::POST, JOBS).json(body).header("idempotency-key", key).send().await
}

/// Makes a job as a stock client's nth attempt.
async fn attempt(client: &Client, number: &str, body: &Value) -> Reply {
    client.call(Method::POST, JOBS).json(body).header("x-stainless-retry-count", number).send().await
}

async fn jobs(client: &Client) -> usize {
    client.get(&format!("{JOBS}?limit=100")).await.ok_json()["data"].as_array().expect("a list").len()
}

#[tokio::test]
async fn the_same_key_and_body_make_one_thing_and_one_answer() {
    let world = World::new().await;
    let body = json!({"model": MODEL, "seed": 1});
    let key = "one";
    let first = create(&world.client, key, &body).await.ok();
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = create(&world.client, key, &body).await.ok();
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    create(&world.client, key, &json!({"model": MODEL, "seed": 2})).await.refused(422, "idempotency_conflict");
    assert_eq!(jobs(&world.client).await, 1);
    let stranger = World::new().await;
    let theirs = create(&stranger.client, key, &body).await.ok();
    assert_ne!(theirs.json()["id"], first.json()["id"], "another project's key is another key");
    create(&world.client, "", &body).await.refused(400, "invalid_idempotency_key");
}

#[tokio::test]
async fn ten_at_once_make_one() {
    let world = World::new().await;
    let body = json!({"model": MODEL});
    let replies = join_all((0..10).map(|_| create(&world.client, "crowd", &body))).await;
    let first = replies[0].clone().ok().body;
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == first));
    assert_eq!(jobs(&world.client).await, 1);
}

#[tokio::test]
async fn what_was_refused_can_be_sent_again() {
    let world = World::new().await;
    let key = "later";
    create(&world.client, key, &json!({"model": "nothing"})).await.refused(404, "not_found");
    create(&world.client, key, &json!({"model": MODEL})).await.ok();
    assert_eq!(jobs(&world.client).await, 1);
}

#[tokio::test]
async fn the_stock_clients_silent_retry_makes_no_second_job() {
    let world = World::new().await;
    let body = json!({"model": MODEL});
    let first = attempt(&world.client, "0", &body).await.ok();
    let retried = attempt(&world.client, "1", &body).await.ok();
    assert_eq!(retried.body, first.body);
    let second = attempt(&world.client, "0", &body).await.ok();
    assert_ne!(second.json()["id"], first.json()["id"], "a new call is a new job");
    assert_eq!(attempt(&world.client, "2", &body).await.ok().body, second.body);
    assert_eq!(jobs(&world.client).await, 2);
    // Nothing was made by a first attempt that never came: the retry makes it.
    attempt(&world.client, "1", &json!({"model": MODEL, "seed": 9})).await.ok();
    assert_eq!(jobs(&world.client).await, 3);
}

/// Makes every answer to the project fail to be written; gives the name of the trigger that does it.
async fn break_answers(world: &World, connection: &mut PgConnection) -> String {
    let hex: String = world.project.chars().filter(char::is_ascii_alphanumeric).collect();
    let project: uuid::Uuid = sqlx::query_scalar("select id from projects where name = $1")
        .bind(&world.project)
        .fetch_one(&mut *connection)
        .await
        .expect("the project");
    let name = format!("broken_{hex}");
    let broken = format!(
        "create function {name}() returns trigger language plpgsql as
             $$ begin if new.project_id = '{project}' then raise 'no answer is written'; end if; return new; end $$;
         create trigger {name} before insert on idempotency for each row execute function {name}()"
    );
    sqlx::raw_sql(&broken).execute(connection).await.expect("creates");
    name
}

#[tokio::test]
async fn a_change_whose_answer_cannot_be_written_is_not_made() {
    let world = World::new().await;
    let job = world.job(json!({})).await.id;
    let upload = json!({"bytes": 3, "filename": "a.jsonl", "mime_type": "x", "purpose": "fine-tune"});
    let cases = [
        (JOBS.to_owned(), json!({"model": MODEL}), "jobs"),
        ("/v1/uploads".to_owned(), upload, "uploads"),
        ("/v1/webhooks".to_owned(), json!({"url": "https://1.1.1.1/hook"}), "webhooks"),
        (
            format!("{JOBS}/{job}/metrics"),
            json!({"step": 1, "metrics": {"loss": 1.5}}),
            "events where type = 'metrics'",
        ),
        (format!("{JOBS}/{job}/cancel"), json!({}), "jobs where status = 'cancelled'"),
    ];
    let mut connection = PgConnection::connect(world.host.database()).await.expect("connects");
    let trigger = break_answers(&world, &mut connection).await;
    let send = async |path: &str, body: &Value| {
        world.client.call(Method::POST, path).json(body).header("idempotency-key", path).send().await
    };
    for (path, body, rows) in &cases {
        let before = rows_of(&world, &mut connection, rows).await;
        send(path, body).await.refused(500, "internal_error");
        assert_eq!(rows_of(&world, &mut connection, rows).await, before, "{path} left something");
    }
    sqlx::raw_sql(&format!("drop trigger {trigger} on idempotency")).execute(&mut connection).await.expect("drops");
    for (path, body, rows) in &cases {
        let before = rows_of(&world, &mut connection, rows).await;
        send(path, body).await.ok();
        let _again = send(path, body).await;
        assert_eq!(rows_of(&world, &mut connection, rows).await, before + 1, "{path} is made once");
    }
}

/// How many rows of the project there are.
async fn rows_of(world: &World, connection: &mut PgConnection, rows: &str) -> i64 {
    let of_project = "(select id from projects where name = $1)";
    let whose = match rows.split_once(" where ") {
        Some(("events", _)) => format!("job_id in (select id from jobs where project_id = {of_project})"),
        _ => format!("project_id = {of_project}"),
    };
    let sql = match rows.split_once(" where ") {
        Some((table, which)) => format!("select count(*) from {table} where {which} and {whose}"),
        None => format!("select count(*) from {rows} where {whose}"),
    };
    sqlx::query_scalar(&sql).bind(&world.project).fetch_one(connection).await.expect("counts")
}

#[tokio::test]
async fn a_secret_is_not_kept_for_repeats() {
    let world = World::new().await;
    let admin = admin(&world).await;
    let make = || async {
        let call = admin.call(Method::POST, "/v1/api_keys").json(&json!({"name": "once"}));
        call.header("idempotency-key", "secret").send().await
    };
    let first = make().await.ok_json();
    let error = make().await.refused(409, "already_made");
    assert_eq!(error["param"], "Idempotency-Key");
    let keys = admin.get("/v1/api_keys").await.ok_json();
    let made = keys["data"].as_array().expect("a list").iter().filter(|key| key["name"] == "once").count();
    assert_eq!(made, 1);
    let hook = || async {
        let body = json!({"url": "https://1.1.1.1/hook"});
        world.client.call(Method::POST, "/v1/webhooks").json(&body).header("idempotency-key", "hook").send().await
    };
    let secret = hook().await.ok_json()["secret"].as_str().expect("a secret").to_owned();
    hook().await.refused(409, "already_made");
    let mut connection = PgConnection::connect(world.host.database()).await.expect("connects");
    let key = first["key"].as_str().expect("a key");
    let of_hook: i64 = sqlx::query_scalar("select count(*) from idempotency where position($1::bytea in answer) > 0")
        .bind(secret.as_bytes())
        .fetch_one(&mut connection)
        .await
        .expect("counts");
    assert_eq!(of_hook, 0);
    let kept: i64 = sqlx::query_scalar("select count(*) from idempotency where position($1::bytea in answer) > 0")
        .bind(key.as_bytes())
        .fetch_one(&mut connection)
        .await
        .expect("counts");
    assert_eq!(kept, 0);
}

#[tokio::test]
async fn an_upload_with_a_key_makes_one_file() {
    let world = World::new().await;
    let upload = async |boundary: &str, text: &str| {
        let body = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--{boundary}\r\n\
             content-disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{text}\r\n--{boundary}--\r\n"
        );
        let call = world.client.call(Method::POST, "/v1/files").header("idempotency-key", "file");
        call.body(&format!("multipart/form-data; boundary={boundary}"), body.into_bytes()).send().await
    };
    upload("x", "{\"text\": \"w5\", \"label\": 1}").await.refused(400, "label_present");
    let first = upload("x", "{\"text\": \"w5\"}").await.ok();
    for boundary in ["x", "another-boundary"] {
        let again = upload(boundary, "{\"text\": \"w5\"}").await.ok();
        assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    }
    upload("x", "{\"text\": \"w5 w6\"}").await.refused(422, "idempotency_conflict");
    upload("x", "{\"text\": \"w6\"}").await.refused(422, "idempotency_conflict");
    let files = world.client.get("/v1/files").await.ok_json();
    assert_eq!(files["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_part_with_a_key_is_compared_by_its_bytes() {
    let world = World::new().await;
    let upload = json!({"bytes": 4, "filename": "a.jsonl", "mime_type": "application/jsonl", "purpose": "fine-tune"});
    let id = world.client.post("/v1/uploads", &upload).await.ok_json()["id"].as_str().expect("an id").to_owned();
    let part = async |bytes: &str| {
        let body = format!("--x\r\ncontent-disposition: form-data; name=\"data\"\r\n\r\n{bytes}\r\n--x--\r\n");
        let call =
            world.client.call(Method::POST, &format!("/v1/uploads/{id}/parts")).header("idempotency-key", "part");
        call.body("multipart/form-data; boundary=x", body.into_bytes()).send().await
    };
    let first = part("abcd").await.ok();
    assert_eq!(part("abcd").await.ok().body, first.body);
    part("abce").await.refused(422, "idempotency_conflict");
}
