use reqwest::Method;
use serde_json::json;

use crate::world::World;
use crate::world::batch;

#[tokio::test]
async fn a_key_may_do_what_its_scopes_name_and_no_more() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let file = world.file("a.jsonl", "{\"text\": \"w5\"}\n").await;
    let routes = [
        (Method::GET, "/v1/files".to_owned(), "files:read"),
        (Method::DELETE, format!("/v1/files/{file}"), "files:write"),
        (Method::GET, "/v1/models".to_owned(), "models:read"),
        (Method::DELETE, "/v1/models/ft:x".to_owned(), "models:write"),
        (Method::GET, job.path(""), "jobs:read"),
        (Method::GET, job.path("/ledger"), "jobs:read"),
        (Method::POST, job.path("/cancel"), "jobs:write"),
        (Method::POST, job.path("/forward"), "steps:write"),
        (Method::POST, job.path("/checkpoints"), "steps:write"),
    ];
    for scope in ["files:read", "models:read", "jobs:read", "files:write", "models:write", "jobs:write", "steps:write"]
    {
        let key = world.host.key(&world.project, &["--scopes", scope]).await;
        let client = world.client.with_key(Some(&key));
        for (method, path, _) in routes.iter().filter(|(_, _, needs)| *needs != scope) {
            let error = client.call(method.clone(), path).send().await.refused(403, "missing_scope");
            assert_eq!(error["type"], "permission_error", "{scope}: {method} {path}");
        }
    }
    assert_eq!(job.status().await, "running", "nothing was cancelled");
    world.client.get(&format!("/v1/files/{file}")).await.ok();
    assert_eq!(job.ledger().await.len(), 0);
}

#[tokio::test]
async fn a_key_with_one_scope_does_that_one_thing() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let key = world.host.key(&world.project, &["--scopes", "steps:write"]).await;
    let client = world.client.with_key(Some(&key));
    client.post_tensors(&job.path("/forward?seq=1"), &batch()).await.ok();
    client.get(&job.path("")).await.refused(403, "missing_scope");
}

#[tokio::test]
async fn the_scheme_may_be_written_in_any_case() {
    let world = World::new().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {}", world.client.key());
        let call = world.client.with_key(None).call(Method::GET, "/v1/models").header("authorization", &value);
        call.send().await.ok();
    }
}
