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
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::domain::limits::Limits;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::WireTensor;
use crate::engine::accelerator;
use crate::engine::device::Device;
use crate::engine::device_state::DeviceState;
use crate::engine::inputs::Evaluation;
use crate::engine::inputs::PendingEvaluations;
use crate::engine::inputs::Reader;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::Engine;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardCall;
use crate::engine::interface::ForwardReply;
use crate::engine::interface::Inputs;
use crate::engine::interface::Metered;
use crate::engine::interface::Occupancy;
use crate::engine::interface::OptimReply;
use crate::engine::interface::SessionInfo;
use crate::engine::interface::SessionSpec;
use crate::engine::interface::Share;
use crate::engine::interface::Snapshot;
use crate::engine::interface::Start;
use crate::engine::passes::BackwardCall;
use crate::engine::retained_graphs::GraphLimits;
use crate::engine::session::Session;
use crate::engine::session::SessionPlan;
use crate::engine::settings::DeviceSettings;
use crate::engine::settings::EngineConfig;
use crate::engine::snapshot;
use crate::engine::tokenizing::Overlong;
use crate::engine::tokenizing::TextReader;
use crate::model;
use crate::model::BackboneInfo;
use crate::model::Description;
use crate::model::Placement;
use crate::model::optim::AdamW;

/// A call with so many bytes of texts is tokenized in milliseconds.
const SMALL: usize = 64 * 1024;

/// The engine on this machine: its processor, or a GPU of it.
pub struct LocalEngine {
    device: Device,
    readers: Mutex<HashMap<JobId, Arc<Reader>>>,
    tokenizers: Mutex<HashMap<PathBuf, Weak<TextReader>>>,
    /// Large calls whose texts are being tokenized.
    reading: Arc<Semaphore>,
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
            graphs: GraphLimits {
                graph_bytes,
                graphs_per_job,
                graph_ttl,
                held_bytes_per_job: limits.held_bytes_per_job,
            },
            stack_tokens: config.stack_tokens,
            stack_wait: config.stack_wait,
            slice_tokens: config.slice_tokens,
            limits: limits.clone(),
        })?;
        // Half of the cores at most: the other half is for those who send little.
        let reading = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        let reading = Arc::new(Semaphore::new(reading));
        Ok(Self { device, readers: Mutex::default(), tokenizers: Mutex::default(), reading, limits })
    }

    fn reader(&self, job: JobId) -> Result<Arc<Reader>, EngineError> {
        locked(&self.readers).get(&job).cloned().ok_or(EngineError::NoSession)
    }

    /// Reads the inputs of a call, on the caller's side: the device does not wait for a tokenizer.
    async fn read(
        &self,
        reader: Arc<Reader>,
        call: ForwardCall,
        overlong: Overlong,
    ) -> Result<ForwardCall<TokenBatch>, EngineError> {
        let ForwardCall { keep, random, inputs, adapters, base, theta, taps, payer } = call;
        let inputs = self.read_inputs(reader, inputs, overlong).await?;
        Ok(ForwardCall { keep, random, inputs, adapters, base, theta, taps, payer })
    }

    /// Reads inputs on a blocking thread. Large ones wait for each other, and a small call does not wait for them.
    async fn read_inputs(
        &self,
        reader: Arc<Reader>,
        inputs: Inputs,
        overlong: Overlong,
    ) -> Result<TokenBatch, EngineError> {
        let turn = match bytes(&inputs) <= SMALL {
            true => None,
            false => Arc::clone(&self.reading).acquire_owned().await.ok(), // nobody closes it
        };
        let limits = self.limits.clone();
        blocking(move || {
            let _turn = turn;
            reader.read(inputs, overlong, &limits)
        })
        .await
    }

    /// The folder's tokenizer, shared by the sessions on it.
    async fn tokenizer(&self, folder: PathBuf, max_tokens: usize) -> Result<Option<Arc<TextReader>>, EngineError> {
        if let Some(tokenizer) = locked(&self.tokenizers).get(&folder).and_then(Weak::upgrade) {
            return Ok(Some(tokenizer));
        }
        let path = folder.clone();
        let tokenizer = blocking(move || TextReader::open(&path, max_tokens)).await?.map(Arc::new);
        let mut known = locked(&self.tokenizers);
        known.retain(|_, tokenizer| tokenizer.strong_count() > 0);
        if let Some(tokenizer) = &tokenizer {
            known.insert(folder, Arc::downgrade(tokenizer));
        }
        Ok(tokenizer)
    }
}

/// Bytes of the texts.
fn bytes(inputs: &Inputs) -> usize {
    let Inputs::Texts(texts) = inputs else { return 0 };
    texts.iter().map(|(text, pair)| text.len() + pair.as_ref().map_or(0, String::len)).sum()
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
fn open_session(
    state: &mut DeviceState,
    spec: SessionSpec,
    pending: Arc<PendingEvaluations>,
    limits: &Limits,
) -> Result<(SessionInfo, BackboneInfo), EngineError> {
    let backbone = state.backbones.get(&spec.folder, &spec.settings)?;
    let planned = SessionPlan::new(backbone, spec.settings, limits)?;
    let info = planned.info();
    let mut session = Session::fresh(planned, spec.seed)?;
    match spec.start {
        Start::Fresh => {}
        Start::Restored(bytes) => snapshot::restore(&mut session, bytes)?,
        Start::Adapters(values) => session.start_from(values)?,
        Start::Lost => session.start_without_values(),
    }
    session.pending = pending;
    session.project = spec.project;
    let optimizer_steps = session.host_optimizer.as_ref().map_or(0, |optimizer| optimizer.steps);
    let backbone = session.backbone.info().clone();
    state.discard(spec.job);
    state.sessions.insert(spec.job, session);
    Ok((SessionInfo { optimizer_steps, ..info }, backbone))
}

#[async_trait]
impl Engine for LocalEngine {
    async fn describe(&self, folder: PathBuf, settings: SplitSettings) -> Result<SessionInfo, EngineError> {
        let limits = self.limits.clone();
        let nobody = JobId(Uuid::new_v4()); // a failure must not cost a job its session
        let work = move |state: &mut DeviceState| {
            let backbone = state.backbones.get(&folder, &settings)?;
            Ok(SessionPlan::new(backbone, settings, &limits)?.info())
        };
        self.device.call(nobody, work).await
    }

    async fn load(&self, spec: SessionSpec) -> Result<SessionInfo, EngineError> {
        let job = spec.job;
        let folder = spec.folder.clone();
        let limits = self.limits.clone();
        let pending = Arc::new(PendingEvaluations::default());
        let counted = Arc::clone(&pending);
        let (info, backbone) = self.device.call(job, move |state| open_session(state, spec, counted, &limits)).await?;
        let tokenizer = self.tokenizer(folder, backbone.max_tokens).await;
        if tokenizer.is_err() {
            self.close(job).await; // a session that cannot read its inputs is none
        }
        let tokenizer = tokenizer?;
        locked(&self.readers).insert(job, Arc::new(Reader { tokenizer, info: backbone, pending }));
        Ok(info)
    }

    async fn forward(&self, job: JobId, call: ForwardCall) -> Result<Metered<ForwardReply>, EngineError> {
        let reader = self.reader(job)?;
        let _pending = call.keep.is_none().then(|| reader.pending.count_in(Evaluation::of(&call)));
        let call = self.read(reader, call, Overlong::Cut).await?;
        self.device.forward(job, call).await
    }

    async fn evaluate(
        &self,
        job: JobId,
        call: ForwardCall,
        patience: Duration,
    ) -> Result<Metered<ForwardReply>, EngineError> {
        let reader = self.reader(job)?;
        let _pending = reader.pending.count_in(Evaluation::of(&call));
        let call = self.read(reader, ForwardCall { keep: None, ..call }, Overlong::Refused).await?;
        self.device.evaluate(job, call, patience).await
    }

    async fn count_tokens(&self, job: JobId, inputs: Inputs) -> Result<Vec<usize>, EngineError> {
        let reader = self.reader(job)?;
        let batch = self.read_inputs(reader, inputs, Overlong::Cut).await?;
        Ok(batch.ids.iter().map(Vec::len).collect())
    }

    async fn backward(
        &self,
        job: JobId,
        forward: ForwardId,
        shares: Vec<Share>,
    ) -> Result<Metered<BackwardReply>, EngineError> {
        self.device.backward(job, BackwardCall { forward, shares }).await
    }

    async fn optim_step(&self, job: JobId, adamw: AdamW) -> Result<Metered<OptimReply>, EngineError> {
        let step = move |state: &mut DeviceState| {
            let begun = Instant::now();
            let answer = state.session_mut(job)?.optim_step(&adamw)?;
            Ok(Metered { answer, device: begun.elapsed(), tokens: 0 })
        };
        self.device.call(job, step).await
    }

    async fn adapter(&self, job: JobId, set: usize) -> Result<WireTensor, EngineError> {
        self.device.call(job, move |state| state.session(job)?.values.set(set)).await
    }

    async fn set_adapter(&self, job: JobId, set: usize, theta: WireTensor) -> Result<(), EngineError> {
        self.device.call(job, move |state| state.session_mut(job)?.set_adapter(set, theta)).await
    }

    async fn snapshot(&self, job: JobId) -> Result<Snapshot, EngineError> {
        self.device.call(job, move |state| snapshot::take(state.session(job)?)).await
    }

    async fn close(&self, job: JobId) {
        locked(&self.readers).remove(&job);
        self.device.discard(job).await;
    }

    fn occupancy(&self) -> Occupancy {
        self.device.occupancy()
    }

    async fn finish(&self) {
        self.device.discard(JobId(Uuid::new_v4())).await; // nobody's, and the last in the queue
    }
}
