//! `/v1/api_keys`.

use serde_json::Value;
use serde_json::json;

use super::admin;
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
