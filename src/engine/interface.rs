//! What can be asked of an engine, and what it answers. Owns the trait and its types; must never hold a tensor of LibTorch's,
//! so that an engine can live in this process, in a child process or on another machine.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::settings::SplitSettings;
use crate::domain::taps::Taps;
use crate::domain::tensor::WireTensor;
use crate::model::optim::AdamW;
use crate::model::sites::AdapterMatrix;

/// The inputs of one forward.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Texts, or pairs of texts; the host tokenizes them.
    Texts(Vec<(String, Option<String>)>),
    /// Token ids, one list an input, with token types where the client gave them.
    Tokens {
        /// Ids, one list an input.
        ids: Vec<Vec<i64>>,
        /// Segment of each token; all zero when absent.
        types: Option<Vec<Vec<i64>>>,
    },
}

/// Where the adapters of a session begin.
#[derive(Debug, Clone)]
pub enum Start {
    /// PEFT's initialisation, from the job's seed.
    Fresh,
    /// A [`Snapshot`] taken before.
    Restored(Bytes),
    /// These values, `[P]` for each set in order; an optimizer of the host begins at zero.
    Adapters(Vec<WireTensor>),
    /// Nowhere: the values of the job's last step were lost with a host, and its client has them (client custody). Every set is refused
    /// until its values are sent again, so that no older ones can pass for them.
    Lost,
}

/// What the engine needs to open a job.
#[derive(Debug, Clone)]
pub struct SessionSpec {
    /// The job.
    pub job: JobId,
    /// Whose share of the device its commands take; nobody's for a session of several projects.
    pub project: ProjectId,
    /// Hugging Face folder of the backbone.
    pub folder: PathBuf,
    /// Seed of the adapters and of dropout.
    pub seed: u64,
    /// The job's settings.
    pub settings: SplitSettings,
    /// Where the adapters begin.
    pub start: Start,
}

/// What a session turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    /// Width H of the activations.
    pub hidden_size: usize,
    /// Levels of hidden states, the embeddings' output included.
    pub levels: usize,
    /// Length P of one adapter set's flat vector.
    pub adapter_parameters: usize,
    /// Where each matrix stands in it.
    pub layout: Vec<AdapterMatrix>,
    /// Modules that carry an update, as PEFT's `target_modules`.
    pub target_modules: Vec<String>,
    /// Most tokens in one input.
    pub max_tokens: usize,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Token that ends an input, where the family's cut depends on it.
    pub eos: Option<i64>,
    /// Weights of the backbone's linear layers: a token is multiplied by each of them once.
    pub linear_parameters: u64,
    /// Optimizer steps taken so far (host custody).
    pub optimizer_steps: u64,
}

/// One forward pass. All adapter sets run over the same batch.
///
/// `I` is the batch at its two stages: [`Inputs`] as they were sent, and, once they are read, the checked token ids that the device
/// takes. Nothing else of a call changes on that way.
#[derive(Debug, Clone)]
pub struct ForwardCall<I = Inputs> {
    /// Keeps a graph under this id for a backward; `None` evaluates without one, and without dropout.
    pub keep: Option<ForwardId>,
    /// Seed of this pass's dropout; the same call with the same seed gives the same bits.
    pub random: u64,
    /// The batch.
    pub inputs: I,
    /// Adapter sets whose activations are asked for.
    pub adapters: Vec<usize>,
    /// Whether the bare backbone's activations are asked for.
    pub base: bool,
    /// New adapter values `[P]` by set, taken over before the pass (client custody).
    pub theta: Vec<(usize, WireTensor)>,
    /// Hidden states of the bare backbone, in place of activations: `keep` is then `None`, `adapters` empty, and `base` false.
    pub taps: Option<Arc<Taps>>,
    /// Whose share of the device it takes, in a session of several projects; the session's own project otherwise.
    pub payer: Option<ProjectId>,
}

/// Answer to a forward: `h.{i}`, `h.base` (`[B, H]`, or `[N, H]` with `lengths` `[B]` where pooling is `none`). With taps, by level l:
/// `hidden.{l}` `[N, H]` with `lengths`, or `hidden.{l}.{pick}` `[B, H]`; in int8 each with its `.scale` `[H]`.
#[derive(Debug, Clone)]
pub struct ForwardReply {
    /// The activations.
    pub tensors: Vec<WireTensor>,
    /// Tokens that the pass read, all inputs together.
    pub tokens: usize,
    /// Texts of which the end was left out, since they are longer than the model takes.
    pub truncated: usize,
    /// Forwards that shared the pass, this one included: of as many jobs, or of several callers of one session.
    pub jobs_in_pass: usize,
}

/// An answer, and what it took of the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Metered<T> {
    /// What was asked for.
    pub answer: T,
    /// Time of the device: of a pass that several share, each has its part by tokens. Waiting for a turn is not in it.
    pub device: Duration,
    /// Tokens of the batch, of a backward once for each share number.
    pub tokens: usize,
}

/// One share of one adapter set's gradient.
#[derive(Debug, Clone)]
pub struct Share {
    /// Adapter set i.
    pub set: usize,
    /// Share j.
    pub share: usize,
    /// `s.{i}.{j}`, shaped as `h.{i}`.
    pub tensor: WireTensor,
}

/// Answer to a backward.
#[derive(Debug, Clone)]
pub enum BackwardReply {
    /// Client custody: `G.{i}.{j}` `[P]`, one for each share, unsummed.
    Gradients(Vec<WireTensor>),
    /// Host custody: norm of each set's accumulated gradient, by set.
    Accumulated(Vec<f64>),
}

/// Answer to an optimizer step.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimReply {
    /// Optimizer steps taken, this one included.
    pub step: u64,
    /// Norm of each set's gradient before clipping, by set.
    pub gradient_norms: Vec<f64>,
    /// Norm over all sets after clipping.
    pub clipped_norm: f64,
}

/// A session's whole state as safetensors: adapters, moments, accumulated gradients, step.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The file.
    pub bytes: Bytes,
    /// Optimizer steps taken.
    pub optimizer_steps: u64,
}

/// Where a call is wrong, in the engine's own terms; where that stands in a request is for those who know the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A tensor, by its name.
    Tensor(String),
    /// One input, by its number in the batch.
    Input(usize),
    /// The inputs, all together.
    Inputs,
    /// The same where they are texts.
    Texts,
    /// A setting of the job, by its path among the settings: `lora.rank`.
    Setting(String),
    /// Any other field of the call.
    Field(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(name) => f.write_str(name),
            Self::Input(number) => write!(f, "input {number}"),
            Self::Inputs => f.write_str("inputs"),
            Self::Texts => f.write_str("texts"),
            Self::Setting(path) => f.write_str(path),
            Self::Field(name) => f.write_str(name),
        }
    }
}

/// What the engine refuses or could not do. Texts are for the client, except in [`EngineError::Internal`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The queue is full.
    #[error("the engine's queue is full")]
    Busy,
    /// The request cannot be run.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where it is wrong.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// More than the host can take at once.
    #[error("{0}")]
    TooLarge(String),
    /// The engine does not know this session (it was closed, or the host restarted).
    #[error("the session is not open")]
    NoSession,
    /// The session opened without this set's values ([`Start::Lost`]), and nobody has sent them since.
    #[error("adapter set {set} is lost, its values must be sent again")]
    AdaptersLost {
        /// The set.
        set: usize,
    },
    /// The engine does not know this forward.
    #[error("no forward is kept under this id")]
    NoForward,
    /// The device ran out of memory; the session lives on.
    #[error("the device ran out of memory")]
    OutOfMemory,
    /// The backbone's folder cannot be used.
    #[error("{0}")]
    Backbone(String),
    /// A command panicked or LibTorch failed; the details are for the log. The session must be opened again.
    #[error("the engine failed")]
    Internal(String),
}

/// How the device is at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Steps that wait for their turn.
    pub waiting: usize,
    /// And how many may.
    pub queue: usize,
    /// For how long the device has worked since it started.
    pub busy: Duration,
    /// Bytes of retained graphs, by estimate.
    pub graph_bytes: usize,
    /// And how many there may be.
    pub graph_limit: usize,
}

/// The engine's door. Every call is complete when it returns; a caller that goes away costs nothing.
#[async_trait]
pub trait Engine: Send + Sync {
    /// What a session with these settings would turn out to be; opens none.
    async fn describe(&self, folder: PathBuf, settings: SplitSettings) -> Result<SessionInfo, EngineError>;
    /// Opens a session; the backbone is loaded once and shared by the sessions on it. Opening an open session replaces it.
    async fn load(&self, spec: SessionSpec) -> Result<SessionInfo, EngineError>;
    /// Runs a forward.
    async fn forward(&self, job: JobId, call: ForwardCall) -> Result<Metered<ForwardReply>, EngineError>;
    /// Runs a forward that keeps no graph, for callers that come in numbers: it waits up to `patience` for a permit, and an input that
    /// is too long is refused, not cut.
    async fn evaluate(
        &self,
        job: JobId,
        call: ForwardCall,
        patience: Duration,
    ) -> Result<Metered<ForwardReply>, EngineError>;
    /// Tokens of each input as a forward would read them; runs nothing.
    async fn count_tokens(&self, job: JobId, inputs: Inputs) -> Result<Vec<usize>, EngineError>;
    /// Runs the vector-Jacobian products of the shares on a kept forward; recomputes its graph where it was evicted.
    async fn backward(
        &self,
        job: JobId,
        forward: ForwardId,
        shares: Vec<Share>,
    ) -> Result<Metered<BackwardReply>, EngineError>;
    /// Steps AdamW on the accumulated gradients, then clears them (host custody).
    async fn optim_step(&self, job: JobId, adamw: AdamW) -> Result<Metered<OptimReply>, EngineError>;
    /// The flat adapter vector `theta.{set}` `[P]`.
    async fn adapter(&self, job: JobId, set: usize) -> Result<WireTensor, EngineError>;
    /// Replaces an adapter set; moments and accumulated gradients of the set are cleared.
    async fn set_adapter(&self, job: JobId, set: usize, theta: WireTensor) -> Result<(), EngineError>;
    /// The whole state, for a checkpoint; refused while a set is lost.
    async fn snapshot(&self, job: JobId) -> Result<Snapshot, EngineError>;
    /// Forgets a session and frees its memory.
    async fn close(&self, job: JobId);

    /// How the device is now. Waits for nothing.
    fn occupancy(&self) -> Occupancy;
    /// Returns when the device has done all that it was asked for. A process that ends amid a pass ends under LibTorch's feet.
    async fn finish(&self);
}
