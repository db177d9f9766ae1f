//! `/v1/audit_log`.

use serde_json::Value;
use serde_json::json;

use super::admin;
use crate::world::World;

#[tokio::test]
async fn who_changed_what_is_written_down_and_reading_is_not() {
    let world = World::new().await;
    let admin = admin(&world).await;
    let mut job = world.job(json!({})).await;
    job.step_ok().await;
    let paused = job.verb("pause").await.ok();
    job.verb("resume").await.ok();
    job.verb("cancel").await.ok();
    job.verb("cancel").await.refused(409, "invalid_job_state");
    world.client.get(&job.path("")).await.ok();
    world.client.delete(&job.path("")).await.ok();

    let log = admin.get("/v1/audit_log?limit=100").await.ok_json();
    let entries = log["data"].as_array().expect("a list");
    let told: Vec<(&Value, &Value, &Value)> =
        entries.iter().map(|entry| (&entry["action"], &entry["resource"], &entry["status"])).collect();
    let id = json!(job.id);
    let (ok, conflict) = (json!(200), json!(409));
    let names =
        ["delete_job", "cancel_job", "cancel_job", "resume_job", "pause_job", "create_job"].map(|name| json!(name));
    let expected: Vec<_> =
        names.iter().enumerate().map(|(place, name)| (name, &id, if place == 1 { &conflict } else { &ok })).collect();
    assert_eq!(told, expected, "newest first");
    assert_eq!(entries[4]["request_id"], paused.header("x-request-id"));
    assert!(entries.iter().all(|entry| entry["key_id"] == entries[0]["key_id"]));

    let first = admin.get("/v1/audit_log?limit=2").await.ok_json();
    let after = first["last_id"].as_str().expect("a cursor");
    let rest = admin.get(&format!("/v1/audit_log?after={after}")).await.ok_json();
    assert_eq!((first["has_more"].clone(), &rest["data"][0]["id"]), (json!(true), &entries[2]["id"]));
    world.client.get("/v1/audit_log").await.refused(403, "missing_scope");
    let stranger = World::new().await;
    let theirs = super::admin(&stranger).await.get("/v1/audit_log").await.ok_json();
    assert_eq!(theirs["data"], json!([]));
    super::admin(&stranger).await.get(&format!("/v1/audit_log?after={after}")).await.refused(400, "invalid_cursor");
}
