//! The events of all jobs of a project, in the order of commits.

use std::time::Duration;

use blindtune::domain::ids::EventId;
use blindtune::domain::ids::JobId;
use blindtune::domain::job::JobState;
use blindtune::store::Connection;
use blindtune::store::Order;
use blindtune::store::Page;
use blindtune::store::events;
use blindtune::store::events::EventKind;
use blindtune::store::events::Level;
use blindtune::store::events::NewEvent;
use blindtune::store::project_events;
use blindtune::store::project_events::Place;
use uuid::Uuid;

use crate::TestResult;
use crate::world::World;

async fn append(conn: &mut Connection, job: JobId, message: &str) -> EventId {
    let id = EventId(Uuid::now_v7());
    let new = NewEvent { id, job, level: Level::Info, kind: EventKind::Message, message, data: None };
    events::append(conn, &new).await.expect("appends").id
}

/// What a reader finds within ten seconds: other tests have transactions of their own under way in this Postgres.
async fn read(world: &World, place: Place, count: usize) -> TestResult<(Vec<EventId>, Place)> {
    let (mut found, mut place) = (Vec::new(), place);
    for _ in 0..100 {
        let news = project_events::since(&mut *world.pool.acquire().await?, world.project, place, 2).await?;
        place = news.place;
        found.extend(news.rows.iter().map(|row| row.id));
        if found.len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok((found, place))
}

#[tokio::test]
async fn a_slower_transaction_is_waited_for_and_nothing_is_missed() -> TestResult {
    let world = World::new().await;
    let (slow, fast) = (world.job(JobState::Running, None).await, world.job(JobState::Running, None).await);
    let start = project_events::newest(&mut *world.pool.acquire().await?, world.project).await?;
    let mut under_way = world.pool.begin().await?;
    let first = append(&mut under_way, slow, "drawn first, committed last").await;
    let second = append(&mut *world.pool.acquire().await?, fast, "drawn last, committed first").await;
    for _ in 0..3 {
        let found = project_events::since(&mut *world.pool.acquire().await?, world.project, start, 100).await?;
        assert!(found.rows.is_empty() && found.is_more && found.place == start, "{found:?}");
    }
    under_way.commit().await?;
    let (found, place) = read(&world, start, 2).await?;
    assert_eq!(found, [first, second]);
    let third = append(&mut *world.pool.acquire().await?, slow, "later").await;
    assert_eq!(read(&world, place, 1).await?.0, [third]);
    let resumed = project_events::place_of(&mut *world.pool.acquire().await?, world.project, first).await?;
    assert_eq!(read(&world, resumed.ok_or("it is there")?, 2).await?.0, [second, third]);
    Ok(())
}

#[tokio::test]
async fn the_list_has_the_same_order_both_ways_and_no_other_project() -> TestResult {
    let world = World::new().await;
    let jobs = [world.job(JobState::Running, None).await, world.job(JobState::Running, None).await];
    let mut made = Vec::new();
    for at in 0..5 {
        made.push(append(&mut *world.pool.acquire().await?, jobs[at % 2], "one after the other").await);
    }
    let mut conn = world.pool.acquire().await?;
    for order in [Order::Asc, Order::Desc] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = Page { after, limit: 2, order };
            let page = project_events::list(&mut conn, world.project, &page).await?.ok_or("after is known")?;
            found.extend(page.rows.iter().map(|row| row.id));
            after = found.last().map(|id: &EventId| id.0);
            if !page.has_more {
                break;
            }
        }
        let expected: Vec<_> = if order == Order::Asc { made.clone() } else { made.iter().rev().copied().collect() };
        assert_eq!(found, expected, "{order:?}");
    }
    let rival = world.other_project().await;
    assert!(project_events::place_of(&mut conn, rival, made[0]).await?.is_none());
    let of_another = Page { after: Some(made[0].0), ..Page::first(10) };
    assert!(
        project_events::list(&mut conn, rival, &of_another).await?.is_none(),
        "another project's event is no cursor"
    );
    assert!(project_events::list(&mut conn, rival, &Page::first(10)).await?.ok_or("a page")?.rows.is_empty());
    Ok(())
}

/// A backup that is restored at another Postgres brings transaction numbers that this one has not reached.
#[tokio::test]
async fn events_of_another_cluster_stand_before_all_new_ones() -> TestResult {
    let world = World::new().await;
    let job = world.job(JobState::Running, None).await;
    let mut conn = world.pool.acquire().await?;
    let restored = append(&mut conn, job, "restored").await;
    sqlx::query("update events set tx = tx + 1000000000").execute(&mut *conn).await?;
    assert_eq!(project_events::adopt(&mut conn).await?, 1);
    let place = project_events::place_of(&mut conn, world.project, restored).await?.ok_or("it is there")?;
    let new = append(&mut conn, job, "new").await;
    drop(conn);
    assert_eq!(read(&world, place, 1).await?.0, [new]);
    Ok(())
}
