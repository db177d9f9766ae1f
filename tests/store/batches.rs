//! Batches: whose turn it is, who may write, and what their answers and files keep.

use std::time::Duration;

use blindtune::domain::batch::BatchEndpoint;
use blindtune::domain::batch::BatchStatus;
use blindtune::domain::ids::BatchId;
use blindtune::domain::ids::FileId;
use blindtune::domain::ids::KeyId;
use blindtune::store::batches;
use blindtune::store::batches::BatchRow;
use blindtune::store::batches::Ending;
use blindtune::store::batches::NewBatch;
use blindtune::store::batches::NewPiece;
use blindtune::store::batches::Turn;
use blindtune::store::features;
use blindtune::store::files;
use blindtune::store::jobs;
use blindtune::store::pool;
use uuid::Uuid;

use crate::TestResult;
use crate::world::World;

const TTL: Duration = Duration::from_secs(60);

/// A batch of 10 requests, whose lines are to be checked.
async fn new(world: &World) -> TestResult<BatchRow> {
    let new = NewBatch {
        id: BatchId(Uuid::now_v7()),
        project: world.project,
        key: KeyId(Uuid::nil()),
        input_file: FileId(Uuid::now_v7()),
        endpoint: BatchEndpoint::Embeddings,
        metadata: None,
        window_seconds: 3600,
        output_seconds: 7200,
        requests: 10,
    };
    Ok(batches::insert(&mut *world.pool.acquire().await?, &new).await?)
}

async fn turn(world: &World, owner: Uuid) -> TestResult<Option<Turn>> {
    Ok(batches::take_turn(&mut *world.pool.acquire().await?, owner, TTL).await?)
}

/// A turn on a batch that is worked on.
async fn working(world: &World, owner: Uuid) -> TestResult<Turn> {
    new(world).await?;
    let first = turn(world, owner).await?.ok_or("a turn")?;
    assert!(batches::begin(&mut *world.pool.acquire().await?, &first, Some("m")).await?);
    turn(world, owner).await?.ok_or_else(|| "a second turn".into())
}

fn piece(turn: &Turn, first_line: i64, completed: i64) -> NewPiece<'static> {
    NewPiece {
        batch: turn.batch,
        attempt: turn.attempt,
        first_line,
        blob: "batches/x",
        output_bytes: 100,
        error_bytes: 7,
        completed,
        failed: 1,
        tokens: 5,
        late: false,
    }
}

/// Adds a piece in a transaction of its own, which is kept where it may be.
async fn add(world: &World, piece: &NewPiece<'_>) -> TestResult<bool> {
    let mut transaction = pool::begin(&world.pool).await?;
    let added = batches::add_piece(&mut transaction, piece).await?;
    if added {
        pool::commit(transaction).await?;
    }
    Ok(added)
}

#[tokio::test]
async fn batches_take_turns_and_a_lease_is_one_owners() -> TestResult {
    let world = World::new().await;
    let (one, two) = (new(&world).await?.id, new(&world).await?.id);
    let (mine, theirs) = (Uuid::new_v4(), Uuid::new_v4());
    let first = turn(&world, mine).await?.ok_or("a turn")?;
    let second = turn(&world, theirs).await?.ok_or("a turn")?;
    assert_eq!((first.batch, second.batch), (one, two));
    assert_eq!(turn(&world, Uuid::new_v4()).await?, None, "both are held");
    let mut conn = world.pool.acquire().await?;
    batches::pass_turn(&mut conn, &first, false).await?;
    batches::pass_turn(&mut conn, &second, true).await?;
    let again = turn(&world, mine).await?.ok_or("a turn")?;
    assert_eq!((again.batch, again.barren_attempts), (one, 1), "it had none for longest, and nothing was lost");
    let other = turn(&world, theirs).await?.ok_or("a turn")?;
    assert_eq!((other.batch, other.barren_attempts), (two, 2));
    batches::release(&mut conn, mine).await?;
    let freed = turn(&world, Uuid::new_v4()).await?.ok_or("a turn")?;
    assert_eq!((freed.batch, freed.barren_attempts), (one, 1), "given back in good order");
    assert_eq!(turn(&world, Uuid::new_v4()).await?, None, "nobody gives back what another holds");
    Ok(())
}

#[tokio::test]
async fn a_turn_that_was_lost_writes_nothing() -> TestResult {
    let world = World::new().await;
    let lost = working(&world, Uuid::new_v4()).await?;
    let mut conn = world.pool.acquire().await?;
    sqlx::raw_sql("update batches set lease_until = now()").execute(&mut *conn).await?;
    let held = turn(&world, Uuid::new_v4()).await?.ok_or("a turn")?;
    assert_eq!((held.batch, held.attempt, held.barren_attempts), (lost.batch, lost.attempt + 1, 2));
    assert!(!batches::hold(&mut conn, &lost, BatchStatus::InProgress, TTL).await?);
    assert!(!add(&world, &piece(&lost, 0, 3)).await?);
    assert!(batches::hold(&mut conn, &held, BatchStatus::InProgress, TTL).await?);
    assert!(!add(&world, &piece(&held, 4, 3)).await?, "another line is next");
    assert!(add(&world, &piece(&held, 0, 3)).await?);
    assert!(!add(&world, &piece(&held, 0, 3)).await?, "once");
    assert_eq!(batches::pieces(&mut conn, held.batch).await?.len(), 1);
    let next = turn(&world, Uuid::new_v4()).await?.ok_or("a turn")?;
    assert!(batches::set_cancelling(&mut conn, next.batch, BatchStatus::InProgress).await?);
    assert!(!batches::hold(&mut conn, &next, BatchStatus::InProgress, TTL).await?);
    assert!(!add(&world, &piece(&next, 4, 3)).await?);
    Ok(())
}

#[tokio::test]
async fn the_last_piece_ends_the_answers_and_the_files_end_the_batch() -> TestResult {
    let world = World::new().await;
    let turn = working(&world, Uuid::new_v4()).await?;
    let mut conn = world.pool.acquire().await?;
    let stored = async |conn: &mut sqlx::PgConnection| features::stored_bytes(conn, world.project, &[]).await;
    assert!(add(&world, &piece(&turn, 0, 9)).await?);
    assert_eq!(stored(&mut conn).await?, 107);
    let used = vec!["batches/x".to_owned(), "batches/y".to_owned()];
    assert_eq!(files::unused_blobs(&mut conn, &used).await?, ["batches/y"]);
    let found = batches::get(&mut conn, world.project, turn.batch).await?.ok_or("the batch")?;
    assert_eq!((found.status, found.requests_completed, found.requests_failed), (BatchStatus::Finalizing, 9, 1));
    assert!(found.finalizing_at.is_some() && found.model.as_deref() == Some("m"));
    assert!(jobs::file_in_use(&mut conn, world.project, found.input_file).await?);
    let last = self::turn(&world, Uuid::new_v4()).await?.ok_or("a turn")?;
    let ending = Ending {
        batch: last.batch,
        attempt: last.attempt,
        from: BatchStatus::Finalizing,
        to: BatchStatus::Completed,
        output_file: Some(FileId(Uuid::now_v7())),
        error_file: None,
        errors: None,
    };
    assert!(
        !batches::finish(&mut *pool::begin(&world.pool).await?, &Ending { attempt: turn.attempt, ..ending }).await?
    );
    assert!(batches::finish(&mut conn, &ending).await?);
    let found = batches::get(&mut conn, world.project, turn.batch).await?.ok_or("the batch")?;
    assert_eq!((found.status, found.output_file), (BatchStatus::Completed, ending.output_file));
    assert!(found.finished_at.is_some() && batches::pieces(&mut conn, turn.batch).await?.is_empty());
    assert_eq!((stored(&mut conn).await?, batches::count_open(&mut conn, world.project).await?), (0, 0));
    assert!(!jobs::file_in_use(&mut conn, world.project, found.input_file).await?);
    assert_eq!(self::turn(&world, Uuid::new_v4()).await?, None);
    let other = world.other_project().await;
    assert_eq!(batches::get(&mut conn, other, turn.batch).await?, None);
    Ok(())
}
