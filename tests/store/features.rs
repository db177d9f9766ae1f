//! Progress of feature jobs: whose turn it is, and who may write.

use std::time::Duration;

use blindtune::domain::features::FeatureSettings;
use blindtune::domain::ids::FileId;
use blindtune::domain::ids::JobId;
use blindtune::domain::ids::KeyId;
use blindtune::domain::job::JobState;
use blindtune::domain::protection::Protection;
use blindtune::domain::settings::SplitSettings;
use blindtune::store::features;
use blindtune::store::features::NewShard;
use blindtune::store::features::Turn;
use blindtune::store::jobs;
use blindtune::store::jobs::NewFeatures;
use blindtune::store::jobs::NewJob;
use uuid::Uuid;

use crate::TestResult;
use crate::world::World;

const TTL: Duration = Duration::from_secs(60);

/// A running features job of 10 rows.
async fn running(world: &World) -> Result<JobId, Box<dyn std::error::Error>> {
    let settings = FeatureSettings::default();
    let new = NewJob {
        id: JobId(Uuid::now_v7()),
        project: world.project,
        model: world.model,
        model_name: "mini",
        training_file: Some(FileId(Uuid::now_v7())),
        status: JobState::Queued,
        suffix: None,
        seed: 7,
        settings: &SplitSettings::default(),
        metadata: None,
        origin: None,
        hyperparameters: &serde_json::json!({}),
        key: KeyId(Uuid::nil()),
        protection: Some(Protection::Blind),
        features: Some(NewFeatures { settings: &settings, rows: 10, bytes: 1000 }),
    };
    let mut conn = world.pool.acquire().await?;
    let job = jobs::insert(&mut conn, &new).await?;
    assert_eq!(
        (job.features.as_ref(), job.rows_total, job.protection),
        (Some(&settings), Some(10), Some(Protection::Blind))
    );
    let change = world.change(job.id, JobState::Queued, JobState::Running).await;
    assert!(jobs::set_state(&mut conn, world.project, job.id, change, None).await?);
    Ok(job.id)
}

async fn turn(world: &World, owner: Uuid) -> Result<Option<Turn>, Box<dyn std::error::Error>> {
    Ok(features::take_turn(&mut *world.pool.acquire().await?, owner, TTL).await?)
}

fn shard(turn: &Turn, rows: i64) -> NewShard {
    NewShard { job: turn.job, attempt: turn.attempt, file: FileId(Uuid::now_v7()), bytes: 300, rows, tokens: 40 }
}

#[tokio::test]
async fn turns_go_round_and_a_held_job_is_passed_over() -> TestResult {
    let world = World::new().await;
    let (first, second) = (running(&world).await?, running(&world).await?);
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let mine = turn(&world, one).await?.ok_or("a turn")?;
    let theirs = turn(&world, other).await?.ok_or("a turn")?;
    assert_eq!((mine.job, theirs.job), (first, second));
    assert_eq!(turn(&world, Uuid::new_v4()).await?, None, "both are held");
    let mut conn = world.pool.acquire().await?;
    assert!(features::add_shard(&mut conn, &shard(&theirs, 4)).await?);
    assert!(features::add_shard(&mut conn, &shard(&mine, 4)).await?);
    let next = turn(&world, one).await?.ok_or("a turn")?;
    assert_eq!(next.job, second, "its shard is the older one");
    assert_eq!(next.barren_attempts, 1, "a shard forgives");
    let row = world.read(second).await;
    assert_eq!((row.rows_done, row.result_bytes, row.trained_tokens, row.result_files.len()), (4, 300, 40, 1));
    Ok(())
}

#[tokio::test]
async fn a_turn_that_was_lost_writes_nothing() -> TestResult {
    let world = World::new().await;
    let job = running(&world).await?;
    let lost = turn(&world, Uuid::new_v4()).await?.ok_or("a turn")?;
    let mut conn = world.pool.acquire().await?;
    sqlx::raw_sql("update jobs set lease_until = now()").execute(&mut *conn).await?;
    let held = turn(&world, Uuid::new_v4()).await?.ok_or("a turn")?;
    assert_eq!((held.attempt, held.barren_attempts), (lost.attempt + 1, 2));
    assert!(!features::hold(&mut conn, job, lost.attempt, TTL).await?);
    assert!(!features::add_shard(&mut conn, &shard(&lost, 4)).await?);
    features::pass_turn(&mut conn, job, lost.attempt).await?;
    assert!(features::hold(&mut conn, job, held.attempt, TTL).await?, "the other still holds it");
    let change = world.change(job, JobState::Running, JobState::Paused).await;
    assert!(jobs::set_state(&mut conn, world.project, job, change, None).await?);
    assert!(!features::hold(&mut conn, job, held.attempt, TTL).await?);
    assert!(!features::add_shard(&mut conn, &shard(&held, 4)).await?);
    assert_eq!(world.read(job).await.result_files, []);
    Ok(())
}

#[tokio::test]
async fn what_open_jobs_are_still_to_write_counts_as_stored() -> TestResult {
    let world = World::new().await;
    let job = running(&world).await?;
    let mut conn = world.pool.acquire().await?;
    let stored =
        async |conn: &mut sqlx::PgConnection| features::stored_bytes(conn, world.project, &["fine-tune-results"]).await;
    assert_eq!(stored(&mut conn).await?, 1000);
    let turn = turn(&world, Uuid::new_v4()).await?.ok_or("a turn")?;
    assert!(features::add_shard(&mut conn, &shard(&turn, 4)).await?);
    assert_eq!(stored(&mut conn).await?, 700, "the file itself counts when its row is there");
    let change = world.change(job, JobState::Running, JobState::Cancelled).await;
    assert!(jobs::set_state(&mut conn, world.project, job, change, None).await?);
    assert_eq!(stored(&mut conn).await?, 0);
    Ok(())
}

/// Eight hosts beside each other, and ten thousand jobs that wait: each is taken by one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_jobs_eight_claimers_take_each_once() -> TestResult {
    const JOBS: usize = 10_000;
    const CLAIMERS: usize = 8;
    let world = World::new().await;
    let first = running(&world).await?;
    let copies = "insert into jobs select (jsonb_populate_record(j, jsonb_build_object('id', gen_random_uuid()))).*
                  from jobs j, generate_series(2, $2) where j.id = $1";
    // What a busy machine takes for this is nothing that a request waits for.
    let mut making = world.pool.begin().await?;
    sqlx::raw_sql("set local statement_timeout = 0").execute(&mut *making).await?;
    sqlx::query(copies).bind(first.0).bind(JOBS as i32).execute(&mut *making).await?;
    sqlx::raw_sql("analyze jobs").execute(&mut *making).await?;
    making.commit().await?;
    let claimers = (0..CLAIMERS).map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            let (owner, mut taken) = (Uuid::new_v4(), Vec::new());
            let mut conn = pool.acquire().await.expect("connects");
            let ends =
                "update jobs set status = 'cancelled', finished_at = now(), lease_owner = null, lease_until = null
                        where id = $1 and attempt = $2";
            loop {
                let began = std::time::Instant::now();
                let Some(turn) = features::take_turn(&mut conn, owner, TTL).await.expect("runs") else { return taken };
                taken.push((turn.job, began.elapsed()));
                let ended = sqlx::query(ends).bind(turn.job.0).bind(turn.attempt).execute(&mut *conn).await;
                assert_eq!(ended.expect("ends").rows_affected(), 1, "nobody else has it");
            }
        })
    });
    let mut taken = Vec::new();
    for claimer in claimers.collect::<Vec<_>>() {
        taken.extend(claimer.await?);
    }
    let jobs: std::collections::BTreeSet<JobId> = taken.iter().map(|(job, _)| *job).collect();
    assert_eq!((jobs.len(), taken.len()), (JOBS, JOBS), "none twice");
    let mut times: Vec<Duration> = taken.into_iter().map(|(_, time)| time).collect();
    times.sort();
    eprintln!("a claim among {JOBS} jobs: p50 {:?}, p99 {:?}", times[JOBS / 2], times[JOBS * 99 / 100]);
    Ok(())
}
