//! The engine in this process: reads inputs on the callers' side, and hands the rest to the device thread.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;

use async_trait::async_trait;
use tokenizers::Tokenizer;
use uuid::Uuid;

use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::domain::limits::Limits;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::WireTensor;
use crate::engine::AdamW;
use crate::engine::BackboneInfo;
use crate::engine::BackwardReply;
use crate::engine::Description;
use crate::engine::Engine;
use crate::engine::EngineError;
use crate::engine::ForwardCall;
use crate::engine::ForwardReply;
use crate::engine::Inputs;
use crate::engine::OptimReply;
use crate::engine::SessionInfo;
use crate::engine::SessionSpec;
use crate::engine::Share;
use crate::engine::Snapshot;
use crate::engine::Start;
use crate::engine::accelerator;
use crate::engine::device::Device;
use crate::engine::device::DeviceSettings;
use crate::engine::device::Host;
use crate::engine::leases::LeaseLimits;
use crate::engine::loading::Callers;
use crate::engine::loading::Overlong;
use crate::engine::loading::Reader;
use crate::engine::loading::read_tokenizer;
use crate::engine::passes::BackwardCall;
use crate::engine::passes::ReadCall;
use crate::engine::session::Session;
use crate::engine::snapshot;
use crate::model;
use crate::model::Placement;

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// `cpu`, `cuda` or `cuda:1`.
    pub device: String,
    /// float32 on the processor: products by oneDNN, not by LibTorch's BLAS.
    pub onednn: bool,
    /// Most tokens of a pass that several jobs share; 0 stacks nothing.
    pub stack_tokens: usize,
    /// How long a small request waits for others to share its pass.
    pub stack_wait: Duration,
    /// LibTorch threads. The same number gives the same bits.
    pub threads: usize,
    /// Commands that may wait for the device; one more is refused with [`EngineError::Busy`].
    pub queue_len: usize,
    /// Bytes of all kept graphs together; also what one forward may take. 0 leaves it to the host: 2 GiB on the processor, most of
    /// a GPU's free memory.
    pub graph_bytes: usize,
    /// Kept graphs of one job; with 0 none outlives its call, and every backward runs its forward again.
    pub graphs_per_job: usize,
    /// How long a graph is kept without being used.
    pub graph_ttl: Duration,
    /// What the host accepts.
    pub limits: Limits,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            device: "cpu".to_owned(),
            onednn: true,
            stack_tokens: 256,
            stack_wait: Duration::from_millis(2),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            queue_len: 64,
            graph_bytes: 0,
            graphs_per_job: 4,
            graph_ttl: Duration::from_secs(15 * 60),
            limits: Limits::default(),
        }
    }
}

/// The engine on this machine: its processor, or a GPU of it.
pub struct LocalEngine {
    device: Device,
    readers: Mutex<HashMap<JobId, Arc<Reader>>>,
    tokenizers: Mutex<HashMap<PathBuf, Weak<Tokenizer>>>,
    limits: Limits,
}

/// Checks a backbone's folder and says what it holds. Reads headers only; still, not for async code.
pub fn inspect(folder: &Path) -> Result<BackboneInfo, EngineError> {
    Ok(model::inspect(folder)?)
}

/// What a job may ask of the backbone in a folder. Reads headers only; still, not for async code.
pub fn describe(folder: &Path) -> Result<Description, EngineError> {
    Ok(model::describe(folder)?)
}

impl LocalEngine {
    /// Starts the device thread.
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        let EngineConfig { threads, queue_len, graph_bytes, graphs_per_job, graph_ttl, limits, .. } = config;
        let placement =
            Placement { device: accelerator::parse(&config.device)?, onednn: config.onednn, ..Placement::default() };
        let device = Device::start(DeviceSettings {
            threads,
            queue_len,
            placement,
            leases: LeaseLimits { graph_bytes, graphs_per_job, graph_ttl },
            stack_tokens: config.stack_tokens,
            stack_wait: config.stack_wait,
            limits: limits.clone(),
        })?;
        Ok(Self { device, readers: Mutex::default(), tokenizers: Mutex::default(), limits })
    }

    fn reader(&self, job: JobId) -> Result<Arc<Reader>, EngineError> {
        locked(&self.readers).get(&job).cloned().ok_or(EngineError::NoSession)
    }

    /// Inputs are read on the caller's side.
    async fn read(&self, reader: Arc<Reader>, call: ForwardCall, overlong: Overlong) -> Result<ReadCall, EngineError> {
        let ForwardCall { keep, random, inputs, adapters, base, theta } = call;
        let limits = self.limits.clone();
        let batch = blocking(move || reader.read(inputs, overlong, &limits)).await?;
        Ok(ReadCall { keep, random, batch, adapters, base, theta })
    }

    /// The folder's tokenizer, shared by the sessions on it.
    async fn tokenizer(&self, folder: PathBuf, max_tokens: usize) -> Result<Option<Arc<Tokenizer>>, EngineError> {
        if let Some(tokenizer) = locked(&self.tokenizers).get(&folder).and_then(Weak::upgrade) {
            return Ok(Some(tokenizer));
        }
        let path = folder.clone();
        let tokenizer = blocking(move || read_tokenizer(&path, max_tokens)).await?.map(Arc::new);
        let mut known = locked(&self.tokenizers);
        known.retain(|_, tokenizer| tokenizer.strong_count() > 0);
        if let Some(tokenizer) = &tokenizer {
            known.insert(folder, Arc::downgrade(tokenizer));
        }
        Ok(tokenizer)
    }
}

/// The maps behind these locks are whole at every moment: a panic elsewhere does not spoil them.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(EngineError::Internal(e.to_string())))
}

/// Opens a session on the device, in place of the one that was open.
fn open(
    host: &mut Host,
    spec: SessionSpec,
    callers: Arc<Callers>,
    limits: &Limits,
) -> Result<(SessionInfo, BackboneInfo), EngineError> {
    let backbone = host.backbones.get(&spec.folder, &spec.settings)?;
    let device = host.backbones.placement().device;
    let mut session = Session::fresh((backbone, device), spec.settings, spec.seed, limits)?;
    match spec.start {
        Start::Fresh => {}
        Start::Restored(bytes) => snapshot::restore(&mut session, bytes)?,
        Start::Adapters(values) => session.begin_with(values)?,
    }
    session.callers = callers;
    let info = (session.info(), session.backbone.info().clone());
    host.discard(spec.job);
    host.sessions.insert(spec.job, session);
    Ok(info)
}

fn session(host: &mut Host, job: JobId) -> Result<&mut Session, EngineError> {
    host.sessions.get_mut(&job).ok_or(EngineError::NoSession)
}

#[async_trait]
impl Engine for LocalEngine {
    async fn describe(&self, folder: PathBuf, settings: SplitSettings) -> Result<SessionInfo, EngineError> {
        let limits = self.limits.clone();
        let nobody = JobId(Uuid::new_v4()); // a failure must not cost a job its session
        let work = move |host: &mut Host| {
            let backbone = host.backbones.get(&folder, &settings)?;
            let device = host.backbones.placement().device;
            Ok(Session::fresh((backbone, device), settings, 0, &limits)?.info())
        };
        self.device.call(nobody, work).await
    }

    async fn load(&self, spec: SessionSpec) -> Result<SessionInfo, EngineError> {
        let (job, folder, limits) = (spec.job, spec.folder.clone(), self.limits.clone());
        let callers = Arc::new(Callers::default());
        let counted = Arc::clone(&callers);
        let (info, backbone) = self.device.call(job, move |host| open(host, spec, counted, &limits)).await?;
        let tokenizer = self.tokenizer(folder, backbone.max_tokens).await;
        if tokenizer.is_err() {
            self.close(job).await; // a session that cannot read its inputs is none
        }
        let tokenizer = tokenizer?;
        locked(&self.readers).insert(job, Arc::new(Reader { tokenizer, info: backbone, callers }));
        Ok(info)
    }

    async fn forward(&self, job: JobId, call: ForwardCall) -> Result<ForwardReply, EngineError> {
        let reader = self.reader(job)?;
        let _waiting = call.keep.is_none().then(|| reader.callers.enter(call.adapters.is_empty()));
        let call = self.read(reader, call, Overlong::Cut).await?;
        self.device.forward(job, call).await
    }

    async fn evaluate(&self, job: JobId, call: ForwardCall, patience: Duration) -> Result<ForwardReply, EngineError> {
        let reader = self.reader(job)?;
        let _waiting = reader.callers.enter(call.adapters.is_empty());
        let call = self.read(reader, ForwardCall { keep: None, ..call }, Overlong::Refused).await?;
        self.device.evaluate(job, call, patience).await
    }

    async fn count_tokens(&self, job: JobId, inputs: Inputs) -> Result<Vec<usize>, EngineError> {
        let (reader, limits) = (self.reader(job)?, self.limits.clone());
        let batch = blocking(move || reader.read(inputs, Overlong::Cut, &limits)).await?;
        Ok(batch.ids.iter().map(Vec::len).collect())
    }

    async fn backward(&self, job: JobId, forward: ForwardId, shares: Vec<Share>) -> Result<BackwardReply, EngineError> {
        self.device.backward(job, BackwardCall { forward, shares }).await
    }

    async fn optim_step(&self, job: JobId, adamw: AdamW) -> Result<OptimReply, EngineError> {
        self.device.call(job, move |host| session(host, job)?.optim_step(&adamw)).await
    }

    async fn adapter(&self, job: JobId, set: usize) -> Result<WireTensor, EngineError> {
        self.device.call(job, move |host| session(host, job)?.adapter(set)).await
    }

    async fn set_adapter(&self, job: JobId, set: usize, theta: WireTensor) -> Result<(), EngineError> {
        self.device.call(job, move |host| session(host, job)?.set_adapter(set, theta)).await
    }

    async fn snapshot(&self, job: JobId) -> Result<Snapshot, EngineError> {
        self.device.call(job, move |host| snapshot::take(session(host, job)?)).await
    }

    async fn close(&self, job: JobId) {
        locked(&self.readers).remove(&job);
        self.device.discard(job).await;
    }
}
