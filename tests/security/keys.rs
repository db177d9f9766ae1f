//! Keys that are not, or no longer, keys. Whatever is wrong, the answer is the same.

use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blindtune::service::Tokens;
use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::host::POLL;
use crate::world::World;
use crate::world::batch;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// What a key says of itself.
fn claims(key: &str) -> Value {
    let part = key.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
}

/// Signs a key with the pair in a folder, for the project and under the id of another key.
fn signed(folder: &std::path::Path, like: &str, from: u64, to: u64) -> String {
    let claims = claims(like);
    let id = |name: &str| claims[name].as_str().expect("a text").to_owned();
    let tokens = Tokens::open(folder, "blindtune", "blindtune-api").expect("a key pair");
    let (project, key) = (id("sub").parse().expect("a project"), id("jti").parse().expect("a key"));
    tokens.sign(project, key, from, to).expect("signs")
}

#[tokio::test]
async fn whatever_is_wrong_with_a_key_the_answer_is_the_same_and_the_job_goes_on() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let good = world.client.key().to_owned();
    let (ours, theirs) = (world.host.state().join("keys"), world.host.scratch("other-keys"));
    let (head, rest) = good.split_once('.').expect("three parts");
    let bad = [
        signed(&ours, &good, now() - 7200, now() - 3600),
        signed(&ours, &good, now() + 3600, now() + 7200),
        signed(&ours, &good, now() - 1, now() + 3600),
        signed(&theirs, &good, now(), now() + 3600),
        good[..good.len() - 4].to_owned(),
        format!("{}.{rest}", URL_SAFE_NO_PAD.encode(json!({"alg": "none", "typ": "ft+jwt"}).to_string())),
        format!("{head}.{}.", rest.split_once('.').expect("three parts").0),
        format!("{good}x"),
        "sk-0000".to_owned(),
        "x".repeat(5000),
    ];
    let expected = world.client.with_key(None).get("/v1/models").await;
    expected.refused(401, "invalid_api_key");
    for key in bad {
        for path in ["/v1/models".to_owned(), job.path("")] {
            let reply = world.client.with_key(Some(&key)).get(&path).await;
            assert_eq!((reply.status, &reply.body), (401, &expected.body), "{key}");
        }
        job.step_ok().await;
    }
    for value in ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", &format!("Token {good}"), &good] {
        let nobody = Client::new(&world.host.base(), None);
        let reply = nobody.call(reqwest::Method::GET, "/v1/models").header("authorization", value).send().await;
        assert_eq!((reply.status, &reply.body), (401, &expected.body), "{value}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_the_time_of_the_cache() {
    let world = World::new().await;
    let (id, key) = world.host.key_with_id(&world.project, &[]).await;
    let client = world.client.with_key(Some(&key));
    client.get("/v1/models").await.ok();
    let output = world.host.cli(&["keys", "revoke", &id]).await;
    assert!(output.status.success());
    let revoked = Instant::now();
    while client.get("/v1/models").await.status != 401 {
        assert!(revoked.elapsed() < Duration::from_secs(30), "the key still works, the cache is 1 s");
        tokio::time::sleep(POLL).await;
    }
    world.client.get("/v1/models").await.ok();
    let again = world.host.cli(&["keys", "revoke", "key-x"]).await;
    assert!(!again.status.success());
}

#[tokio::test]
async fn a_key_whose_row_has_expired_is_refused() {
    let world = World::new().await;
    let (id, key) = world.host.key_with_id(&world.project, &[]).await;
    let mut connection = PgConnection::connect(world.host.database()).await.expect("connects");
    let hex = id.strip_prefix("key-").expect("an id");
    let expire = format!(
        "update api_keys set created_at = now() - interval '2 h', expires_at = now() - interval '1 h' where id = '{hex}'"
    );
    let done = sqlx::raw_sql(&expire).execute(&mut connection).await.expect("updates");
    assert_eq!(done.rows_affected(), 1);
    let expired = world.client.with_key(Some(&key));
    let error = expired.get("/v1/models").await.refused(401, "invalid_api_key");
    assert!(error["message"].as_str().is_some_and(|text| text.starts_with("This key expired on 20")), "{error}");
    let (id, key) = world.host.key_with_id(&world.project, &[]).await;
    assert!(world.host.cli(&["keys", "revoke", &id]).await.status.success());
    let error = world.client.with_key(Some(&key)).get("/v1/models").await.refused(401, "invalid_api_key");
    assert!(error["message"].as_str().is_some_and(|text| text.starts_with("This key was revoked on 20")), "{error}");
}

#[tokio::test]
async fn a_key_without_the_scope_changes_nothing() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let key = world.host.key(&world.project, &["--scopes", "jobs:read,files:read,models:read"]).await;
    let reader = world.client.with_key(Some(&key));
    for verb in ["pause", "cancel", "complete"] {
        let error = reader.verb(&job.path(&format!("/{verb}"))).await.refused(403, "missing_scope");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("jobs:write")), "{error}");
    }
    reader.post_tensors(&job.path("/forward?seq=1"), &batch()).await.refused(403, "missing_scope");
    reader.upload("a.jsonl", "{\"text\": \"w5\"}\n").await.refused(403, "missing_scope");
    assert_eq!((job.status().await, job.next_seq().await), ("running".to_owned(), 1));
    assert_eq!(world.client.get("/v1/files").await.ok_json()["data"], json!([]));
    job.step_ok().await;
}

#[tokio::test]
async fn a_key_cannot_be_made_for_longer_than_a_year_or_for_an_unknown_scope() {
    let world = World::new().await;
    for arguments in [["--days", "367"], ["--days", "0"], ["--scopes", "everything"]] {
        let output = world.host.cli(&[&["keys", "create", "--project", "p"], &arguments[..]].concat()).await;
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}
