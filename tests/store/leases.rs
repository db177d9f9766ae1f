//! Who runs a job.

use blindtune::domain::job::JobState;
use blindtune::domain::steps::StepKind;
use blindtune::store::jobs;
use blindtune::store::leases;
use blindtune::store::steps::StepWrite;
use futures::future::join_all;
use uuid::Uuid;

use crate::TestResult;
use crate::world::LONG;
use crate::world::OVER;
use crate::world::World;

#[tokio::test]
async fn of_many_claims_at_once_one_wins() {
    let world = World::new().await;
    let job = world.job(JobState::Running, None).await;
    let claims = join_all((0..16).map(|_| world.claim(job, Uuid::new_v4(), LONG))).await;
    assert_eq!(claims.iter().flatten().collect::<Vec<_>>(), [&1]);
    assert_eq!(world.read(job).await.attempt, 1);
}

#[tokio::test]
async fn an_owner_that_claims_again_keeps_its_token() {
    let world = World::new().await;
    let (job, owner) = (world.job(JobState::Running, None).await, Uuid::new_v4());
    assert_eq!(world.claim(job, owner, LONG).await, Some(1));
    assert_eq!(world.claim(job, owner, LONG).await, Some(1));
    let row = world.read(job).await;
    assert_eq!((row.attempt, row.barren_attempts), (1, 1));
}

#[tokio::test]
async fn a_lease_that_ran_out_is_taken_over_and_its_owner_writes_nothing() {
    let world = World::new().await;
    let (job, dead, heir) = (world.job(JobState::Running, None).await, Uuid::new_v4(), Uuid::new_v4());
    let old = world.claim(job, dead, OVER).await.expect("free");
    let new = world.claim(job, heir, LONG).await.expect("run out");
    assert_eq!(new, old + 1);
    let refused = world.step(job, old, 1, StepKind::Forward).await;
    assert!(matches!(refused, Err(StepWrite::LeaseLost)), "{refused:?}");
    assert_eq!(world.read(job).await.next_seq, 1);
    assert!(world.step(job, new, 1, StepKind::Forward).await.is_ok());
}

#[tokio::test]
async fn a_heartbeat_names_the_jobs_still_held() -> TestResult {
    let world = World::new().await;
    let (kept, lost) = (world.job(JobState::Running, None).await, world.job(JobState::Running, None).await);
    let (owner, heir) = (Uuid::new_v4(), Uuid::new_v4());
    world.claim(kept, owner, OVER).await;
    world.claim(lost, owner, OVER).await;
    assert_eq!(world.claim(lost, heir, LONG).await, Some(2));
    let mut conn = world.pool.acquire().await?;
    let held = leases::heartbeat(&mut conn, owner, LONG).await?;
    assert_eq!(held.into_iter().collect::<Vec<_>>(), [kept]);
    assert_eq!(world.claim(kept, heir, LONG).await, None, "the heartbeat extended it");
    Ok(())
}

#[tokio::test]
async fn attempts_that_die_without_a_step_are_counted_and_those_that_end_well_are_not() -> TestResult {
    let world = World::new().await;
    let job = world.job(JobState::Running, None).await;
    for barren in 1..=3 {
        world.claim(job, Uuid::new_v4(), OVER).await;
        assert_eq!(world.read(job).await.barren_attempts, barren);
    }
    let owner = Uuid::new_v4();
    let attempt = world.claim(job, owner, LONG).await.expect("run out");
    world.step(job, attempt, 1, StepKind::Forward).await?;
    assert_eq!(world.read(job).await.barren_attempts, 0, "a step is progress");
    let mut conn = world.pool.acquire().await?;
    assert!(leases::release(&mut conn, job, attempt).await?);
    assert!(!leases::release(&mut conn, job, attempt).await?, "it is given back already");
    assert_eq!(world.read(job).await.barren_attempts, 0, "given back in good order");
    Ok(())
}

#[tokio::test]
async fn only_a_running_job_can_be_claimed_and_one_that_stops_running_has_no_lease() -> TestResult {
    let world = World::new().await;
    let queued = world.job(JobState::Queued, None).await;
    assert_eq!(world.claim(queued, Uuid::new_v4(), LONG).await, None);
    let job = world.job(JobState::Running, None).await;
    world.claim(job, Uuid::new_v4(), LONG).await;
    let mut conn = world.pool.acquire().await?;
    let change = world.change(job, JobState::Running, JobState::Paused).await;
    assert!(jobs::set_state(&mut conn, world.project, job, change, None).await?);
    let row = world.read(job).await;
    assert_eq!((row.lease_owner, row.lease_until, row.barren_attempts), (None, None, 0));
    Ok(())
}
