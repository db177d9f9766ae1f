//! Migrations, constraints and the mapping of errors.

use std::time::Duration;

use blindtune::app::Database;
use blindtune::config::Config;
use blindtune::domain::job::JobState;
use blindtune::store::PoolSettings;
use blindtune::store::StoreError;
use blindtune::store::jobs;
use blindtune::store::pool;
use blindtune::store::project_tables;
use blindtune::store::projects;
use futures::future::join_all;

use crate::TestResult;
use crate::postgres;
use crate::world::World;

#[tokio::test]
async fn hosts_that_migrate_at_once_all_end_at_the_same_schema() -> TestResult {
    let url = postgres::empty_database().await;
    let hosts = join_all((0..4).map(|_| async {
        let pool = pool::connect(&url, PoolSettings::default()).await?;
        pool::migrate(&pool).await?;
        projects::find_or_create(&mut *pool::begin(&pool).await?, "acme").await
    }))
    .await;
    for host in hosts {
        host?;
    }
    Ok(())
}

/// A table that is added is deleted and exported with its project, or said to be none of any project's.
#[tokio::test]
async fn every_table_is_a_projects_or_the_hosts_own() -> TestResult {
    const OF_THE_HOST: [&str; 3] = ["_sqlx_migrations", "nodes", "signing_key"];
    let world = World::new().await;
    let tables = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'");
    let mut found: Vec<String> = tables.fetch_all(&world.pool).await?;
    let mut known: Vec<String> = project_tables::TABLES.iter().map(|table| table.name.to_owned()).collect();
    known.extend(OF_THE_HOST.map(str::to_owned));
    found.sort();
    known.sort();
    assert_eq!(found, known);
    let blobs = sqlx::query_scalar(
        "select table_name || '.' || column_name from information_schema.columns
         where table_schema = 'public' and column_name like '%blob%' order by 1",
    );
    let blobs: Vec<String> = blobs.fetch_all(&world.pool).await?;
    let named = ["batch_pieces.blob", "checkpoints.blob", "files.blob", "files.index_blob", "upload_parts.blob"];
    assert_eq!(blobs, named, "project_tables::BLOBS names them, and adapters of models and of origins");
    Ok(())
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_by_name() -> TestResult {
    for (change, number) in [
        ("update _sqlx_migrations set checksum = 'another text'", 1),
        (
            "insert into _sqlx_migrations select 10, 'usage shards', now(), true, checksum, 1 from _sqlx_migrations where version = 1",
            10,
        ),
    ] {
        let world = World::new().await;
        sqlx::raw_sql(change).execute(&world.pool).await?;
        let refused = pool::migrate(&world.pool).await;
        assert!(matches!(refused, Err(StoreError::OtherVersion { version }) if version == number), "{refused:?}");
        let url = world.url.clone();
        let flags = [("state.dir", "unused".into()), ("database.url", url.into())];
        let config = Config::load(None, &flags)?;
        let Err(error) = Database::open(&config).await else { return Err("it was opened".into()) };
        assert!(format!("{error:#}").contains("make an empty database and name it in database.url"), "{error:#}");
    }
    Ok(())
}

#[tokio::test]
async fn a_session_has_its_time_outs_and_waits_no_longer_than_them() -> TestResult {
    let world = World::new().await;
    let job = world.job(JobState::Running, None).await;
    let mut holder = pool::begin(&world.pool).await?;
    jobs::get_for_update(&mut holder, world.project, job).await?;
    let mut waiter = pool::begin(&world.pool).await?;
    let refused = jobs::get_for_update(&mut waiter, world.project, job).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let (statement, commit): (String, String) =
        sqlx::query_as("select current_setting('statement_timeout'), current_setting('synchronous_commit')")
            .fetch_one(&mut *holder)
            .await?;
    assert_eq!((statement.as_str(), commit.as_str()), ("5s", "on"));
    Ok(())
}

#[tokio::test]
async fn an_exhausted_pool_and_a_database_that_is_not_there_are_unavailable() -> TestResult {
    let world = World::new().await;
    let settings = PoolSettings { max_connections: 1, acquire_timeout: Duration::from_millis(100) };
    let small = pool::connect(&world.url, settings).await?;
    let _held = pool::begin(&small).await?;
    assert!(matches!(pool::ping(&small).await, Err(StoreError::Unavailable(_))));
    let nowhere = "postgres://blindtune@localhost/blindtune?host=/nonexistent";
    assert!(matches!(pool::connect(nowhere, settings).await, Err(StoreError::Unavailable(_))));
    Ok(())
}

#[tokio::test]
async fn the_pool_goes_on_after_its_connections_were_cut() -> TestResult {
    let world = World::new().await;
    pool::ping(&world.pool).await?;
    let cutter = pool::connect(&world.url, PoolSettings::default()).await?;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    )
    .execute(&cutter)
    .await?;
    pool::ping(&world.pool).await?;
    Ok(())
}

#[tokio::test]
async fn the_schema_refuses_rows_that_break_an_invariant() -> TestResult {
    let world = World::new().await;
    world.job(JobState::Running, None).await;
    let broken = [
        "update jobs set status = 'dancing'",
        "update jobs set status = 'succeeded'",
        "update jobs set durable_seq = 1",
        "update jobs set lease_owner = gen_random_uuid()",
        "update jobs set status = 'paused', lease_owner = gen_random_uuid(), lease_until = now()",
        "update jobs set settings = '[]'",
        "update models set folder = null",
        "insert into steps (job_id, seq, kind, digest, attempt) select id, 1, 'forward', 'short', 1 from jobs",
        "delete from projects",
    ];
    for sql in broken {
        assert!(sqlx::query(sql).execute(&world.pool).await.is_err(), "{sql}");
    }
    Ok(())
}

#[tokio::test]
async fn a_transaction_that_is_given_up_while_it_begins_leaves_no_connection_in_one() -> TestResult {
    let world = World::new().await;
    let settings = PoolSettings { max_connections: 1, ..PoolSettings::default() };
    let pool = pool::connect(&world.url, settings).await?;
    for polls in 1..40 {
        let mut beginning = Box::pin(pool::begin(&pool));
        for _ in 0..polls {
            if futures::poll!(&mut beginning).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
            std::thread::sleep(Duration::from_micros(200)); // the server answers meanwhile
        }
        drop(beginning);
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&pool).await?;
        let state: String = sqlx::query_scalar("select state from pg_stat_activity where pid = $1")
            .bind(pid)
            .fetch_one(&world.pool)
            .await?;
        assert_eq!(
            state, "idle",
            "given up after {polls} polls: the next statement is in a transaction that nobody commits"
        );
    }
    Ok(())
}
