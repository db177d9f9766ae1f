//! `/v1/host` and `/v1/projects`: what only an operator's key may ask.

use serde_json::Value;
use serde_json::json;

use super::admin;
use super::with;
use crate::client::Client;
use crate::host::until;
use crate::stream::Frame;
use crate::stream::Stream;
use crate::world::World;
use crate::world::batch;

async fn operator(world: &World) -> Client {
    with(world, &["--scopes", "operator"]).await
}

async fn project_of(operator: &Client, client: &Client) -> Value {
    let id = client.get("/v1/me").await.ok_json()["project"].as_str().expect("an id").to_owned();
    operator.get(&format!("/v1/projects/{id}")).await.ok_json()
}

#[tokio::test]
async fn an_operator_sees_what_projects_use_and_nothing_in_them() {
    let world = World::new().await;
    let operator = operator(&world).await;
    let before = project_of(&operator, &world.client).await;
    assert_eq!((&before["name"], &before["jobs"]["running"]), (&json!(world.project), &json!(0)));
    let file = world.file("a.jsonl", "{\"text\": \"w5\"}\n").await;
    let mut job = world.job_with(json!({"training_file": file})).await;
    job.forward_ok(&batch()).await;
    let now = project_of(&operator, &world.client).await;
    assert_eq!(now["jobs"], json!({"queued": 0, "running": 1, "paused": 0}));
    assert_eq!(now["month_tokens"].as_i64(), Some(12));
    assert!(now["month_device_seconds"].as_f64() > Some(0.0), "{now}");
    assert!(now["stored_bytes"].as_i64() > before["stored_bytes"].as_i64(), "{now}");
    operator.get(&format!("/v1/files/{file}")).await.refused(403, "missing_scope");
    operator.get(&job.path("")).await.refused(403, "missing_scope");
    job.verb("pause").await.ok();
    assert_eq!(project_of(&operator, &world.client).await["jobs"]["paused"], 1);
}

#[tokio::test]
async fn a_customer_begins_with_a_project_limits_and_a_key() {
    let world = World::new().await;
    let operator = operator(&world).await;
    let name = format!("{}-customer", world.project);
    let made = operator.post("/v1/projects", &json!({"name": name})).await.ok_json();
    let path = format!("/v1/projects/{}", made["id"].as_str().expect("an id"));
    let error = operator.post("/v1/projects", &json!({"name": name})).await.refused(409, "project_exists");
    assert_eq!(error["param"], "name");
    let limits = json!({"monthly_tokens": 5, "requests_per_minute": 100});
    let limited = operator.put_json(&format!("{path}/limits"), &limits).await.ok_json();
    assert_eq!((&limited["monthly_tokens"], &limited["tokens_per_minute"]), (&json!(5), &Value::Null));
    let body = json!({"name": "first", "scopes": ["admin"], "days": 3});
    let key = operator.post(&format!("{path}/api_keys"), &body).await.ok_json();
    let customer = world.client.with_key(key["key"].as_str());
    let me = customer.get("/v1/me").await.ok_json();
    assert_eq!((&me["project"], &me["project_name"]), (&made["id"], &json!(name)));
    let budgets = customer.get("/v1/usage").await.ok_json()["budgets"].clone();
    let whole =
        json!({"object": "budget", "holder": "project", "name": "monthly_tokens", "limit": 5, "used": 0, "left": 5});
    assert_eq!(budgets, json!([whole]));
    let open = operator.put_json(&format!("{path}/limits"), &json!({})).await.ok_json();
    assert!(open["monthly_tokens"].is_null() && open["requests_per_minute"].is_null());
    assert_eq!(customer.get("/v1/usage").await.ok_json()["budgets"], json!([]));
    let log = customer.get("/v1/audit_log?limit=100").await.ok_json()["data"].as_array().expect("a list").clone();
    let told: Vec<_> = log.iter().rev().map(|entry| (entry["action"].as_str(), &entry["resource"])).collect();
    let limit = (Some("limit_project"), &made["id"]);
    let first = [(Some("create_project"), &made["id"]), limit, (Some("create_project_key"), &made["id"]), limit];
    assert_eq!(told, first, "an operator's changes are in the log of the project that they change");
    let operators = operator.get("/v1/me").await.ok_json()["key_id"].clone();
    assert!(log.iter().all(|entry| entry["key_id"] == operators), "{operators} {log:?}");
    let listed = operator.get("/v1/projects?limit=100").await.ok_json()["data"].as_array().expect("a list").clone();
    assert!(listed.iter().any(|project| project["id"] == made["id"]), "{listed:?}");
}

#[tokio::test]
async fn the_host_is_a_stream_until_its_key_is_revoked() {
    let world = World::new().await;
    let operator = operator(&world).await;
    let mut stream = Stream::open(&operator, "/v1/host", None).await;
    let first = stream.event().await.expect("it begins");
    assert_eq!((first.event.as_str(), &first.json()["object"]), ("host", &json!("host")));
    let up = |frame: &Frame| frame.json()["uptime_seconds"].as_f64().expect("a number");
    while up(&stream.event().await.expect("it goes on")) <= up(&first) {}
    let key = operator.get("/v1/me").await.ok_json()["key_id"].clone();
    admin(&world).await.delete(&format!("/v1/api_keys/{}", key.as_str().expect("an id"))).await.ok();
    while stream.event().await.is_some() {}
}

#[tokio::test]
async fn what_a_project_cannot_be_is_named() {
    let world = World::new().await;
    let operator = operator(&world).await;
    let long = "x".repeat(65);
    for (body, param) in [
        (json!({"name": ""}), "name"),
        (json!({"name": long}), "name"),
        (json!({"name": "a\nb"}), "name"),
        (json!({"name": "a", "id": "b"}), "id"),
    ] {
        let reply = operator.post("/v1/projects", &body).await;
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(param)), "{body}: {}", reply.text());
    }
    let nobody = format!("/v1/projects/proj-{}", uuid::Uuid::now_v7().simple());
    operator.get(&nobody).await.refused(404, "not_found");
    operator.put_json(&format!("{nobody}/limits"), &json!({})).await.refused(404, "not_found");
    operator.post(&format!("{nobody}/api_keys"), &json!({"name": "k"})).await.refused(404, "not_found");
    let own = world.client.get("/v1/me").await.ok_json()["project"].as_str().expect("an id").to_owned();
    let path = format!("/v1/projects/{own}/limits");
    let error = operator.put_json(&path, &json!({"requests_per_minute": 0})).await.refused(400, "invalid_limit");
    assert_eq!(error["param"], "requests_per_minute");
}

#[tokio::test]
async fn an_operators_scope_is_nothing_that_an_admin_can_give() {
    let world = World::new().await;
    let admin = admin(&world).await;
    for path in ["/v1/host", "/v1/projects"] {
        admin.get(path).await.refused(403, "missing_scope");
    }
    let wanted = json!({"name": "k", "scopes": ["operator"]});
    let error = admin.post("/v1/api_keys", &wanted).await.refused(400, "invalid_scopes");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("--scopes operator")), "{error}");
    let (id, _) = world.host.key_with_id(&world.project, &["--scopes", "operator"]).await;
    admin.post(&format!("/v1/api_keys/{id}/rotate"), &json!({})).await.refused(400, "invalid_scopes");
    let both = with(&world, &["--scopes", "admin,operator"]).await;
    both.post("/v1/api_keys", &wanted).await.ok();
    let silent = admin.post("/v1/api_keys", &json!({"name": "k"})).await.ok_json()["scopes"].clone();
    assert!(!silent.to_string().contains("operator"), "{silent}");
}

#[tokio::test]
async fn a_host_shows_its_device_its_queue_and_who_is_at_work() {
    let world = World::new().await;
    let operator = operator(&world).await;
    let mut job = world.job(json!({})).await;
    job.forward_ok(&batch()).await;
    let host = operator.get("/v1/host").await.ok_json();
    assert_eq!((&host["version"], &host["device"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("cpu")));
    assert!(host["device_busy_seconds"].as_f64() > Some(0.0) && host["draining"] == false, "{host}");
    for level in ["queue", "graph_bytes", "held_bytes", "event_streams"] {
        let (now, limit) = (host[level]["now"].as_u64(), host[level]["limit"].as_u64());
        assert!(now.is_some() && limit > Some(0), "{level}: {host}");
    }
    assert!(host["sessions"].as_u64() >= Some(1) && host["resident_bytes"].as_u64() > Some(1 << 20), "{host}");
    assert!(host["graph_bytes"]["now"].as_u64() > Some(0), "the forward's graph is kept: {host}");
    let this = host["hosts"].as_array().expect("a list").iter().find(|host| host["this"] == true).expect("this one");
    assert!(this["jobs"].as_i64() >= Some(1), "{host}");
    let busy = host["device_busy_seconds"].as_f64();
    job.forward_ok(&batch()).await;
    until("the device worked more", async || {
        operator.get("/v1/host").await.ok_json()["device_busy_seconds"].as_f64() > busy
    })
    .await;
}
