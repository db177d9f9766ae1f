use serde_json::json;

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
