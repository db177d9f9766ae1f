//! Projects, keys, files, models and jobs, and that none of them can be reached from another project.

use std::time::Duration;

use blindtune::domain::ids::EventId;
use blindtune::domain::ids::FileId;
use blindtune::domain::ids::JobId;
use blindtune::domain::ids::KeyId;
use blindtune::domain::ids::ProjectId;
use blindtune::domain::job::JobState;
use blindtune::domain::principal::Scope;
use blindtune::domain::quota::Quota;
use blindtune::domain::settings::SplitSettings;
use blindtune::store::Connection;
use blindtune::store::Order;
use blindtune::store::Page;
use blindtune::store::StoreError;
use blindtune::store::blobs::BlobRef;
use blindtune::store::checkpoints;
use blindtune::store::events;
use blindtune::store::events::EventKind;
use blindtune::store::events::Level;
use blindtune::store::events::NewEvent;
use blindtune::store::files;
use blindtune::store::files::NewFile;
use blindtune::store::job_lists;
use blindtune::store::job_lists::JobFilter;
use blindtune::store::jobs;
use blindtune::store::jobs::Completion;
use blindtune::store::jobs::JobCounts;
use blindtune::store::jobs::JobFailure;
use blindtune::store::jobs::NewJob;
use blindtune::store::jobs::Origin;
use blindtune::store::jobs::StateChange;
use blindtune::store::keys;
use blindtune::store::keys::NewKey;
use blindtune::store::ledger;
use blindtune::store::ledger::LedgerPage;
use blindtune::store::models;
use blindtune::store::models::AdapterBlobs;
use blindtune::store::models::TunedModel;
use futures::future::join_all;
use uuid::Uuid;

use crate::TestResult;
use crate::world::World;
use crate::world::backbone;

#[tokio::test]
async fn a_project_is_made_once_however_many_ask() {
    let world = World::new().await;
    let found = join_all((0..8).map(|_| world.other_project())).await;
    assert!(found.iter().all(|project| *project == found[0] && *project != world.project));
}

/// Any shape: the store does not look into it.
static SHAPE: std::sync::LazyLock<serde_json::Value> =
    std::sync::LazyLock::new(|| serde_json::json!({"format": "jsonl"}));

#[tokio::test]
async fn a_key_reads_back_and_is_revoked_once_and_only_by_its_project() -> TestResult {
    let world = World::new().await;
    let rival = world.other_project().await;
    let mut conn = world.pool.acquire().await?;
    let id = KeyId(Uuid::now_v7());
    let scopes = [Scope::JobsRead, Scope::Admin];
    let new = NewKey {
        id,
        project: world.project,
        name: "ci",
        token_sha256: &[3; 32],
        scopes: &scopes,
        expires_at: None,
        quota: Quota::default(),
    };
    let made = keys::insert(&mut conn, &new).await?;
    assert_eq!(keys::get(&mut conn, id).await?.as_ref(), Some(&made));
    assert_eq!(made.scopes, scopes);
    let twice = keys::insert(&mut conn, &NewKey { id: KeyId(Uuid::now_v7()), ..new }).await;
    assert!(matches!(twice, Err(StoreError::Conflict(key)) if key == "api_keys_token_sha256_key"));
    keys::touch_last_used(&mut conn, id).await?;
    let used = keys::get(&mut conn, id).await?.and_then(|key| key.last_used_at).ok_or("used")?;
    keys::touch_last_used(&mut conn, id).await?;
    assert_eq!(keys::get(&mut conn, id).await?.and_then(|key| key.last_used_at), Some(used), "once a minute");
    assert!(!keys::revoke(&mut conn, Some(rival), id).await?);
    assert!(keys::revoke(&mut conn, Some(world.project), id).await?);
    assert!(!keys::revoke(&mut conn, None, id).await?);
    assert_eq!(keys::list(&mut conn, Some(rival)).await?.len(), 0);
    assert!(keys::list(&mut conn, None).await?[0].revoked_at.is_some());
    Ok(())
}

fn file(project: ProjectId, blob: &str) -> NewFile<'_> {
    NewFile {
        id: FileId(Uuid::now_v7()),
        project,
        filename: "train.jsonl",
        purpose: "fine-tune",
        bytes: 12,
        rows: 3,
        sha256: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        blob,
        index_blob: "files/index",
        index_bytes: 0,
        shape: &SHAPE,
        seconds: None,
    }
}

async fn is_in_use(conn: &mut Connection, blob: &str) -> Result<bool, StoreError> {
    Ok(files::unused_blobs(conn, &[blob.to_owned()]).await?.is_empty())
}

#[tokio::test]
async fn a_blob_is_in_use_until_the_last_row_that_names_it_is_gone() -> TestResult {
    let world = World::new().await;
    let mut conn = world.pool.acquire().await?;
    let first = files::insert(&mut conn, &file(world.project, "files/a")).await?;
    let second = files::insert(&mut conn, &file(world.project, "files/a")).await?;
    files::delete(&mut conn, world.project, first.id).await?.ok_or("deleted")?;
    assert!(is_in_use(&mut conn, "files/a").await?);
    assert_eq!(files::delete(&mut conn, world.project, second.id).await?, Some(second.clone()));
    assert!(files::delete(&mut conn, world.project, second.id).await?.is_none());
    assert!(!is_in_use(&mut conn, "files/a").await?);
    Ok(())
}

#[tokio::test]
async fn the_origin_of_an_open_job_keeps_its_blobs() -> TestResult {
    let world = World::new().await;
    let mut conn = world.pool.acquire().await?;
    let adapters = AdapterBlobs(vec![BlobRef { path: "adapters/o".to_owned(), sha256: "0".repeat(64), bytes: 9 }]);
    let origin = Origin { name: "ft:mini:acme::1".to_owned(), adapters };
    let id = JobId(Uuid::now_v7());
    let new = NewJob {
        id,
        project: world.project,
        model: world.model,
        model_name: &origin.name,
        training_file: None,
        status: JobState::Queued,
        suffix: None,
        seed: 7,
        settings: &SplitSettings::default(),
        metadata: None,
        origin: Some(&origin),
        hyperparameters: &serde_json::json!({}),
        key: KeyId(Uuid::nil()),
        protection: None,
        features: None,
    };
    assert_eq!(jobs::insert(&mut conn, &new).await?.origin.as_ref(), Some(&origin));
    let paths = ["adapters/o".to_owned(), "adapters/x".to_owned()];
    assert_eq!(files::unused_blobs(&mut conn, &paths).await?, ["adapters/x"]);
    let cancel = world.change(id, JobState::Queued, JobState::Cancelled).await;
    assert!(jobs::set_state(&mut conn, world.project, id, cancel, None).await?);
    assert_eq!(files::unused_blobs(&mut conn, &paths).await?, paths);
    Ok(())
}

#[tokio::test]
async fn a_backbone_is_brought_up_to_date_and_keeps_its_id() -> TestResult {
    let world = World::new().await;
    let mut conn = world.pool.acquire().await?;
    let again = models::upsert_base(&mut conn, &models::BaseModel { parameters: 5, ..backbone("mini") }).await?;
    assert_eq!((again.id, again.parameters), (world.model, 5));
    Ok(())
}

#[tokio::test]
async fn a_tuned_model_is_its_projects_alone_and_a_backbone_is_never_deleted() -> TestResult {
    let world = World::new().await;
    let rival = world.other_project().await;
    let mut conn = world.pool.acquire().await?;
    let blobs = AdapterBlobs(vec![BlobRef { path: "adapters/x".to_owned(), sha256: "0".repeat(64), bytes: 9 }]);
    let (name, settings) = ("ft:mini:acme::1", SplitSettings::default());
    let new = TunedModel {
        project: world.project,
        name,
        base_model: world.model,
        adapters: &blobs,
        settings: &settings,
        owned_by: "acme",
    };
    let made = models::insert_tuned(&mut conn, &new).await?;
    assert_eq!((made.family.as_str(), made.hidden_size, &made.adapters), ("bert", 8, &blobs));
    assert_eq!((made.base_name.as_deref(), made.settings.as_ref()), (Some("mini"), Some(&settings)));
    let nowhere = TunedModel { base_model: Uuid::now_v7(), name: "ft:2", ..new };
    assert!(matches!(models::insert_tuned(&mut conn, &nowhere).await, Err(StoreError::Missing)));
    assert!(is_in_use(&mut conn, "adapters/x").await?);
    assert!(models::get_visible(&mut conn, rival, name).await?.is_none());
    assert_eq!(models::list_visible(&mut conn, rival).await?.len(), 1);
    assert_eq!(models::list_visible(&mut conn, world.project).await?.len(), 2);
    assert!(!models::delete_tuned(&mut conn, rival, name).await?);
    assert!(!models::delete_tuned(&mut conn, world.project, "mini").await?);
    assert!(models::delete_tuned(&mut conn, world.project, name).await?);
    assert!(!is_in_use(&mut conn, "adapters/x").await?);
    Ok(())
}

#[tokio::test]
async fn a_job_changes_its_state_only_from_the_state_it_is_in() -> TestResult {
    let world = World::new().await;
    let job = world.job(JobState::Queued, None).await;
    let mut conn = world.pool.acquire().await?;
    assert_eq!(jobs::counts(&mut conn, world.project).await?, JobCounts { open: 1, running: 0 });
    let admit = world.change(job, JobState::Queued, JobState::Running).await;
    assert!(jobs::set_state(&mut conn, world.project, job, admit, None).await?);
    assert!(!jobs::set_state(&mut conn, world.project, job, admit, None).await?, "it is not queued any more");
    assert!(world.read(job).await.started_at.is_some());
    assert_eq!(jobs::counts(&mut conn, world.project).await?, JobCounts { open: 1, running: 1 });
    let failure = JobFailure { code: "crash_loop".to_owned(), message: "It broke.".to_owned(), param: None };
    let fail = world.change(job, JobState::Running, JobState::Failed).await;
    assert!(jobs::set_state(&mut conn, world.project, job, fail, Some(&failure)).await?);
    let row = world.read(job).await;
    assert_eq!((row.error, row.finished_at.is_some()), (Some(failure), true));
    assert!(!jobs::complete(&mut conn, world.project, job, &end(0)).await?);
    assert_eq!(jobs::counts(&mut conn, world.project).await?, JobCounts { open: 0, running: 0 });
    Ok(())
}

#[tokio::test]
async fn a_completed_job_names_its_model_and_has_no_lease() -> TestResult {
    let world = World::new().await;
    let job = world.job(JobState::Running, None).await;
    let attempt = world.claim(job, Uuid::new_v4(), Duration::from_secs(9)).await.expect("free");
    let mut conn = world.pool.acquire().await?;
    assert!(jobs::complete(&mut conn, world.project, job, &end(attempt)).await?);
    let row = world.read(job).await;
    assert_eq!(
        (row.status, row.fine_tuned_model.as_deref(), row.lease_owner),
        (JobState::Succeeded, Some("ft:x"), None)
    );
    Ok(())
}

#[tokio::test]
async fn the_job_that_queued_longest_comes_first_and_to_one_taker_only() -> TestResult {
    let world = World::new().await;
    let (first, second) = (world.job(JobState::Queued, None).await, world.job(JobState::Queued, None).await);
    let (mut one, mut two) = (world.pool.begin().await?, world.pool.begin().await?);
    assert_eq!(jobs::next_queued(&mut one, world.project).await?.map(|job| job.id), Some(first));
    assert_eq!(jobs::next_queued(&mut two, world.project).await?.map(|job| job.id), Some(second));
    Ok(())
}

/// A good end under this lease.
fn end(attempt: i32) -> Completion<'static> {
    Completion { attempt, from: JobState::Running, fine_tuned_model: "ft:x" }
}

/// Everything that names the job by id, asked by `project`; `true` for each that found or did something.
async fn reach(conn: &mut Connection, project: ProjectId, job: JobId, file: FileId) -> Result<Vec<bool>, StoreError> {
    let page = Page::first(10);
    let after = Page { after: Some(job.0), ..page };
    let whole = LedgerPage { after: None, limit: 10, order: Order::Asc };
    let cancel = StateChange { attempt: 0, from: JobState::Running, to: JobState::Cancelled };
    Ok(vec![
        files::get(conn, project, file).await?.is_some(),
        files::list(conn, project, &page, None).await?.is_some_and(|page| !page.rows.is_empty()),
        jobs::get(conn, project, job).await?.is_some(),
        jobs::get_for_update(conn, project, job).await?.is_some(),
        job_lists::list(conn, project, &page, &JobFilter::default()).await?.is_some_and(|page| !page.rows.is_empty()),
        job_lists::list(conn, project, &after, &JobFilter::default()).await?.is_some(),
        !events::since(conn, project, job, 0, 10).await?.is_empty(),
        events::list(conn, project, job, None, &page).await?.is_some_and(|page| !page.rows.is_empty()),
        checkpoints::list(conn, project, job, &page).await?.is_some_and(|page| !page.rows.is_empty()),
        !ledger::list(conn, project, job, &whole).await?.rows.is_empty(),
        !ledger::totals(conn, project, job).await?.is_empty(),
        jobs::set_state(conn, project, job, cancel, None).await?,
        files::delete(conn, project, file).await?.is_some(),
    ])
}

#[tokio::test]
async fn another_projects_ids_read_as_absent() -> TestResult {
    let world = World::new().await;
    let rival = world.other_project().await;
    let job = world.job(JobState::Running, None).await;
    let mut conn = world.pool.acquire().await?;
    let file = files::insert(&mut conn, &file(world.project, "files/a")).await?.id;
    let event = NewEvent {
        id: EventId(Uuid::now_v7()),
        job,
        level: Level::Info,
        kind: EventKind::Message,
        message: "created",
        data: None,
    };
    events::append(&mut conn, &event).await?;
    assert!(reach(&mut conn, rival, job, file).await?.iter().all(|reached| !reached));
    assert_eq!(world.read(job).await.status, JobState::Running);
    let own = reach(&mut conn, world.project, job, file).await?;
    assert_eq!(own.iter().filter(|reached| **reached).count(), 10, "all but the empty checkpoints and ledger");
    Ok(())
}
