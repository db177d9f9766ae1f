//! Writes of a host whose lease another host has taken over: none of them is carried out, whatever it holds in memory.

use std::future::Future;

use blindtune::domain::ids::CheckpointId;
use blindtune::domain::ids::JobId;
use blindtune::domain::job::JobState;
use blindtune::domain::steps::StepKind;
use blindtune::store::Connection;
use blindtune::store::blobs::BlobRef;
use blindtune::store::checkpoints;
use blindtune::store::checkpoints::NewCheckpoint;
use blindtune::store::jobs;
use blindtune::store::jobs::Completion;
use blindtune::store::jobs::JobShape;
use blindtune::store::jobs::StateChange;
use blindtune::store::leases;
use blindtune::store::steps;
use serde_json::json;
use uuid::Uuid;

use crate::TestResult;
use crate::world::LONG;
use crate::world::OVER;
use crate::world::World;

/// A job that one host lost and another holds, with a step of the other's.
struct TakenOver {
    world: World,
    job: JobId,
    stale: i32,
    held: i32,
}

async fn taken_over() -> TakenOver {
    let world = World::new().await;
    let job = world.job(JobState::Running, None).await;
    let stale = world.claim(job, Uuid::new_v4(), OVER).await.expect("free");
    let held = world.claim(job, Uuid::new_v4(), LONG).await.expect("run out");
    world.step(job, held, 1, StepKind::Forward).await.expect("the other's step");
    TakenOver { world, job, stale, held }
}

/// The same write is refused under the lost lease and changes nothing, and is carried out under the present one.
async fn fenced<F>(write: impl Fn(TakenOverAt) -> F)
where
    F: Future<Output = bool>,
{
    let TakenOver { world, job, stale, held } = taken_over().await;
    let before = world.read(job).await;
    let at = TakenOverAt { project: world.project, pool: world.pool.clone(), job, attempt: stale };
    assert!(!write(at.clone()).await, "a stale lease wrote");
    assert_eq!(world.read(job).await, before);
    assert!(write(TakenOverAt { attempt: held, ..at }).await, "the present lease writes");
}

/// Where a write goes, and under which lease.
#[derive(Clone)]
struct TakenOverAt {
    project: blindtune::domain::ids::ProjectId,
    pool: sqlx::PgPool,
    job: JobId,
    attempt: i32,
}

impl TakenOverAt {
    async fn connection(&self) -> sqlx::pool::PoolConnection<sqlx::Postgres> {
        self.pool.acquire().await.expect("connects")
    }
}

#[tokio::test]
async fn a_job_is_not_completed_by_a_host_that_lost_it() {
    fenced(async |at| {
        let end = Completion { attempt: at.attempt, from: JobState::Running, fine_tuned_model: "ft:x" };
        jobs::complete(&mut *at.connection().await, at.project, at.job, &end).await.expect("asks")
    })
    .await;
}

#[tokio::test]
async fn no_state_is_changed_by_a_host_that_lost_the_job() {
    for to in [JobState::Paused, JobState::Failed, JobState::Cancelled] {
        fenced(async |at| {
            let change = StateChange { attempt: at.attempt, from: JobState::Running, to };
            jobs::set_state(&mut *at.connection().await, at.project, at.job, change, None).await.expect("asks")
        })
        .await;
    }
}

#[tokio::test]
async fn a_job_gets_no_shape_from_a_host_that_lost_it() {
    let shape = JobShape { hidden_size: 9, adapter_parameters: 9, max_tokens: 9 };
    fenced(async |at| jobs::set_shape(&mut *at.connection().await, at.job, at.attempt, shape).await.expect("asks"))
        .await;
}

#[tokio::test]
async fn a_lease_is_not_given_back_by_a_host_that_lost_it() {
    fenced(async |at| leases::release(&mut *at.connection().await, at.job, at.attempt).await.expect("asks")).await;
}

#[tokio::test]
async fn no_checkpoint_is_recorded_by_a_host_that_lost_the_job() {
    fenced(async |at| checkpoint(&mut *at.connection().await, at.job, at.attempt).await).await;
}

async fn checkpoint(conn: &mut Connection, job: JobId, attempt: i32) -> bool {
    let blob = BlobRef { path: "checkpoints/a".to_owned(), sha256: "0".repeat(64), bytes: 9 };
    let new = NewCheckpoint {
        id: CheckpointId(Uuid::now_v7()),
        job,
        attempt,
        step_number: 1,
        seq: 1,
        adapter_version: 0,
        automatic: true,
        blob: &blob,
        metrics: &json!({}),
        fine_tuned_model_checkpoint: "ft:x:ckpt",
        seconds: None,
    };
    checkpoints::insert(conn, &new).await.expect("asks").is_some()
}

#[tokio::test]
async fn no_step_is_undone_or_counted_by_a_host_that_lost_the_job() -> TestResult {
    fenced(async |at| steps::touch(&mut *at.connection().await, at.job, at.attempt, true).await.is_ok()).await;
    fenced(async |at| steps::rewind(&mut *at.connection().await, at.job, at.attempt, 0).await.expect("asks")).await;
    let TakenOver { world, job, stale, held } = taken_over().await;
    assert!(world.step(job, stale, 2, StepKind::Backward).await.is_err());
    world.step(job, held, 2, StepKind::Backward).await?;
    Ok(())
}
