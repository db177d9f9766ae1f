//! Activations outside of a job: of a backbone, or of a fine-tuned model of the project. Owns the sessions that are kept open for
//! them, few at a time; calls of several callers meet on the device, in one pass. Nothing of a call is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::families;
use crate::domain::features::Given;
use crate::domain::held_bytes::Held;
use crate::domain::ids::JobId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::settings::Custody;
use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::domain::settings::SplitSettings;
use crate::domain::taps::BatchSize;
use crate::domain::taps::TapChoice;
use crate::domain::taps::Taps;
use crate::domain::taps::TokenPicks;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine;
use crate::engine::EngineError;
use crate::engine::ForwardCall;
use crate::engine::Inputs;
use crate::engine::Metered;
use crate::engine::SessionSpec;
use crate::engine::Start;
use crate::service::access::concurrency::Permits;
use crate::service::accounting::holding::hold_body;
use crate::service::accounting::metering::Effect;
use crate::service::accounting::metering::size;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::inference::parts;
use crate::service::inference::request::ActivationsRequest;
use crate::service::inference::request::Call;
use crate::service::inference::request::asked_of;
use crate::service::inference::runnable::Runnable;
use crate::service::inference::runnable::rows_per_forward;
use crate::service::inference::runnable::runnable;
use crate::store::usage;
use crate::store::usage::Amounts;
use crate::store::usage::Consumer;

/// Pause between two tries to get a session.
const RETRY: Duration = Duration::from_millis(20);

/// Activations, and what they cost.
#[derive(Debug, Clone)]
pub struct InferenceAnswer {
    /// The model's name.
    pub model: String,
    /// Its id.
    pub model_id: Uuid,
    /// `h.{i}`, `h.base`, or hidden states, and `lengths` where every token has its own row.
    pub tensors: Vec<WireTensor>,
    /// Tokens read, all inputs together, each counted once.
    pub tokens: usize,
    /// What the engine took, its queue included.
    pub engine: Duration,
    /// The device alone: what is billed.
    pub device: Duration,
    /// Most calls that shared a pass with this one, itself included.
    pub jobs_in_pass: usize,
    /// What opening the model's session took, where this call did.
    pub load: Option<Duration>,
}

impl InferenceAnswer {
    /// Bytes of its tensors.
    pub fn bytes(&self) -> u64 {
        size(&self.tensors) as u64
    }

    /// What it used, for a body of so many bytes.
    pub fn amounts(&self, bytes_in: usize) -> Amounts {
        let effect = Effect { device: self.device, bytes_out: size(&self.tensors), ..Effect::default() };
        Amounts { inference_tokens: self.tokens as i64, ..effect.amounts(bytes_in) }
    }
}

/// One vector an input.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// The vectors: the backbone's activations, or those of all adapter sets side by side.
    pub vectors: Vec<Vec<f32>>,
    /// What they were made of, and what they cost.
    pub answer: InferenceAnswer,
}

impl Embeddings {
    /// The vectors of an answer to so many inputs; a model that gives one a token has none.
    fn of(answer: InferenceAnswer, rows: usize) -> Result<Self> {
        if answer.tensors.iter().any(|tensor| tensor.name() == "lengths") {
            let message = "The model gives one vector a token, not one an input; ask /v1/activations.";
            return Err(ServiceError::new(ErrorCode::NoEmbedding, message).at("model"));
        }
        let mut vectors = vec![Vec::new(); rows];
        for values in answer.tensors.iter().filter_map(WireTensor::floats) {
            let width = values.len() / rows;
            vectors
                .iter_mut()
                .zip(values.chunks_exact(width))
                .for_each(|(vector, part)| vector.extend_from_slice(part));
        }
        Ok(Self { vectors, answer })
    }
}

/// What the engine answers.
type Asked<T> = std::result::Result<T, EngineError>;

type SessionKey = (Uuid, Pooling, Precision, bool);

/// What an open session turned out to be.
#[derive(Debug, Clone, Copy)]
struct Opened {
    /// Most tokens in one input.
    most_tokens: usize,
    /// Levels of hidden states.
    levels: usize,
    /// Width of a state.
    width: usize,
}

/// A session on the device, opened by whoever comes first.
struct Slot {
    job: JobId,
    opened: OnceCell<Opened>,
    used: Mutex<Instant>,
}

impl Slot {
    fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    fn last_used(&self) -> Instant {
        *self.used.lock()
    }
}

/// What a call runs on a session.
struct Run<'a> {
    project: ProjectId,
    model: &'a Runnable,
    opened: Opened,
    call: Call<'a>,
}

/// A project's permit for one call, given back when dropped.
pub struct InferencePermit {
    project: ProjectId,
    _permit: OwnedSemaphorePermit,
}

/// Use cases of inference.
pub struct Inference {
    context: Arc<Context>,
    slots: Mutex<HashMap<SessionKey, Arc<Slot>>>,
    permits: Permits,
}

impl Inference {
    /// No sessions yet.
    pub fn new(context: Arc<Context>) -> Self {
        let permits = Permits::new(context.limits.inference_in_flight_per_project);
        Self { context, slots: Mutex::default(), permits }
    }

    /// Activations of a model.
    pub async fn activations(&self, permit: InferencePermit, request: ActivationsRequest) -> Result<InferenceAnswer> {
        self.unattended(permit.project, request).await
    }

    /// The same for a request that nobody waits for: it takes no permit, and does not count as somebody's call.
    pub async fn unattended(&self, project: ProjectId, request: ActivationsRequest) -> Result<InferenceAnswer> {
        parts::check(&request.inputs, &self.context.limits)?;
        match self.attempt(project, &request).await {
            // The session was closed to make room, or the engine dropped it: the model is looked up again, since it may be gone.
            Err(error) if error.code == ErrorCode::SessionLost => self.attempt(project, &request).await,
            answer => answer,
        }
    }

    /// One vector an input.
    pub async fn embeddings(&self, permit: InferencePermit, model: String, inputs: Inputs) -> Result<Embeddings> {
        let rows = parts::count(&inputs);
        let answer = self.activations(permit, ActivationsRequest::plain(model, inputs)).await?;
        Embeddings::of(answer, rows)
    }

    /// The same for a request that nobody waits for.
    pub async fn embeddings_unattended(&self, project: ProjectId, model: String, inputs: Inputs) -> Result<Embeddings> {
        let rows = parts::count(&inputs);
        let answer = self.unattended(project, ActivationsRequest::plain(model, inputs)).await?;
        Embeddings::of(answer, rows)
    }

    /// Ends the sessions of a model that is deleted.
    pub async fn forget(&self, model: Uuid) -> Result<()> {
        let ended = self.take_out(|(id, ..), _| *id == model);
        self.close(ended).await;
        Ok(())
    }

    /// Takes the bytes of a body with so many bytes of tensors, which go back when it was read.
    pub fn hold(&self, project: ProjectId, tensors: u64) -> Result<Held> {
        hold_body(&self.context, project, tensors)
    }

    /// Counts what an answer cost, for the key that asked.
    pub async fn meter(&self, project: ProjectId, key: KeyId, answer: &InferenceAnswer, bytes_in: usize) -> Result<()> {
        let mut connection = self.context.connection().await?;
        let consumer = Consumer { project, key, model: &answer.model, job: None };
        Ok(usage::add(&mut connection, &consumer, &answer.amounts(bytes_in)).await?)
    }

    /// Ends the sessions that nobody has asked for long.
    pub async fn close_idle(&self) -> Result<()> {
        let idle = self.context.inference.idle;
        let ended = self.take_out(|_, slot| Arc::strong_count(slot) == 1 && slot.last_used().elapsed() >= idle);
        self.close(ended).await;
        Ok(())
    }

    /// Takes the project's permit for a call, before its body is read into a request.
    pub fn enter(&self, project: ProjectId) -> Result<InferencePermit> {
        self.context.activity.touch();
        let most = self.context.limits.inference_in_flight_per_project;
        let refusal =
            || format!("A project may have {most} inference calls in flight (limits.inference_in_flight_per_project).");
        let permit = self.permits.take(project);
        let permit = permit.ok_or_else(|| ServiceError::new(ErrorCode::TooManyInferenceCalls, refusal()))?;
        Ok(InferencePermit { project, _permit: permit })
    }

    async fn attempt(&self, project: ProjectId, request: &ActivationsRequest) -> Result<InferenceAnswer> {
        let mut model = runnable(&self.context, project, &request.model).await?;
        if request.pooling.is_some() {
            let asked = SplitSettings { pooling: request.pooling, ..model.settings };
            let misplaced = |error: crate::domain::settings::BadSetting| {
                ServiceError::new(ErrorCode::InvalidSetting, error.reason).at("pooling")
            };
            model.settings = families::settle(&model.family, asked).map_err(misplaced)?;
        }
        model.settings.precision = request.precision.unwrap_or(model.settings.precision);
        let call = asked_of(&model, request)?;
        let slot = self.slot(&model).await?;
        let mut load = None;
        let open = async {
            let begun = Instant::now();
            let opened = self.open(slot.job, &model).await?;
            load = Some(begun.elapsed());
            Ok(opened)
        };
        let opened = match slot.opened.get_or_try_init(|| open).await {
            Ok(opened) => *opened,
            Err(error) => {
                let ended = self.take_out(|_, other| Arc::ptr_eq(other, &slot));
                self.close(ended).await;
                return Err(error);
            }
        };
        let answer = self.run(&slot, Run { project, model: &model, opened, call }).await;
        slot.touch();
        if answer.as_ref().is_err_and(|error| matches!(error.code, ErrorCode::SessionLost | ErrorCode::InternalError)) {
            let ended = self.take_out(|_, other| Arc::ptr_eq(other, &slot));
            self.close(ended).await;
        }
        Ok(InferenceAnswer { load, ..answer? })
    }

    async fn run(&self, slot: &Slot, run: Run<'_>) -> Result<InferenceAnswer> {
        let Run { project, model, opened, call } = run;
        let begun = Instant::now();
        let (mut replies, mut device) = (Vec::new(), Duration::ZERO);
        let step = rows_per_forward(&self.context.limits, opened.most_tokens);
        let inputs = parts::parts(call.inputs, step);
        let taps = call.taps.map(|choice| self.taps(&model.name, &opened, choice)).transpose()?.map(Arc::new);
        if let Some(taps) = &taps {
            self.check_size(slot, taps, Batch { inputs: &inputs, step, width: opened.width }).await?;
        }
        let each = taps.as_ref().map(|taps| parts::taps_of_each(taps, inputs.len()));
        for (number, part) in inputs.into_iter().enumerate() {
            let forward = ForwardCall {
                keep: None,
                random: 0,
                inputs: part,
                adapters: call.adapters.clone(),
                base: call.base,
                theta: Vec::new(),
                taps: each.clone(),
                payer: Some(project),
            };
            let reply = self.context.engine.evaluate(slot.job, forward, self.context.inference.patience).await;
            let Metered { answer, device: took, .. } = reply.map_err(|error| parts::placed(error, number * step))?;
            device += took;
            replies.push(answer);
        }
        let tokens = replies.iter().map(|reply| reply.tokens).sum();
        let jobs_in_pass = replies.iter().map(|reply| reply.jobs_in_pass).max().unwrap_or(1);
        tracing::debug!(tokens, jobs_in_pass, "{}: {tokens} tokens, {jobs_in_pass} calls in the pass", model.name);
        let tensors = match taps {
            None => parts::joined(replies)?,
            Some(taps) => parts::joined_taps_aside(replies, taps.dtype).await?,
        };
        Ok(InferenceAnswer {
            model: model.name.clone(),
            model_id: model.id,
            tensors,
            tokens,
            engine: begun.elapsed(),
            device,
            jobs_in_pass,
            load: None,
        })
    }

    /// What a pass is asked for, within what this host gives of the backbone.
    fn taps(&self, model: &str, opened: &Opened, choice: &TapChoice) -> Result<Taps> {
        let given = Given::within(&self.context.limits, model, opened.levels, opened.width);
        let width = choice.transform.as_ref().map_or(opened.width, |transform| transform.width(opened.width));
        given.check_dim(width).map_err(|reason| {
            let message = format!("layers: {reason}; name a features job with a projection in like.");
            ServiceError::new(ErrorCode::InvalidSetting, message).at("layers")
        })?;
        Ok(choice.resolve(&given.levels)?)
    }

    /// Refuses hidden states that are too large for a body, before anything runs.
    async fn check_size(&self, slot: &Slot, taps: &Taps, batch: Batch<'_>) -> Result<()> {
        let mut size = BatchSize { inputs: 0, tokens: 0, width: batch.width };
        for (number, part) in batch.inputs.iter().enumerate() {
            size.inputs += parts::count(part);
            if taps.tokens == TokenPicks::All {
                let counts = self.context.engine.count_tokens(slot.job, part.clone()).await;
                let counts = counts.map_err(|error| parts::placed(error, number * batch.step))?;
                size.tokens += counts.iter().sum::<usize>();
            }
        }
        let limit = self.context.limits.tensor_body_bytes;
        taps.check_answer(size, limit).map_err(|reason| {
            let hint = "send fewer inputs, or ask for fewer levels or another dtype";
            let message = format!("The {reason}, limits.tensor_body_bytes is {limit}: {hint}.");
            ServiceError::new(ErrorCode::TooLarge, message).at("input")
        })
    }

    /// The model's slot; the one unused for longest makes room. Where all are at work, the call waits.
    async fn slot(&self, model: &Runnable) -> Result<Arc<Slot>> {
        let SplitSettings { precision, double_quant, .. } = model.settings;
        let key = (model.id, model.settings.cut(), precision, double_quant);
        let deadline = Instant::now() + self.context.inference.patience;
        loop {
            let (slot, ended) = self.find_or_make(key);
            self.close(ended).await;
            match slot {
                Some(slot) => return Ok(slot),
                None if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
                None => {
                    let message = "All inference sessions are busy (engine.inference_sessions); try again.";
                    return Err(ServiceError::new(ErrorCode::InferenceBusy, message));
                }
            }
        }
    }

    fn find_or_make(&self, key: SessionKey) -> (Option<Arc<Slot>>, Vec<JobId>) {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(&key) {
            slot.touch();
            return (Some(Arc::clone(slot)), Vec::new());
        }
        let mut ended = Vec::new();
        if slots.len() >= self.context.inference.sessions {
            let idle = slots.iter().filter(|(_, slot)| Arc::strong_count(slot) == 1);
            let Some(oldest) = idle.min_by_key(|(_, slot)| slot.last_used()).map(|(key, _)| *key) else {
                return (None, ended);
            };
            ended.extend(slots.remove(&oldest).map(|slot| slot.job));
        }
        let slot = Slot { job: JobId(Uuid::now_v7()), opened: OnceCell::new(), used: Mutex::new(Instant::now()) };
        let slot = Arc::new(slot);
        slots.insert(key, Arc::clone(&slot));
        (Some(slot), ended)
    }

    fn take_out(&self, which: impl Fn(&SessionKey, &Arc<Slot>) -> bool) -> Vec<JobId> {
        let mut slots = self.slots.lock();
        slots.extract_if(|key, slot| which(key, slot)).map(|(_, slot)| slot.job).collect()
    }

    async fn close(&self, ended: Vec<JobId>) {
        for job in ended {
            self.context.engine.close(job).await;
        }
    }

    /// Puts a model on the device. Whoever opens a session that another began to open does it anew.
    async fn open(&self, job: JobId, model: &Runnable) -> Result<Opened> {
        let settings = SplitSettings { custody: Custody::Client, ..model.settings.clone() };
        let spec = SessionSpec {
            job,
            project: engine::NOBODY,
            folder: model.folder.clone(),
            seed: 0,
            settings,
            start: Start::Fresh,
        };
        let engine = &self.context.engine;
        let info = self.patiently(|| engine.load(spec.clone())).await?;
        for (set, blob) in model.adapters.0.iter().enumerate() {
            let bytes = self.context.blobs.get_verified(blob).await?;
            let theta =
                WireTensor::new(format!("theta.{set}"), Dtype::F32, vec![bytes.len() / Dtype::F32.size()], bytes);
            let theta = theta.map_err(ServiceError::internal)?;
            self.patiently(|| engine.set_adapter(job, set, theta.clone())).await?;
        }
        tracing::info!(model = model.name, "opened {} for inference", model.name);
        Ok(Opened { most_tokens: info.max_tokens, levels: info.levels, width: info.hidden_size })
    }

    /// Tries again while the device's queue is full.
    async fn patiently<'a, T>(&self, work: impl Fn() -> BoxFuture<'a, Asked<T>> + Send) -> Result<T> {
        let deadline = Instant::now() + self.context.inference.patience;
        loop {
            match work().await {
                Err(EngineError::Busy) if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
                done => return Ok(done?),
            }
        }
    }
}

/// The inputs of a call, as forwards will read them.
struct Batch<'a> {
    inputs: &'a [Inputs],
    /// Inputs of each part but the last.
    step: usize,
    /// Width of a state.
    width: usize,
}
