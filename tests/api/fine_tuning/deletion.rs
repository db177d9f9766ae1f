use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::world::World;

#[tokio::test]
async fn a_job_that_is_over_is_deleted_with_all_that_hangs_on_it_and_a_receipt() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    job.step_ok().await;
    let saved = job.client.verb(&job.path("/checkpoints")).await.ok_json();
    let mut connection = PgConnection::connect(world.host.database()).await.expect("connects");
    let id = job.id.rsplit('-').next().expect("an id").parse::<uuid::Uuid>().expect("an id");
    // By its own name: others' checkpoints may have the same bytes.
    let named = sqlx::query_scalar("select blob from checkpoints where job_id = $1").bind(id);
    let blobs: Vec<String> = named.fetch_all(&mut connection).await.expect("reads");
    let is_there = || blobs.iter().any(|blob| world.host.state().join("blobs").join(blob).exists());
    assert!(is_there());
    job.client.delete(&job.path("")).await.refused(409, "invalid_job_state");
    let model = job.verb("complete").await.ok_json()["fine_tuned_model"].clone();
    let ledger = job.ledger().await.len();

    let receipt = job.client.delete(&job.path("")).await.ok_json();
    assert_eq!(
        (&receipt["id"], &receipt["object"], &receipt["deleted"]),
        (&json!(job.id), &json!("fine_tuning.job"), &json!(true))
    );
    let erased = &receipt["erased"];
    assert_eq!((&erased["steps"], &erased["ledger_entries"]), (&json!(2), &json!(ledger)), "{receipt}");
    assert!(
        erased["checkpoints"].as_u64() >= Some(1) && erased["bytes"].as_u64() >= saved["bytes"].as_u64(),
        "{receipt}"
    );
    assert!(erased["events"].as_u64() >= Some(2), "{receipt}");
    assert!(!is_there(), "the checkpoint's state is gone");

    for path in ["", "/events", "/ledger", "/checkpoints"] {
        job.client.get(&job.path(path)).await.refused(404, "not_found");
    }
    job.client.delete(&job.path("")).await.refused(404, "not_found");
    let name = model.as_str().expect("a model").replace('/', "%2F");
    job.client.get(&format!("/v1/models/{name}")).await.ok();
    for table in ["steps", "ledger", "events", "checkpoints", "job_metrics"] {
        let count = format!("select count(*) from {table} where job_id = $1");
        let left: i64 = sqlx::query_scalar(&count).bind(id).fetch_one(&mut connection).await.expect("counts");
        assert_eq!(left, 0, "{table}");
    }
    connection.close().await.expect("closes");
}

#[tokio::test]
async fn what_a_deleted_job_used_stays_counted() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    job.step_ok().await;
    job.verb("cancel").await.ok();
    let before = world.client.get("/v1/usage").await.ok_json()["total"].clone();
    assert_eq!(before["steps"], 2);
    job.client.delete(&job.path("")).await.ok();
    assert_eq!(world.client.get("/v1/usage").await.ok_json()["total"], before);
}
