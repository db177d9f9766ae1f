//! The worker of feature jobs. Owns whose turn it is, one shard at a time: the job that had none for longest is next, so that jobs
//! take turns by shard, and with batches by `Context::batch_turn`. A turn is a lease on the job; what it writes carries the fencing
//! token, and a shard that was not committed never was.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::domain::error_code::ErrorCode;
use crate::domain::features::FeatureSettings;
use crate::domain::ids::JobId;
use crate::domain::taps::Taps;
use crate::domain::transform::Transform;
use crate::service::access::budgets;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::features::commit;
use crate::service::features::commit::Finished;
use crate::service::features::sessions::FeatureSessions;
use crate::service::features::sessions::Opened;
use crate::service::features::shard::Run;
use crate::service::features::shard::Stop;
use crate::service::features::size::RowSize;
use crate::service::features::transform;
use crate::service::features::transform::Fitted;
use crate::service::features::transform::fit;
use crate::service::lifecycle::transitions::missing;
use crate::service::unattended::AFTER_FAILURE;
use crate::service::unattended::Turns;
use crate::service::unattended::Worker;
use crate::service::unattended::work;
use crate::store::blobs::BlobRef;
use crate::store::features;
use crate::store::features::Turn;
use crate::store::files;
use crate::store::files::FileRow;
use crate::store::jobs;
use crate::store::jobs::JobFailure;
use crate::store::jobs::JobRow;
use crate::store::models;
use crate::store::models::ModelRow;

/// Transforms that are kept in memory.
const TRANSFORMS: usize = 4;

/// Feature jobs: their admission, and the worker.
pub struct Features {
    pub(super) context: Arc<Context>,
    pub(super) sessions: FeatureSessions,
    turns: Turns,
    /// Transforms that were used lately, the newest first.
    transforms: Mutex<Vec<Arc<Transform>>>,
}

/// What a turn works with.
struct Material {
    job: JobRow,
    settings: FeatureSettings,
    backbone: ModelRow,
    file: FileRow,
    opened: Arc<Opened>,
}

impl Worker for Features {
    const TURN: &'static str = "a turn of a features job";

    fn turns(&self) -> &Turns {
        &self.turns
    }

    /// One shard of the job that is next.
    async fn turn(&self) -> Result<bool> {
        let alone = self.context.batch_turn.lock().await;
        let Some(turn) = self.take_turn().await? else { return Ok(false) };
        let worked = self.work(&turn).await;
        drop(alone);
        match worked {
            Ok(()) | Err(Stop::Gone) => Ok(()),
            Err(Stop::Broken(failure)) => commit::fail(&self.context, &turn, failure).await,
            Err(Stop::Failed(error)) => self.failed(&turn, error).await,
        }?;
        Ok(true)
    }

    async fn idle(&self) {
        self.sessions.close_idle().await;
    }
}

impl Features {
    /// No work yet.
    pub fn new(context: Arc<Context>) -> Self {
        let sessions = FeatureSessions::new(Arc::clone(&context));
        Self { context, sessions, turns: Turns::default(), transforms: Mutex::default() }
    }

    /// Says that there may be work.
    pub fn wake(&self) {
        self.turns.wake();
    }

    /// Works until it is aborted; then [`Features::stop`] gives the lease back.
    pub async fn run(&self) {
        work(self).await;
    }

    /// Gives back the lease of a turn that was cut short: it does not count as one that died.
    pub async fn stop(&self) -> Result<()> {
        let release =
            async { Ok(features::release(&mut *self.context.connection().await?, self.context.owner).await?) };
        self.turns.give_back(release).await
    }

    async fn take_turn(&self) -> Result<Option<Turn>> {
        let context = Arc::clone(&self.context);
        let lease = async move {
            let mut connection = context.connection().await?;
            Ok(features::take_turn(&mut connection, context.owner, context.jobs.lease).await?)
        };
        self.turns.take(lease).await
    }

    /// A turn that may go well when it is tried again; after several in a row the job fails with the last one's reason.
    async fn failed(&self, turn: &Turn, error: ServiceError) -> Result<()> {
        tracing::warn!(job.id = %turn.job, %error, "a shard of {} failed: {error}", turn.job);
        if turn.barren_attempts >= self.context.jobs.max_barren_attempts || !may_pass(&error) {
            let failure = JobFailure { code: error.code.as_str().into(), message: error.message, param: error.param };
            if matches!(error.code, ErrorCode::StorageFull | ErrorCode::StorageLocked) {
                return commit::pause_for_storage(&self.context, turn, failure).await;
            }
            return commit::fail(&self.context, turn, failure).await;
        }
        features::pass_turn(&mut *self.context.connection().await?, turn.job, turn.attempt).await?;
        tokio::time::sleep(AFTER_FAILURE).await;
        Ok(())
    }

    async fn work(&self, turn: &Turn) -> std::result::Result<(), Stop> {
        if turn.barren_attempts > self.context.jobs.max_barren_attempts {
            return Err(Stop::Broken(JobFailure {
                code: "crash_loop".into(),
                message: "The host crashed several times on this job without completing a shard.".into(),
                param: None,
            }));
        }
        let mut connection = self.context.connection().await?;
        let job = jobs::get(&mut connection, turn.project, turn.job).await.map_err(ServiceError::from)?;
        let job = job.ok_or_else(|| missing(turn.job))?;
        let spent = budgets::spent(&mut connection, job.project, job.key).await?;
        drop(connection);
        if let Some(budget) = spent {
            return Ok(commit::pause(&self.context, turn, budget).await?);
        }
        let material = self.material(job).await?;
        match self.write_next(turn, &material).await {
            Err(Stop::Failed(error)) if loses_session(&error) => {
                self.sessions.forget(material.opened.session).await;
                Err(Stop::Failed(error))
            }
            done => done,
        }
    }

    /// The transform, where the job needs one and has none yet; else the next rows.
    async fn write_next(&self, turn: &Turn, material: &Material) -> std::result::Result<(), Stop> {
        let run = material.run(&self.context, turn);
        let needs_transform = material.settings.needs_transform();
        if needs_transform && material.job.result_files.is_empty() {
            return self.write_transform(turn, material, &run).await;
        }
        let transform = if needs_transform { Some(self.transform_of(material, &run).await?) } else { None };
        let run = Run { taps: Arc::new(Taps { transform, ..material.settings.taps() }), ..run };
        let first = material.job.rows_done.unsigned_abs();
        let done = run.shard(first).await?;
        let finished = Finished {
            name: format!("features.{:05}.safetensors", material.job.result_files.len() - usize::from(needs_transform)),
            metadata: material.metadata(Some((first..first + done.rows, done.truncated))),
            rows: done.rows,
            tokens: done.tokens,
            device: done.device,
            seconds: material.seconds(&self.context)?,
            tensors: done.tensors()?,
        };
        commit::write(&self.context, turn, finished).await
    }

    async fn write_transform(&self, turn: &Turn, material: &Material, run: &Run<'_>) -> std::result::Result<(), Stop> {
        let Fitted { transform, tokens, device } = fit(run, &material.settings).await?;
        let finished = Finished {
            name: "features.transform.safetensors".to_owned(),
            tensors: transform.tensors(),
            metadata: material.metadata(None),
            rows: 0,
            tokens,
            device,
            seconds: material.seconds(&self.context)?,
        };
        self.remember(Arc::new(transform));
        commit::write(&self.context, turn, finished).await
    }

    /// The transform that the job's file has; one that its client deleted is found again.
    async fn transform_of(&self, material: &Material, run: &Run<'_>) -> std::result::Result<Arc<Transform>, Stop> {
        if let Some(stored) = self.stored_transform(&material.job).await? {
            return Ok(stored);
        }
        match self.known(run.job) {
            Some(known) => Ok(known),
            None => Ok(self.remember(Arc::new(fit(run, &material.settings).await?.transform))),
        }
    }

    fn known(&self, job: JobId) -> Option<Arc<Transform>> {
        self.transforms.lock().iter().find(|known| known.id == job).cloned()
    }

    fn remember(&self, transform: Arc<Transform>) -> Arc<Transform> {
        let mut known = self.transforms.lock();
        known.retain(|other| other.id != transform.id);
        known.truncate(TRANSFORMS - 1);
        known.insert(0, Arc::clone(&transform));
        transform
    }

    /// The transform in the first file of a job; `None` where the file is gone.
    pub(super) async fn stored_transform(&self, job: &JobRow) -> Result<Option<Arc<Transform>>> {
        let Some(first) = job.result_files.first() else { return Ok(None) };
        let file = files::get(&mut *self.context.connection().await?, job.project, *first).await?;
        let Some(FileRow { blob, sha256, bytes, .. }) = file else { return Ok(None) };
        let known = self.known(job.id);
        if known.is_some() {
            return Ok(known);
        }
        let bytes =
            self.context.blobs.get_verified(&BlobRef { path: blob, sha256, bytes: bytes.unsigned_abs() }).await?;
        Ok(Some(self.remember(Arc::new(transform::read(job.id, bytes, &self.context.limits)?))))
    }

    async fn material(&self, job: JobRow) -> std::result::Result<Material, Stop> {
        let mut connection = self.context.connection().await?;
        let deleted = || Stop::broken(ErrorCode::FileDeleted, "The training_file was deleted.", Some("training_file"));
        let file = match job.training_file {
            Some(file) => files::get_for_job(&mut connection, job.project, file).await.map_err(ServiceError::from)?,
            None => None,
        };
        let file = file.ok_or_else(deleted)?;
        let backbone = models::get(&mut connection, job.model).await.map_err(ServiceError::from)?;
        let backbone = backbone.ok_or_else(|| ServiceError::not_found("model", &job.model_name))?;
        drop(connection);
        let settings = job.features.clone().ok_or_else(|| ServiceError::internal("a features job without settings"))?;
        let opened = self.sessions.get(&backbone, &job.settings).await?;
        Ok(Material { job, settings, backbone, file, opened })
    }
}

/// Whether the engine has dropped the session, or may have left it in disorder.
fn loses_session(error: &ServiceError) -> bool {
    matches!(error.code, ErrorCode::SessionLost | ErrorCode::InternalError)
}

/// Whether a failure may be gone when the shard is tried again.
fn may_pass(error: &ServiceError) -> bool {
    !matches!(
        error.code,
        ErrorCode::FileDeleted
            | ErrorCode::StorageFull
            | ErrorCode::StorageLocked
            | ErrorCode::BackboneUnusable
            | ErrorCode::NotFound
    )
}

impl Material {
    fn run<'a>(&'a self, context: &'a Context, turn: &Turn) -> Run<'a> {
        Run {
            context,
            job: turn.job,
            attempt: turn.attempt,
            opened: &self.opened,
            file: &self.file,
            taps: Arc::new(self.settings.taps()),
            size: RowSize::of(&self.settings, self.opened.info.hidden_size),
        }
    }

    /// What a file's header says, of a shard with its rows and how many of them lost their end. The same job says the same, whenever
    /// it runs.
    fn metadata(&self, shard: Option<(Range<u64>, usize)>) -> BTreeMap<String, String> {
        let settings = |value: serde_json::Value| match value {
            serde_json::Value::String(word) => word,
            other => other.to_string(),
        };
        let FeatureSettings { layers, tokens, dtype, project, precision, .. } = &self.settings;
        let pairs = [
            ("model", self.backbone.name.clone()),
            ("model_sha256", self.backbone.sha256.clone().unwrap_or_default()),
            ("layers", settings(serde_json::json!(layers))),
            ("tokens", settings(serde_json::json!(tokens))),
            ("dtype", settings(serde_json::json!(dtype))),
            ("project", settings(serde_json::json!(project))),
            ("precision", settings(serde_json::json!(precision))),
            ("blindtune", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let counts = shard.into_iter().flat_map(|(rows, truncated)| {
            [("first_row", rows.start), ("rows", rows.end - rows.start), ("truncated", truncated as u64)]
        });
        let counts = counts.map(|(name, count)| (name, count.to_string()));
        counts.chain(pairs).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn seconds(&self, context: &Context) -> Result<i64> {
        Ok(self.settings.seconds()?.unwrap_or(context.features.keep_seconds))
    }
}
