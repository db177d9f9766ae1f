//! Steps, checkpoints and falling back to them.

use blindtune::domain::ids::CheckpointId;
use blindtune::domain::ids::JobId;
use blindtune::domain::job::JobState;
use blindtune::domain::steps::StepKind;
use blindtune::store::Page;
use blindtune::store::blobs::BlobRef;
use blindtune::store::checkpoints;
use blindtune::store::checkpoints::NewCheckpoint;
use blindtune::store::jobs;
use blindtune::store::steps;
use blindtune::store::steps::StepWrite;
use futures::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::TestResult;
use crate::world::LONG;
use crate::world::World;

async fn claimed(world: &World) -> (JobId, i32) {
    let job = world.job(JobState::Running, None).await;
    (job, world.claim(job, Uuid::new_v4(), LONG).await.expect("free"))
}

#[tokio::test]
async fn of_many_calls_with_one_seq_one_is_recorded() -> TestResult {
    let world = World::new().await;
    let (job, attempt) = claimed(&world).await;
    let calls = join_all((0..16).map(|_| world.step(job, attempt, 1, StepKind::Forward))).await;
    assert_eq!(calls.iter().filter(|call| call.is_ok()).count(), 1);
    for call in calls.iter().filter_map(|call| call.as_ref().err()) {
        assert!(matches!(call, StepWrite::OutOfOrder { expected: 2 }), "{call}");
    }
    let row = world.read(job).await;
    assert_eq!((row.next_seq, row.forward_seq, row.trained_tokens), (2, 1, 10));
    let mut conn = world.pool.acquire().await?;
    assert_eq!(steps::get(&mut conn, job, 1).await?.expect("recorded").digest, [9; 32]);
    assert!(steps::get(&mut conn, job, 2).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_step_out_of_order_or_of_a_job_at_rest_changes_nothing() -> TestResult {
    let world = World::new().await;
    let (job, attempt) = claimed(&world).await;
    for seq in [0, 2, u64::MAX >> 1] {
        let refused = world.step(job, attempt, seq, StepKind::Forward).await;
        assert!(matches!(refused, Err(StepWrite::OutOfOrder { expected: 1 })), "{refused:?}");
    }
    let mut conn = world.pool.acquire().await?;
    jobs::set_state(&mut conn, world.project, job, world.change(job, JobState::Running, JobState::Paused).await, None)
        .await?;
    let refused = world.step(job, attempt, 1, StepKind::Forward).await;
    assert!(matches!(refused, Err(StepWrite::NotRunning)), "{refused:?}");
    assert_eq!(world.read(job).await.next_seq, 1);
    Ok(())
}

#[tokio::test]
async fn a_rewind_forgets_later_steps_and_what_they_counted() -> TestResult {
    let world = World::new().await;
    let (job, attempt) = claimed(&world).await;
    for (seq, kind) in
        [(1, StepKind::Forward), (2, StepKind::Backward), (3, StepKind::Forward), (4, StepKind::Backward)]
    {
        world.step(job, attempt, seq, kind).await?;
    }
    let mut tx = world.pool.begin().await?;
    assert!(!steps::rewind(&mut tx, job, attempt - 1, 2).await?, "an old token rewinds nothing");
    assert!(!steps::rewind(&mut tx, job, attempt, 9).await?, "nor does a seq that never was");
    assert!(steps::rewind(&mut tx, job, attempt, 2).await?);
    tx.commit().await?;
    let row = world.read(job).await;
    assert_eq!((row.next_seq, row.forward_seq, row.trained_tokens, row.optimizer_steps), (3, 1, 20, 2));
    let mut conn = world.pool.acquire().await?;
    assert!(steps::get(&mut conn, job, 3).await?.is_none());
    world.step(job, attempt, 3, StepKind::Forward).await?;
    Ok(())
}

async fn save(world: &World, job: JobId, attempt: i32, seq: u64) -> TestResult {
    let blob = BlobRef { path: format!("checkpoints/{seq}"), sha256: "0".repeat(64), bytes: 5 };
    let new = NewCheckpoint {
        id: CheckpointId(Uuid::now_v7()),
        job,
        attempt,
        step_number: seq,
        seq,
        adapter_version: 0,
        automatic: true,
        blob: &blob,
        metrics: &json!({}),
        fine_tuned_model_checkpoint: "ft:mini:acme::1:ckpt",
        seconds: None,
    };
    let mut tx = world.pool.begin().await?;
    let row = checkpoints::insert(&mut tx, &new).await?.ok_or("the checkpoint was refused")?;
    assert_eq!(row.blob_ref(), blob);
    Ok(tx.commit().await?)
}

#[tokio::test]
async fn a_checkpoint_makes_its_steps_durable_and_only_the_newest_are_kept() -> TestResult {
    let world = World::new().await;
    let (job, attempt) = claimed(&world).await;
    assert!(save(&world, job, attempt, 1).await.is_err(), "it cannot cover a step that is not there");
    for seq in 1..=3 {
        world.step(job, attempt, seq, StepKind::OptimStep).await?;
        save(&world, job, attempt, seq).await?;
    }
    assert!(save(&world, job, attempt - 1, 3).await.is_err(), "an old token writes nothing");
    assert_eq!(world.read(job).await.durable_seq, 3);
    let mut conn = world.pool.acquire().await?;
    assert_eq!(checkpoints::latest(&mut conn, job).await?.map(|row| row.seq), Some(3));
    let old = checkpoints::older_than_newest(&mut conn, job, 2).await?;
    assert_eq!(old.iter().map(|row| row.seq).collect::<Vec<_>>(), [1]);
    assert!(checkpoints::delete(&mut conn, old[0].id).await?);
    let left = checkpoints::list(&mut conn, world.project, job, &Page::first(10)).await?.expect("a page");
    assert_eq!(left.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [3, 2]);
    Ok(())
}
