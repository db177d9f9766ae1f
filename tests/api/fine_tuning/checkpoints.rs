use reqwest::Method;
use serde_json::Value;
use serde_json::json;

use crate::world::Job;
use crate::world::World;
use crate::world::id;

#[tokio::test]
async fn a_checkpoint_is_made_by_a_verb_and_listed_newest_first() {
    let world = World::new().await;
    let mut job = world.job(json!({})).await;
    let first = job.client.verb(&job.path("/checkpoints")).await.ok_json();
    job.step_ok().await;
    let second = job.client.verb(&job.path("/checkpoints")).await.ok_json();
    assert_eq!((&first["step_number"], &second["step_number"]), (&json!(0), &json!(2)));
    assert_eq!(
        (&second["object"], &second["fine_tuning_job_id"]),
        (&json!("fine_tuning.job.checkpoint"), &json!(job.id))
    );
    assert_eq!(second["sha256"].as_str().map(str::len), Some(64));
    assert!(second["bytes"].as_u64().is_some_and(|bytes| bytes > 2 * 4096), "{second}");
    assert!(id(&second).starts_with("ftckpt_") && second["metrics"].is_object());
    let list = job.client.get(&job.path("/checkpoints")).await.ok_json();
    assert_eq!(list["data"], json!([second, first]));
    assert_eq!(list["has_more"], false);
}

#[tokio::test]
async fn checkpoints_are_paged_to_their_end() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(id(&job.client.verb(&job.path("/checkpoints")).await.ok_json()));
    }
    made.reverse();
    let first = job.client.get(&job.path("/checkpoints?limit=2")).await.ok_json();
    assert_eq!((&first["has_more"], &first["last_id"]), (&json!(true), &json!(made[1])));
    let second = job.client.get(&job.path(&format!("/checkpoints?limit=2&after={}", made[1]))).await.ok_json();
    assert_eq!((&second["has_more"], &second["data"][0]["id"]), (&json!(false), &json!(made[2])));
    let random = job.path(&format!("/checkpoints?after=ftckpt_{}", "0".repeat(32)));
    job.client.get(&random).await.refused(400, "invalid_cursor");
}

#[tokio::test]
async fn a_checkpoint_of_a_job_that_is_over_is_refused() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    job.verb("cancel").await.ok();
    job.client.verb(&job.path("/checkpoints")).await.refused(409, "job_not_running");
    assert_eq!(job.client.get(&job.path("/checkpoints")).await.ok_json()["data"], json!([]));
}

async fn saved(job: &Job) -> Value {
    job.client.verb(&job.path("/checkpoints")).await.ok_json()
}

#[tokio::test]
async fn a_checkpoint_is_found_kept_for_a_time_and_deleted() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let (first, second) = (saved(&job).await, saved(&job).await);
    assert_eq!(first["expires_at"], json!(null));
    let path = |checkpoint: &Value| job.path(&format!("/checkpoints/{}", id(checkpoint)));
    assert_eq!(job.client.get(&path(&first)).await.ok_json(), first);
    let patch = async |body: Value| job.client.call(Method::PATCH, &path(&first)).json(&body).send().await;
    let kept = patch(json!({"expires_after": {"anchor": "created_at", "seconds": 3600}})).await.ok_json();
    assert_eq!(kept["expires_at"], json!(first["created_at"].as_i64().expect("a time") + 3600));
    let longer = patch(json!({"expires_after": {"anchor": "now", "seconds": 7200}})).await.ok_json();
    assert!(longer["expires_at"].as_i64() > kept["expires_at"].as_i64());
    assert_eq!(patch(json!({"expires_after": null})).await.ok_json(), first);
    for (body, param) in [
        (json!({"expires_after": {"anchor": "then", "seconds": 3600}}), "expires_after.anchor"),
        (json!({"expires_after": {"anchor": "now", "seconds": 3599}}), "expires_after.seconds"),
    ] {
        assert_eq!(patch(body).await.refused(400, "invalid_expires_after")["param"], param);
    }
    patch(json!({})).await.refused(400, "invalid_json");
    job.client.delete(&path(&second)).await.refused(409, "checkpoint_in_use");
    let deleted = job.client.delete(&path(&first)).await.ok_json();
    assert_eq!(deleted, json!({"id": id(&first), "object": "fine_tuning.job.checkpoint", "deleted": true}));
    job.client.get(&path(&first)).await.refused(404, "not_found");
    job.client.delete(&path(&first)).await.refused(404, "not_found");
    job.verb("cancel").await.ok();
    job.client.delete(&path(&second)).await.ok();
    assert_eq!(job.client.get(&job.path("/checkpoints")).await.ok_json()["data"], json!([]));
}

#[tokio::test]
async fn a_checkpoint_can_be_made_with_a_time_to_live() {
    let world = World::new().await;
    let job = world.job(json!({})).await;
    let body = json!({"expires_after": {"anchor": "created_at", "seconds": 3600}});
    let made = job.client.post(&job.path("/checkpoints"), &body).await.ok_json();
    assert_eq!(made["expires_at"], json!(made["created_at"].as_i64().expect("a time") + 3600));
    let short = json!({"expires_after": {"anchor": "created_at", "seconds": 1}});
    job.client.post(&job.path("/checkpoints"), &short).await.refused(400, "invalid_expires_after");
    job.client.post(&job.path("/checkpoints"), &json!({"name": "x"})).await.refused(400, "unknown_field");
    let text = job.client.call(Method::POST, &job.path("/checkpoints")).body("text/plain", b"{}".to_vec());
    text.send().await.refused(415, "unsupported_media_type");
    assert_eq!(job.client.get(&job.path("/checkpoints")).await.ok_json()["data"], json!([made]));
}

#[tokio::test]
async fn a_checkpoint_is_its_jobs_and_its_projects_alone() {
    let world = World::new().await;
    let (job, sibling) = (world.job(json!({})).await, world.job(json!({})).await);
    let made = id(&saved(&job).await);
    saved(&job).await;
    let other = World::new().await;
    let theirs = other.job(json!({})).await;
    for (client, owner) in [(&world.client, &sibling), (&other.client, &theirs), (&other.client, &job)] {
        let path = owner.path(&format!("/checkpoints/{made}"));
        client.get(&path).await.refused(404, "not_found");
        client.get(&format!("{path}/content")).await.refused(404, "not_found");
        client.delete(&path).await.refused(404, "not_found");
        let body = json!({"expires_after": null});
        client.call(Method::PATCH, &path).json(&body).send().await.refused(404, "not_found");
    }
    job.client.get(&job.path(&format!("/checkpoints/{made}"))).await.ok();
}
