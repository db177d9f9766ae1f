//! Answers that are written with what they answer.

use std::time::Duration;

use blindtune::store::idempotency;
use blindtune::store::idempotency::IdempotencyRecord;
use blindtune::store::idempotency::RequestKey;
use blindtune::store::pool;

use crate::TestResult;
use crate::world::World;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn an_answer_is_there_when_its_transaction_is_and_not_before() -> TestResult {
    let world = World::new().await;
    let request = RequestKey { project: world.project, token: &[1; 32], body: &[2; 32] };
    let mut conn = world.pool.acquire().await?;
    let mut given_up = pool::begin(&world.pool).await?;
    assert!(idempotency::insert(&mut given_up, &request, 200, b"{}").await?);
    assert_eq!(idempotency::get(&mut conn, &request, DAY).await?, None);
    given_up.rollback().await?;
    let mut kept = pool::begin(&world.pool).await?;
    assert!(idempotency::insert(&mut kept, &request, 200, b"{}").await?);
    pool::commit(kept).await?;
    let record = IdempotencyRecord { body: vec![2; 32], status: 200, answer: b"{}".to_vec() };
    assert_eq!(idempotency::get(&mut conn, &request, DAY).await?, Some(record));
    let theirs = RequestKey { project: world.other_project().await, ..request };
    assert_eq!(idempotency::get(&mut conn, &theirs, DAY).await?, None, "another project's");
    Ok(())
}

#[tokio::test]
async fn of_two_transactions_the_second_waits_and_writes_nothing() -> TestResult {
    let world = World::new().await;
    let request = RequestKey { project: world.project, token: &[1; 32], body: &[2; 32] };
    let mut first = pool::begin(&world.pool).await?;
    assert!(idempotency::insert(&mut first, &request, 200, b"first").await?);
    let mut second = pool::begin(&world.pool).await?;
    let both = async { tokio::join!(idempotency::insert(&mut second, &request, 200, b"second"), pool::commit(first)) };
    let (waited, committed) = both.await;
    committed?;
    assert!(!waited?);
    pool::commit(second).await?;
    let kept = idempotency::get(&mut *world.pool.acquire().await?, &request, DAY).await?;
    assert_eq!(kept.map(|record| record.answer), Some(b"first".to_vec()));
    Ok(())
}

#[tokio::test]
async fn an_old_answer_does_not_count_and_makes_room() -> TestResult {
    let world = World::new().await;
    let request = RequestKey { project: world.project, token: &[1; 32], body: &[2; 32] };
    let mut conn = world.pool.acquire().await?;
    idempotency::insert(&mut conn, &request, 200, b"old").await?;
    sqlx::query("update idempotency set created_at = now() - interval '1 hour'").execute(&mut *conn).await?;
    let minute = Duration::from_secs(60);
    assert_eq!(idempotency::get(&mut conn, &request, minute).await?, None);
    idempotency::expire(&mut conn, &request, DAY).await?;
    assert!(!idempotency::insert(&mut conn, &request, 200, b"new").await?, "it is younger than a day");
    idempotency::expire(&mut conn, &request, minute).await?;
    assert!(idempotency::insert(&mut conn, &request, 200, b"new").await?);
    assert_eq!(idempotency::sweep(&mut conn, minute).await?, 0);
    Ok(())
}
