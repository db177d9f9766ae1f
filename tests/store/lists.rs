//! Pages, filters and streams.

use blindtune::domain::ids::EventId;
use blindtune::domain::ids::JobId;
use blindtune::domain::job::JobState;
use blindtune::store::Order;
use blindtune::store::Page;
use blindtune::store::events;
use blindtune::store::events::EventKind;
use blindtune::store::events::Level;
use blindtune::store::events::NewEvent;
use blindtune::store::job_lists;
use blindtune::store::job_lists::JobFilter;
use blindtune::store::job_lists::MetadataFilter;
use blindtune::store::jobs;
use blindtune::store::ledger;
use blindtune::store::ledger::LedgerKind;
use blindtune::store::ledger::LedgerPage;
use blindtune::store::ledger::NewLedgerEntry;
use blindtune::store::ledger::SentTensor;
use blindtune::store::ledger::SentTensors;
use futures::future::join_all;
use uuid::Uuid;

use crate::TestResult;
use crate::world::World;
use crate::world::metadata;

async fn walk(world: &World, order: Order, limit: u32) -> Result<Vec<JobId>, Box<dyn std::error::Error>> {
    let mut conn = world.pool.acquire().await?;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = Page { after, limit, order };
        let found =
            job_lists::list(&mut conn, world.project, &page, &JobFilter::default()).await?.ok_or("after is known")?;
        assert!(found.rows.len() <= limit as usize);
        seen.extend(found.rows.iter().map(|job| job.id));
        after = seen.last().map(|job| job.0);
        if !found.has_more {
            return Ok(seen);
        }
    }
}

#[tokio::test]
async fn pages_hold_every_job_once_even_those_of_one_instant() -> TestResult {
    let world = World::new().await;
    let mut made = Vec::new();
    // Seven ids whose time is the same, then two of now.
    for tail in 0..7u128 {
        let id = JobId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | tail));
        made.push(world.job_with_id(id, JobState::Queued, None).await);
    }
    made.push(world.job(JobState::Queued, None).await);
    made.push(world.job(JobState::Queued, None).await);
    for limit in [1, 2, 3, 9, 100] {
        assert_eq!(walk(&world, Order::Asc, limit).await?, made, "limit {limit}");
        let newest_first: Vec<_> = made.iter().rev().copied().collect();
        assert_eq!(walk(&world, Order::Desc, limit).await?, newest_first, "limit {limit}");
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_cursor_is_told_apart_from_an_empty_page() -> TestResult {
    let world = World::new().await;
    let mut conn = world.pool.acquire().await?;
    let empty =
        job_lists::list(&mut conn, world.project, &Page::first(5), &JobFilter::default()).await?.expect("a page");
    assert!(empty.rows.is_empty() && !empty.has_more);
    let unknown = Page { after: Some(Uuid::now_v7()), ..Page::first(5) };
    assert!(job_lists::list(&mut conn, world.project, &unknown, &JobFilter::default()).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn metadata_selects_jobs_that_have_all_pairs_or_none_at_all() -> TestResult {
    let world = World::new().await;
    let both = world.job(JobState::Queued, Some(&metadata(&[("team", "a"), ("run", "1")]))).await;
    let one = world.job(JobState::Queued, Some(&metadata(&[("team", "a")]))).await;
    let bare = world.job(JobState::Queued, None).await;
    let (team, pair, odd) =
        (metadata(&[("team", "a")]), metadata(&[("team", "a"), ("run", "1")]), metadata(&[("team", "'; --")]));
    let cases = [
        (MetadataFilter::Any, vec![bare, one, both]),
        (MetadataFilter::Absent, vec![bare]),
        (MetadataFilter::Contains(team), vec![one, both]),
        (MetadataFilter::Contains(pair), vec![both]),
        (MetadataFilter::Contains(odd), vec![]),
    ];
    let mut conn = world.pool.acquire().await?;
    for (filter, expected) in cases {
        let found = job_lists::list(
            &mut conn,
            world.project,
            &Page::first(10),
            &JobFilter { metadata: filter.clone(), ..JobFilter::default() },
        )
        .await?
        .expect("a page");
        assert_eq!(found.rows.iter().map(|job| job.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_list_holds_what_all_of_its_filter_wants() -> TestResult {
    let world = World::new().await;
    let queued = world.job(JobState::Queued, None).await;
    let paused = world.job(JobState::Paused, Some(&metadata(&[("team", "a")]))).await;
    let other = world.job(JobState::Paused, None).await;
    let mut conn = world.pool.acquire().await?;
    let made = jobs::get(&mut conn, world.project, paused).await?.expect("the job");
    let all = JobFilter::default;
    let (name, team) = (made.model_name.clone(), MetadataFilter::Contains(metadata(&[("team", "a")])));
    let cases = [
        (JobFilter { status: Some(JobState::Paused), ..all() }, vec![other, paused]),
        (JobFilter { status: Some(JobState::Paused), metadata: team, ..all() }, vec![paused]),
        (JobFilter { status: Some(JobState::Running), ..all() }, vec![]),
        (JobFilter { model: Some(name), ..all() }, vec![other, paused, queued]),
        (JobFilter { model: Some("another".to_owned()), ..all() }, vec![]),
        (JobFilter { created_from: Some(made.created_at), ..all() }, vec![other, paused]),
        (JobFilter { created_before: Some(made.created_at), ..all() }, vec![queued]),
    ];
    for (filter, expected) in cases {
        let found = job_lists::list(&mut conn, world.project, &Page::first(10), &filter).await?.expect("a page");
        assert_eq!(found.rows.iter().map(|job| job.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    Ok(())
}

async fn append(world: &World, job: JobId, message: &str) -> events::EventRow {
    let new = NewEvent {
        id: EventId(Uuid::now_v7()),
        job,
        level: Level::Info,
        kind: EventKind::Message,
        message,
        data: None,
    };
    let mut conn = world.pool.acquire().await.expect("connects");
    events::append(&mut conn, &new).await.expect("appends")
}

#[tokio::test]
async fn events_are_listed_newest_first_and_streamed_in_order() -> TestResult {
    let world = World::new().await;
    let job = world.job(JobState::Running, None).await;
    let made = join_all((0..12).map(|_| append(&world, job, "at once"))).await;
    let mut positions: Vec<i64> = made.iter().map(|event| event.n).collect();
    positions.sort_unstable();
    positions.dedup();
    assert_eq!(positions.len(), 12);
    let mut conn = world.pool.acquire().await?;
    let streamed = events::since(&mut conn, world.project, job, positions[3], 100).await?;
    assert_eq!(streamed.iter().map(|event| event.n).collect::<Vec<_>>(), positions[4..]);
    let first = events::list(&mut conn, world.project, job, None, &Page::first(5)).await?.expect("a page");
    assert!(first.has_more && first.rows[0].n == positions[11]);
    let after = Page { after: Some(first.rows[4].id.0), ..Page::first(50) };
    let rest = events::list(&mut conn, world.project, job, None, &after).await?.expect("a page");
    assert_eq!(rest.rows.len(), 7);
    assert_eq!(events::position(&mut conn, world.project, job, first.rows[0].id).await?, Some(positions[11]));
    let elsewhere = world.job(JobState::Running, None).await;
    assert!(
        events::list(&mut conn, world.project, elsewhere, None, &after).await?.is_none(),
        "another job's event is no cursor"
    );
    Ok(())
}

#[tokio::test]
async fn the_ledger_reads_back_page_by_page() -> TestResult {
    let world = World::new().await;
    let job = world.job(JobState::Running, None).await;
    let tensors = SentTensors(vec![SentTensor {
        name: "s.0.0".to_owned(),
        dtype: "F32".to_owned(),
        shape: vec![2, 8],
        bytes: 64,
        sha256: "ab".repeat(32),
    }]);
    let mut conn = world.pool.acquire().await?;
    for seq in [Some(1), None, Some(2)] {
        let entry =
            NewLedgerEntry { job, seq, kind: LedgerKind::Backward, tensors: &tensors, bytes: 64, sha256: &[1; 32] };
        ledger::append(&mut conn, &entry).await?;
    }
    let page = |after, order| LedgerPage { after, limit: 2, order };
    let first = ledger::list(&mut conn, world.project, job, &page(None, Order::Asc)).await?;
    assert!(first.has_more && first.rows[0].tensors == tensors && first.rows[0].seq == Some(1));
    let rest = ledger::list(&mut conn, world.project, job, &page(Some(first.rows[1].n), Order::Asc)).await?;
    assert_eq!(rest.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [Some(2)]);
    assert!(!rest.has_more);
    let newest = ledger::list(&mut conn, world.project, job, &page(None, Order::Desc)).await?;
    assert_eq!(newest.rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [Some(2), None]);
    let oldest = ledger::list(&mut conn, world.project, job, &page(Some(newest.rows[1].n), Order::Desc)).await?;
    assert_eq!((oldest.rows.len(), oldest.has_more), (1, false));
    Ok(())
}
