//! What a job would cost: tokens, arithmetic, bytes and time, before it is made. Owns the measurement: a few real steps of the job's
//! shape in a session of their own, which ends with the call. Nothing is trained and nothing is kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::families;
use crate::domain::features::FeatureSettings;
use crate::domain::held_bytes::Held;
use crate::domain::held_bytes::Holder;
use crate::domain::ids::FileId;
use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::domain::prices::Work;
use crate::domain::settings::Custody;
use crate::domain::settings::Pooling;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::AdamW;
use crate::engine::BackwardReply;
use crate::engine::ForwardCall;
use crate::engine::Inputs;
use crate::engine::SessionInfo;
use crate::engine::SessionSpec;
use crate::engine::Share;
use crate::engine::Start;
use crate::engine::codec::write_safetensors;
use crate::service::accounting::holding::hold_session;
use crate::service::accounting::sent::Sent;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::features::Features;
use crate::service::features::admission::Asked;
use crate::service::features::admission::Rows;
use crate::service::files::row_reader::read_rows;
use crate::service::inference::runnable::rows_per_forward;
use crate::service::inference::runnable::runnable;
use crate::service::planning::wire_size::StepShape;
use crate::service::planning::wire_size::bytes_of_run;
use crate::store::files;
use crate::store::files::FileRow;
use crate::store::pool;
use crate::store::usage;
use crate::store::usage::Amounts;
use crate::store::usage::Consumer;

/// Measuring steps are nobody's: they are not in a ledger.
const NOBODY: KeyId = KeyId(Uuid::nil());
/// Rows of a file that are tokenized at most.
const SAMPLE: u64 = 2000;
/// Where the measured batches lie among the rows by length; the first is for warming up.
const QUANTILES: [f64; 6] = [0.4, 0.5, 0.1, 0.9, 0.3, 0.7];
/// Steps that are measured at least, warming up left out.
const LEAST_STEPS: usize = 3;
/// After this long no further step is measured beyond the least.
const LONG_ENOUGH: Duration = Duration::from_secs(10);
/// How long one estimate waits for another to end.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Where the inputs come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file of the project.
    File(FileId),
    /// So many rows of so many tokens each.
    Tokens {
        /// Rows.
        rows: u64,
        /// Tokens of each.
        tokens_per_row: usize,
    },
}

/// The method of the job.
#[derive(Debug, Clone)]
pub enum MethodSettings {
    /// Split; with the model's own settings when absent.
    Split(Option<SplitSettings>),
    /// Features.
    Features(FeatureSettings),
}

/// What the job would be.
#[derive(Debug, Clone)]
pub struct EstimateRequest {
    /// A backbone, or a fine-tuned model of the project.
    pub model: String,
    /// The method and its settings.
    pub method: MethodSettings,
    /// The inputs.
    pub source: Source,
    /// Rows of a step.
    pub batch_size: usize,
    /// Passes over the rows.
    pub n_epochs: f64,
    /// Tensors that each set's gradient is sent as.
    pub shares: usize,
    /// Whether the bare backbone's activations are asked for; by default in client custody.
    pub base: Option<bool>,
}

/// What the job would cost.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// Steps: one forward and one backward each, and in host custody an optimizer step.
    pub steps: u64,
    /// Rows of the source.
    pub rows: u64,
    /// Tokens of all rows, each counted once.
    pub tokens: u64,
    /// Tokens of all forwards, each counted once whatever the number of sets.
    pub trained_tokens: u64,
    /// Share of the rows that was tokenized.
    pub sampled_share: f64,
    /// Floating-point operations.
    pub flops: f64,
    /// Bodies of requests, in bytes.
    pub bytes_up: u64,
    /// Bodies of answers, in bytes.
    pub bytes_down: u64,
    /// Bytes of features that a features job leaves.
    pub result_bytes: Option<u64>,
    /// Bytes that the host holds for the job between its calls, at most; none for a features job.
    pub held_bytes: Option<u64>,
    /// Seconds that this host works on it, with what else it does at the moment.
    pub seconds: f64,
    /// Seconds of one step of average length.
    pub seconds_per_step: f64,
    /// Where the engine computes.
    pub device: String,
    /// Steps that were measured.
    pub measured_steps: usize,
    /// What it costs by the host's prices, and in which currency, where there are any.
    pub cost: Option<(f64, String)>,
}

/// The use case. One estimate is made at a time: two would measure each other.
pub struct Estimates {
    context: Arc<Context>,
    features: Arc<Features>,
    one: Semaphore,
}

/// The job, settled.
struct Plan {
    request: EstimateRequest,
    settings: SplitSettings,
    session: JobId,
    info: SessionInfo,
    /// What its session holds.
    held: Held,
    file: Option<FileRow>,
    rows: u64,
    base: bool,
}

/// A row of the source: its number and its tokens.
type Measured = (u64, usize);

impl Estimates {
    /// Estimates on this host.
    pub fn new(context: Arc<Context>, features: Arc<Features>) -> Self {
        Self { context, features, one: Semaphore::new(1) }
    }

    /// What the job would cost on this host. The device time of measuring it is counted for the key.
    pub async fn estimate(&self, project: ProjectId, key: KeyId, request: EstimateRequest) -> Result<Estimate> {
        self.check(&request)?;
        let busy = || ServiceError::new(ErrorCode::EstimateBusy, "The host is busy with other estimates; try again.");
        let _turn = tokio::time::timeout(LONGEST_WAIT, self.one.acquire()).await.map_err(|_| busy())?;
        let session = JobId(Uuid::now_v7());
        let begun = Instant::now();
        let model = request.model.clone();
        let estimate = match request.method.clone() {
            MethodSettings::Split(_) => self.estimate_in(project, session, request).await,
            MethodSettings::Features(settings) => {
                let rows = match request.source {
                    Source::File(id) => Rows::File(Some(id)),
                    Source::Tokens { rows, tokens_per_row } => Rows::Tokens(rows, tokens_per_row),
                };
                self.of_features(project, Asked { model: &request.model, rows, settings: &settings }).await
            }
        };
        self.context.engine.close(session).await;
        if estimate.is_ok() {
            let amounts = Amounts { device_us: begun.elapsed().as_micros() as i64, ..Amounts::default() };
            let consumer = Consumer { project, key, model: &model, job: None };
            usage::add(&mut *self.context.connection().await?, &consumer, &amounts).await?;
        }
        estimate
    }

    fn check(&self, request: &EstimateRequest) -> Result<()> {
        let limits = &self.context.limits;
        let bad = |param: &str, reason: String| {
            Err(ServiceError::new(ErrorCode::InvalidSetting, format!("{param}: {reason}.")).at(param))
        };
        if !(1..=limits.batch_rows).contains(&request.batch_size) {
            return bad("batch_size", format!("must be from 1 to {}", limits.batch_rows));
        }
        if !(request.n_epochs > 0.0 && request.n_epochs <= 10_000.0) {
            return bad("n_epochs", "must be above 0 and at most 10000".to_owned());
        }
        if !(1..=limits.shares_per_set).contains(&request.shares) {
            return bad("shares", format!("must be from 1 to {}", limits.shares_per_set));
        }
        match &request.source {
            Source::Tokens { rows, .. } if !(1..=1_000_000_000_000).contains(rows) => {
                bad("rows", "must be from 1 to 1000000000000".to_owned())
            }
            Source::Tokens { tokens_per_row: 0, .. } => bad("tokens_per_row", "must be at least 1".to_owned()),
            _ => Ok(()),
        }
    }

    async fn estimate_in(&self, project: ProjectId, session: JobId, request: EstimateRequest) -> Result<Estimate> {
        let plan = self.plan(project, session, request).await?;
        let mut sample = self.sample(&plan).await?;
        sample.sort_by_key(|(_, tokens)| *tokens);
        let per_row = sample.iter().map(|(_, tokens)| *tokens).sum::<usize>() as f64 / sample.len() as f64;
        let batch = (plan.request.batch_size as u64).min(plan.rows);
        let per_epoch = (plan.rows / batch).max(1);
        let steps = ((plan.request.n_epochs * per_epoch as f64).round() as u64).max(1);
        let batch_tokens = per_row * batch as f64;
        let (times, measured_steps) = self.measure(&plan, &sample, batch as usize).await?;
        let seconds_per_step = times * batch_tokens;
        let shape = StepShape {
            custody: plan.settings.custody,
            sets: plan.settings.adapter_sets,
            shares: plan.request.shares,
            base: plan.base,
            batch: batch as usize,
            rows: if plan.settings.cut() == Pooling::None { batch_tokens.round() as usize } else { batch as usize },
            tokens: batch_tokens.round() as usize,
            lengths: plan.settings.cut() == Pooling::None,
            hidden: plan.info.hidden_size,
            parameters: plan.info.adapter_parameters,
        };
        let bytes = bytes_of_run(&shape, steps)?;
        let (trained, seconds) = (batch_tokens * steps as f64, seconds_per_step * steps as f64);
        let billed = trained * (1 + plan.request.shares) as f64; // of a forward, and of a backward for each share number
        let work = Work { training_tokens: billed, device_seconds: seconds, ..Work::default() };
        Ok(Estimate {
            steps,
            rows: plan.rows,
            tokens: (per_row * plan.rows as f64).round() as u64,
            trained_tokens: trained.round() as u64,
            sampled_share: sample.len() as f64 / plan.rows as f64,
            flops: plan.flops_per_token() * batch_tokens * steps as f64,
            bytes_up: bytes.up,
            bytes_down: bytes.down,
            result_bytes: None,
            held_bytes: Some(plan.held.bytes() + shape.held_bytes()),
            seconds,
            seconds_per_step,
            device: self.context.device.clone(),
            measured_steps,
            cost: self.cost(&work),
        })
    }

    /// What a features job would take: its seconds are those of a few of its forwards.
    async fn of_features(&self, project: ProjectId, asked: Asked<'_>) -> Result<Estimate> {
        let plan = self.features.plan(project, asked).await?;
        let timed = self.features.time(&plan).await?;
        let read = plan.tokens_to_read();
        let seconds = timed.seconds_per_token * read as f64;
        let work = Work { inference_tokens: read as f64, device_seconds: seconds, ..Work::default() };
        Ok(Estimate {
            steps: 0,
            rows: plan.rows,
            tokens: plan.tokens,
            trained_tokens: read,
            sampled_share: plan.sampled as f64 / plan.rows as f64,
            flops: 2.0 * plan.opened.info.linear_parameters as f64 * read as f64,
            bytes_up: 0,
            bytes_down: plan.bytes,
            result_bytes: Some(plan.bytes),
            held_bytes: None,
            seconds,
            seconds_per_step: 0.0,
            device: self.context.device.clone(),
            measured_steps: timed.forwards,
            cost: self.cost(&work),
        })
    }

    fn cost(&self, work: &Work) -> Option<(f64, String)> {
        let prices = &self.context.prices;
        prices.cost(work).zip(prices.currency().map(str::to_owned))
    }

    /// Looks everything up, and opens the session.
    async fn plan(&self, project: ProjectId, session: JobId, request: EstimateRequest) -> Result<Plan> {
        let model = runnable(&self.context, project, &request.model).await?;
        let settings = match &request.method {
            MethodSettings::Split(Some(settings)) => families::settle(&model.family, settings.clone())?,
            _ if model.adapters.0.is_empty() => families::settle(&model.family, SplitSettings::default())?,
            _ => model.settings.clone(),
        };
        settings.check(&self.context.limits)?;
        let (file, rows) = match request.source {
            Source::Tokens { rows, .. } => (None, rows),
            Source::File(id) => {
                let found = files::get(&mut *self.context.connection().await?, project, id).await?;
                let file = found.ok_or_else(|| ServiceError::not_found("file", id).at("training_file"))?;
                let rows = u64::try_from(file.rows).unwrap_or(0);
                (Some(file), rows)
            }
        };
        if rows == 0 {
            return Err(ServiceError::new(ErrorCode::EmptyFile, "training_file: has no rows.").at("training_file"));
        }
        let shape = self.context.engine.describe(model.folder.clone(), settings.clone()).await?;
        let holder = Holder { project, job: Some(session) };
        let held = hold_session(&self.context, holder, &settings, shape.adapter_parameters)?;
        let spec = SessionSpec {
            job: session,
            project,
            folder: model.folder,
            seed: 0,
            settings: settings.clone(),
            start: Start::Fresh,
        };
        let info = self.context.engine.load(spec).await?;
        if let Source::Tokens { tokens_per_row, .. } = request.source
            && tokens_per_row > info.max_tokens
        {
            let message = format!("tokens_per_row: the model takes at most {}.", info.max_tokens);
            return Err(ServiceError::new(ErrorCode::RowTooLong, message).at("tokens_per_row"));
        }
        let base = request.base.unwrap_or(settings.custody == Custody::Client);
        Ok(Plan { request, settings, session, info, held, file, rows, base })
    }

    /// Tokens of all rows, or of an even sample of them.
    async fn sample(&self, plan: &Plan) -> Result<Vec<Measured>> {
        let count = SAMPLE.max(plan.request.batch_size as u64).min(plan.rows);
        let numbers: Vec<u64> =
            (0..count).map(|place| (u128::from(place) * u128::from(plan.rows) / u128::from(count)) as u64).collect();
        if let Source::Tokens { tokens_per_row, .. } = plan.request.source {
            return Ok(numbers.into_iter().map(|number| (number, tokens_per_row)).collect());
        }
        let mut tokens = Vec::with_capacity(numbers.len());
        for some in numbers.chunks(rows_per_forward(&self.context.limits, plan.info.max_tokens)) {
            let inputs = plan.inputs(&self.context, some).await?;
            tokens.extend(self.context.engine.count_tokens(plan.session, inputs).await?);
        }
        Ok(numbers.into_iter().zip(tokens).collect())
    }

    /// Seconds of a step for one token of its batch: the median over steps of different lengths, as a run meets them.
    async fn measure(&self, plan: &Plan, sample: &[Measured], batch: usize) -> Result<(f64, usize)> {
        let begun = Instant::now();
        let mut times = Vec::new();
        for (number, quantile) in QUANTILES.into_iter().enumerate() {
            let first = ((sample.len() - batch) as f64 * quantile).round() as usize;
            let rows = &sample[first..first + batch];
            let took = self.step(plan, number as u64, rows).await?.as_secs_f64();
            if number > 0 {
                times.push(took / rows.iter().map(|(_, tokens)| *tokens).sum::<usize>() as f64);
            }
            if times.len() >= LEAST_STEPS && begun.elapsed() > LONG_ENOUGH {
                break;
            }
        }
        times.sort_by(f64::total_cmp);
        let middle = times.len() / 2;
        let median = if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 };
        Ok((median, times.len()))
    }

    /// One step as a job takes it, with what the service does around the engine: reading rows, hashing, writing bodies, and commits
    /// of the same weight. What the client sends is made beforehand; HTTP and the client's own work are left out.
    async fn step(&self, plan: &Plan, number: u64, rows: &[Measured]) -> Result<Duration> {
        let engine = &self.context.engine;
        let numbers: Vec<u64> = rows.iter().map(|(number, _)| *number).collect();
        let (theta, body) = self.forward_body(plan, &numbers).await?;
        let keep = ForwardId(Uuid::now_v7());
        let begun = Instant::now();
        let mut sent = Sent::new(NOBODY, "forward", "", &body);
        sent.note_all(&theta.iter().map(|(_, tensor)| tensor.clone()).collect::<Vec<_>>());
        let call = ForwardCall {
            keep: Some(keep),
            random: number,
            inputs: plan.inputs(&self.context, &numbers).await?,
            adapters: (0..plan.settings.adapter_sets).collect(),
            base: plan.base,
            theta,
            taps: None,
            payer: None,
        };
        let reply = engine.forward(plan.session, call).await?.answer;
        pool::probe(&self.context.pool).await?;
        write_safetensors(&reply.tensors, &BTreeMap::new())?;
        let forward = begun.elapsed();
        let shares = plan.shares(&reply.tensors, number)?;
        let tensors: Vec<WireTensor> = shares.iter().map(|share| share.tensor.clone()).collect();
        let body = write_safetensors(&tensors, &BTreeMap::new())?;
        let begun = Instant::now();
        Sent::new(NOBODY, "backward", "", &body).note_all(&tensors);
        let reply = engine.backward(plan.session, keep, shares).await?.answer;
        pool::probe(&self.context.pool).await?;
        if let BackwardReply::Gradients(tensors) = reply {
            write_safetensors(&tensors, &BTreeMap::new())?;
        }
        if plan.settings.custody == Custody::Host {
            let adamw = AdamW { lr: 1e-4, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01, max_grad_norm: None };
            engine.optim_step(plan.session, adamw).await?;
            pool::probe(&self.context.pool).await?;
        }
        Ok(forward + begun.elapsed())
    }

    /// What the client sends with a forward: rows, and in client custody the values of every set.
    async fn forward_body(&self, plan: &Plan, numbers: &[u64]) -> Result<(Vec<(usize, WireTensor)>, bytes::Bytes)> {
        let mut theta = Vec::new();
        if plan.settings.custody == Custody::Client {
            for set in 0..plan.settings.adapter_sets {
                theta.push((set, self.context.engine.adapter(plan.session, set).await?));
            }
        }
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let rows =
            WireTensor::new("rows", Dtype::I64, vec![numbers.len()], bytes.into()).map_err(ServiceError::internal)?;
        let all: Vec<WireTensor> =
            std::iter::once(rows).chain(theta.iter().map(|(_, tensor)| tensor.clone())).collect();
        Ok((theta, write_safetensors(&all, &BTreeMap::new())?))
    }
}

impl Plan {
    /// The rows of these numbers.
    async fn inputs(&self, context: &Context, numbers: &[u64]) -> Result<Inputs> {
        match (&self.file, &self.request.source) {
            (Some(file), _) => read_rows(context, file, numbers).await,
            (None, Source::Tokens { tokens_per_row, .. }) => Ok(Inputs::Tokens {
                ids: numbers.iter().map(|number| self.row(*number, *tokens_per_row)).collect(),
                types: None,
            }),
            (None, Source::File(id)) => Err(ServiceError::not_found("file", id).at("training_file")),
        }
    }

    /// A row of that many tokens; what they are does not matter, but for the one at which the family is cut.
    fn row(&self, number: u64, tokens: usize) -> Vec<i64> {
        let id = |place: u64| (number.wrapping_mul(31).wrapping_add(place) % self.info.vocab_size as u64) as i64;
        let mut ids: Vec<i64> = (0..tokens as u64).map(id).collect();
        if let (Some(eos), Some(last)) = (self.info.eos, ids.last_mut()) {
            *last = eos;
        }
        ids
    }

    /// Shares of the shape of the activations; what they are does not matter to the time.
    fn shares(&self, activations: &[WireTensor], number: u64) -> Result<Vec<Share>> {
        let mut shares = Vec::new();
        for set in 0..self.settings.adapter_sets {
            let name = format!("h.{set}");
            let Some(tensor) = activations.iter().find(|tensor| tensor.name() == name) else { continue };
            for share in 0..self.request.shares {
                let value = |place: usize| ((place + share) as f32 * 0.37 + number as f32).sin() * 1e-3;
                let values: Vec<f32> = (0..tensor.len()).map(value).collect();
                let tensor = WireTensor::from_f32(format!("s.{set}.{share}"), tensor.shape().to_vec(), &values);
                shares.push(Share { set, share, tensor: tensor.map_err(ServiceError::internal)? });
            }
        }
        Ok(shares)
    }

    /// Floating-point operations for one token of the batch. With N weights in the backbone's linear layers, P in a set's adapters, n
    /// sets, m shares, and b = 1 where the bare backbone runs too:
    ///
    /// forward `2 N (n + b) + 2 P n`, backward `m n (2 N + 4 P)`: the backbone is frozen, so that a share passes through it once, and
    /// through the adapters twice. Attention scores, embeddings and norms are left out.
    fn flops_per_token(&self) -> f64 {
        let n = self.settings.adapter_sets as f64;
        let m = self.request.shares as f64;
        let b = f64::from(u8::from(self.base));
        let backbone = self.info.linear_parameters as f64;
        let adapters = self.info.adapter_parameters as f64;
        2.0 * backbone * (n + b) + 2.0 * adapters * n + m * n * (2.0 * backbone + 4.0 * adapters)
    }
}
