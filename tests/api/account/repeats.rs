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

/// Leaves the request as a host does that dies between making the thing and keeping the answer.
async fn crashed(world: &World, id: &str) {
    let mut connection = PgConnection::connect(world.host.database()).await.expect("connects");
    let hex = id.rsplit(['-', '_']).next().expect("an id");
    let forget = format!(
        "update idempotency set status = null, answer = null, created_at = now() - interval '1 minute' where resource = '{hex}'"
    );
    assert_eq!(sqlx::raw_sql(&forget).execute(&mut connection).await.expect("updates").rows_affected(), 1);
}

#[tokio::test]
async fn a_repeat_after_a_crash_finds_what_the_first_attempt_made() {
    let world = World::new().await;
    let upload = json!({"bytes": 3, "filename": "a.jsonl", "mime_type": "x", "purpose": "fine-tune"});
    for (path, body) in [(JOBS, json!({"model": MODEL, "suffix": "crashed"})), ("/v1/uploads", upload)] {
        let send = || async {
            let call = world.client.call(Method::POST, path).json(&body);
            call.header("idempotency-key", "crash").send().await.ok_json()
        };
        let first = send().await;
        crashed(&world, first["id"].as_str().expect("an id")).await;
        assert_eq!(send().await["id"], first["id"], "{path}");
    }
    assert_eq!(jobs(&world.client).await, 1);
    let hook = || async {
        let body = json!({"url": "https://1.1.1.1/hook"});
        world.client.call(Method::POST, "/v1/webhooks").json(&body).header("idempotency-key", "crash").send().await
    };
    crashed(&world, hook().await.ok_json()["id"].as_str().expect("an id")).await;
    hook().await.refused(409, "already_made");
    let hooks = world.client.get("/v1/webhooks").await.ok_json();
    assert_eq!(hooks["data"].as_array().map(Vec::len), Some(1));
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
    let upload = async |text: &str| {
        let body = format!(
            "--x\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--x\r\ncontent-disposition: form-data; \
             name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{text}\r\n--x--\r\n"
        );
        let call = world.client.call(Method::POST, "/v1/files").header("idempotency-key", "file");
        call.body("multipart/form-data; boundary=x", body.into_bytes()).send().await
    };
    upload("{\"text\": \"w5\", \"label\": 1}").await.refused(400, "label_present");
    let first = upload("{\"text\": \"w5\"}").await.ok();
    assert_eq!(upload("{\"text\": \"w5\"}").await.ok().body, first.body);
    upload("{\"text\": \"w5 w6\"}").await.refused(422, "idempotency_conflict");
    let files = world.client.get("/v1/files").await.ok_json();
    assert_eq!(files["data"].as_array().map(Vec::len), Some(1));
}
