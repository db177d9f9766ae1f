//! `/v1/api_keys`, and `/v1/me`.

use serde_json::Value;
use serde_json::json;

use super::admin;
use super::with;
use crate::client::Client;
use crate::world::World;

#[tokio::test]
async fn a_key_is_shown_once_and_works_until_it_is_revoked() {
    let world = World::new().await;
    let admin = admin(&world).await;
    let body = json!({"name": "night", "scopes": ["jobs:read", "files:*"], "days": 2, "monthly_tokens": 1000});
    let made = admin.post("/v1/api_keys", &body).await.ok_json();
    assert_eq!(made["scopes"], json!(["jobs:read", "files:read", "files:write"]));
    assert_eq!((&made["object"], &made["monthly_tokens"]), (&json!("api_key"), &json!(1000)));
    let life = made["expires_at"].as_i64().expect("a time") - made["created_at"].as_i64().expect("a time");
    assert_eq!(life, 2 * 86_400);
    let (id, key) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    let client = world.client.with_key(Some(key));
    client.get("/v1/files").await.ok();
    client.get("/v1/models").await.refused(403, "missing_scope");

    let one = admin.get(&format!("/v1/api_keys/{id}")).await.ok_json();
    let listed = admin.get("/v1/api_keys").await.ok();
    assert!(!listed.text().contains(key), "the key is not shown again");
    let listed = listed.json()["data"].as_array().expect("a list").clone();
    assert!(listed.iter().any(|key| key["id"] == id) && one["name"] == "night");
    assert!(one.get("key").is_none() && one["revoked_at"].is_null());

    let gone = admin.delete(&format!("/v1/api_keys/{id}")).await.ok_json();
    assert_eq!(gone, json!({"id": id, "object": "api_key", "deleted": true}));
    client.get("/v1/files").await.refused(401, "invalid_api_key");
    admin.delete(&format!("/v1/api_keys/{id}")).await.refused(404, "not_found");
    assert!(admin.get(&format!("/v1/api_keys/{id}")).await.ok_json()["revoked_at"].is_i64());
}

#[tokio::test]
async fn a_key_of_any_scope_learns_what_it_is_and_of_no_other() {
    let world = World::new().await;
    let body = json!({"name": "reader", "scopes": ["models:read"], "days": 2});
    let made = admin(&world).await.post("/v1/api_keys", &body).await.ok_json();
    let client = world.client.with_key(made["key"].as_str());
    let me = client.get("/v1/me").await.ok_json();
    for (field, of_key) in [("key_id", "id"), ("key_name", "name"), ("scopes", "scopes"), ("expires_at", "expires_at")]
    {
        assert_eq!(me[field], made[of_key], "{field}");
    }
    assert_eq!((&me["object"], &me["project_name"]), (&json!("me"), &json!(world.project)));
    let other = World::new().await.client.get("/v1/me").await.ok_json();
    assert!(other["project"] != me["project"] && other["key_id"] != me["key_id"]);
    Client::new(&world.host.base(), None).get("/v1/me").await.refused(401, "invalid_api_key");
}

#[tokio::test]
async fn a_rotated_key_gives_way_to_one_that_may_the_same() {
    let world = World::new().await;
    let admin = admin(&world).await;
    let body = json!({"name": "night", "scopes": ["files:*"], "days": 2, "monthly_tokens": 1000});
    let old = admin.post("/v1/api_keys", &body).await.ok_json();
    let (id, before) = (old["id"].as_str().expect("an id"), world.client.with_key(old["key"].as_str()));
    let path = format!("/v1/api_keys/{id}/rotate");
    let new = admin.post(&path, &json!({"overlap_seconds": 3600})).await.ok_json();
    assert!(new["key"].as_str().is_some_and(|key| key.starts_with("bt_live_")) && new["id"] != old["id"], "{new}");
    for field in ["name", "scopes", "monthly_tokens"] {
        assert_eq!(new[field], old[field], "{field}");
    }
    let after = world.client.with_key(new["key"].as_str());
    before.get("/v1/files").await.ok();
    after.get("/v1/files").await.ok();
    after.get("/v1/models").await.refused(403, "missing_scope");
    let end = admin.get(&format!("/v1/api_keys/{id}")).await.ok_json()["expires_at"].as_i64().expect("a time");
    let made = new["created_at"].as_i64().expect("a time");
    assert!((made + 3590..=made + 3610).contains(&end), "the old one ends in an hour: {made}, {end}");
    admin.post(&path, &json!({"overlap_seconds": 0})).await.ok();
    before.get("/v1/files").await.refused(401, "invalid_api_key");
    admin.post(&path, &json!({})).await.refused(409, "invalid_key_state");
    let never = format!("/v1/api_keys/key-{}/rotate", uuid::Uuid::now_v7().simple());
    admin.post(&never, &json!({})).await.refused(404, "not_found");
    let error = admin.post(&path, &json!({"overlap_seconds": 2_592_001})).await.refused(400, "invalid_days");
    assert_eq!(error["param"], "overlap_seconds");
    let poor = with(&world, &["--scopes", "admin", "--monthly-tokens", "10"]).await;
    let rich = format!("/v1/api_keys/{}/rotate", new["id"].as_str().expect("an id"));
    poor.post(&rich, &json!({})).await.refused(400, "invalid_limit");
}

#[tokio::test]
async fn a_key_is_changed_where_it_is_said_and_stays_else() {
    let world = World::new().await;
    let admin = admin(&world).await;
    let body = json!({"name": "night", "scopes": ["files:read"], "days": 2, "monthly_tokens": 1000});
    let old = admin.post("/v1/api_keys", &body).await.ok_json();
    let path = format!("/v1/api_keys/{}", old["id"].as_str().expect("an id"));
    let client = world.client.with_key(old["key"].as_str());
    client.get("/v1/models").await.refused(403, "missing_scope");
    let named = admin.patch(&path, &json!({"name": "day"})).await.ok_json();
    assert_eq!(
        (&named["name"], &named["scopes"], &named["monthly_tokens"]),
        (&json!("day"), &old["scopes"], &json!(1000))
    );
    admin.patch(&path, &json!({"scopes": ["models:read"]})).await.ok();
    client.get("/v1/models").await.ok();
    client.get("/v1/files").await.refused(403, "missing_scope");
    let limited = admin.patch(&path, &json!({"limits": {"requests_per_minute": 7}})).await.ok_json();
    assert_eq!((&limited["requests_per_minute"], &limited["monthly_tokens"]), (&json!(7), &json!(null)));
    assert_eq!(client.get("/v1/models").await.ok().header("x-ratelimit-limit-requests"), "7");
    let seen = admin.get(&path).await.ok_json();
    assert_eq!((&seen["name"], &seen["scopes"]), (&json!("day"), &json!(["models:read"])));
    assert_eq!(admin.patch(&path, &json!({})).await.ok_json(), seen, "nothing is said, nothing changes");
}

#[tokio::test]
async fn a_change_gives_a_key_no_more_than_its_maker_has() {
    let world = World::new().await;
    let admin = admin(&world).await;
    let made = admin.post("/v1/api_keys", &json!({"name": "k", "days": 1})).await.ok_json();
    let path = format!("/v1/api_keys/{}", made["id"].as_str().expect("an id"));
    for (body, param) in [
        (json!({"name": ""}), "name"),
        (json!({"scopes": []}), "scopes"),
        (json!({"scopes": ["operator"]}), "scopes"),
        (json!({"scopes": ["jobs:read", "x"]}), "scopes[1]"),
        (json!({"limits": {"requests_per_minute": 0}}), "requests_per_minute"),
        (json!({"days": 3}), "days"),
    ] {
        let reply = admin.patch(&path, &body).await;
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{body}: {}", reply.text());
    }
    let poor = with(&world, &["--scopes", "admin", "--monthly-tokens", "10"]).await;
    poor.patch(&path, &json!({"limits": {"monthly_tokens": 11}})).await.refused(400, "invalid_limit");
    assert_eq!(poor.patch(&path, &json!({"name": "p"})).await.ok_json()["monthly_tokens"], json!(null));
    assert_eq!(poor.patch(&path, &json!({"limits": {}})).await.ok_json()["monthly_tokens"], json!(10));
    let other = World::new().await;
    super::admin(&other).await.patch(&path, &json!({"name": "theirs"})).await.refused(404, "not_found");
    admin.delete(&path).await.ok();
    admin.patch(&path, &json!({"name": "late"})).await.refused(409, "invalid_key_state");
}

#[tokio::test]
async fn what_a_key_cannot_be_is_named() {
    let world = World::new().await;
    let admin = admin(&world).await;
    let cases: [(Value, &str); 8] = [
        (json!({"name": ""}), "name"),
        (json!({"name": "k", "scopes": []}), "scopes"),
        (json!({"name": "k", "scopes": ["jobs:read", "everything"]}), "scopes[1]"),
        (json!({"name": "k", "days": 0}), "days"),
        (json!({"name": "k", "days": 367}), "days"),
        (json!({"name": "k", "requests_per_minute": 0}), "requests_per_minute"),
        (json!({"name": "k", "monthly_device_seconds": -1}), "monthly_device_seconds"),
        (json!({"name": "k", "project": "other"}), "project"),
    ];
    let before = admin.get("/v1/api_keys").await.ok_json()["data"].as_array().expect("a list").len();
    for (body, param) in cases {
        let reply = admin.post("/v1/api_keys", &body).await;
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{body}: {}", reply.text());
    }
    let after = admin.get("/v1/api_keys").await.ok_json()["data"].as_array().expect("a list").len();
    assert_eq!(before, after, "nothing was made");
}

#[tokio::test]
async fn keys_are_managed_by_admins_of_their_own_project_alone() {
    let (world, other) = (World::new().await, World::new().await);
    let body = json!({"name": "k"});
    for reply in [world.client.get("/v1/api_keys").await, world.client.post("/v1/api_keys", &body).await] {
        let error = reply.refused(403, "missing_scope");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("admin")), "{error}");
    }
    let made = admin(&world).await.post("/v1/api_keys", &body).await.ok_json();
    let path = format!("/v1/api_keys/{}", made["id"].as_str().expect("an id"));
    let stranger = admin(&other).await;
    stranger.get(&path).await.refused(404, "not_found");
    stranger.delete(&path).await.refused(404, "not_found");
    assert!(!stranger.get("/v1/api_keys").await.text().contains(made["id"].as_str().expect("an id")));
    world.client.with_key(made["key"].as_str()).get("/v1/models").await.ok();
}

#[tokio::test]
async fn a_key_makes_none_with_more_than_it_has() {
    let world = World::new().await;
    let limits = ["--requests-per-minute", "600", "--monthly-tokens", "1000", "--days", "30"];
    let bounded = with(&world, &[&["--scopes", "admin"][..], &limits].concat()).await;
    let made = bounded.post("/v1/api_keys", &json!({"name": "heir"})).await.ok_json();
    assert_eq!((&made["requests_per_minute"], &made["monthly_tokens"]), (&json!(600), &json!(1000)), "inherited");
    assert_eq!((&made["tokens_per_minute"], &made["monthly_device_seconds"]), (&json!(null), &json!(null)));
    let life = made["expires_at"].as_i64().expect("a time") - made["created_at"].as_i64().expect("a time");
    assert!((29 * 86_400..=30 * 86_400).contains(&life), "{life} s: it ends with the key that made it");

    let before = bounded.get("/v1/api_keys").await.ok_json()["data"].as_array().expect("a list").len();
    for (body, code, param) in [
        (json!({"name": "k", "requests_per_minute": 601}), "invalid_limit", "requests_per_minute"),
        (json!({"name": "k", "monthly_tokens": 1001}), "invalid_limit", "monthly_tokens"),
        (json!({"name": "k", "days": 31}), "invalid_days", "days"),
    ] {
        let error = bounded.post("/v1/api_keys", &body).await.refused(400, code);
        assert_eq!(error["param"], param, "{body}");
    }
    let after = bounded.get("/v1/api_keys").await.ok_json()["data"].as_array().expect("a list").len();
    assert_eq!(before, after, "nothing was made");

    let tighter =
        json!({"name": "k", "requests_per_minute": 6, "tokens_per_minute": 7, "monthly_tokens": 0, "days": 29});
    let made = bounded.post("/v1/api_keys", &tighter).await.ok_json();
    for (field, value) in tighter.as_object().expect("an object").iter().filter(|(field, _)| *field != "days") {
        assert_eq!(&made[field], value, "{field}");
    }
    let heirs_heir = json!({"name": "k", "scopes": ["admin"]});
    let second = bounded.post("/v1/api_keys", &heirs_heir).await.ok_json();
    let second = bounded.with_key(second["key"].as_str());
    second.post("/v1/api_keys", &json!({"name": "k", "monthly_tokens": 1001})).await.refused(400, "invalid_limit");
}
