//! Before a job is made: what the host can do, and what the job would cost.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::dto::methods::Method;
use crate::api::dto::methods::OfMethod;
use crate::api::dto::methods::read_method;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::FileId;
use crate::domain::settings::Custody;
use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::service::Estimate;
use crate::service::EstimateRequest;
use crate::service::HostView;
use crate::service::MethodSettings;
use crate::service::ModelView;
use crate::service::Result;
use crate::service::ServiceError;
use crate::service::Source;

fn default_batch() -> usize {
    32
}

fn default_epochs() -> f64 {
    3.0
}

fn default_shares() -> usize {
    2
}

/// A job to be estimated. The inputs are a `training_file`, or `rows` with `tokens_per_row`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EstimateBody {
    /// A backbone, or a fine-tuned model of the project.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub model: String,
    /// How to fine-tune; the model's own settings when absent.
    pub method: Option<Method>,
    /// Id of an uploaded file.
    pub training_file: Option<String>,
    /// Rows, where there is no file yet.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64, example = 1000)]
    pub rows: Option<u64>,
    /// Tokens of each row, where there is no file yet.
    #[schema(minimum = 1, example = 32)]
    pub tokens_per_row: Option<usize>,
    /// Rows of a step.
    #[serde(default = "default_batch")]
    #[schema(minimum = 1, maximum = 1024, default = 32)]
    pub batch_size: usize,
    /// Passes over the rows; need not be whole.
    #[serde(default = "default_epochs")]
    #[schema(exclusive_minimum = 0.0, maximum = 10000.0, default = 3.0)]
    pub n_epochs: f64,
    /// Tensors that each set's gradient is sent as.
    #[serde(default = "default_shares")]
    #[schema(minimum = 1, maximum = 8, default = 2)]
    pub shares: usize,
    /// Whether each step asks for the bare backbone's activations too; default true in client custody, false in host custody.
    pub base: Option<bool>,
}

impl TryFrom<EstimateBody> for EstimateRequest {
    type Error = ServiceError;

    fn try_from(body: EstimateBody) -> Result<Self> {
        let source = match (&body.training_file, body.rows, body.tokens_per_row) {
            (Some(id), None, None) => {
                Source::File(id.parse::<FileId>().map_err(|_| ServiceError::not_found("file", id).at("training_file"))?)
            }
            (None, Some(rows), Some(tokens_per_row)) => Source::Tokens { rows, tokens_per_row },
            _ => {
                let message = "Name the inputs in exactly one form: training_file, or rows with tokens_per_row.";
                return Err(ServiceError::new(ErrorCode::InputsMissing, message).at("training_file"));
            }
        };
        Ok(Self {
            model: body.model,
            method: method_of(body.method)?,
            source,
            batch_size: body.batch_size,
            n_epochs: body.n_epochs,
            shares: body.shares,
            base: body.base,
        })
    }
}

fn method_of(method: Option<Method>) -> Result<MethodSettings> {
    let Some(Method { kind, split, features }) = method else { return Ok(MethodSettings::Split(None)) };
    Ok(match read_method(&kind, split, features)? {
        OfMethod::Split(settings) => MethodSettings::Split(Some(settings.unwrap_or_default())),
        OfMethod::Features(settings) => MethodSettings::Features(settings),
    })
}

/// What a job would cost on this host.
#[derive(Debug, Serialize, ToSchema)]
pub struct EstimateObject {
    /// Always `fine_tuning.estimate`.
    #[schema(example = "fine_tuning.estimate")]
    pub object: &'static str,
    /// Steps. A last batch that is not full is left out of each epoch, unless it is the only one. A features job has none.
    #[schema(example = 93)]
    pub steps: u64,
    /// Rows of the inputs.
    #[schema(example = 1000)]
    pub rows: u64,
    /// Tokens of all rows, each counted once.
    #[schema(example = 32000)]
    pub tokens: u64,
    /// Tokens of all steps: tokens times epochs, less the rows that are left out; of a features job what the device reads.
    #[schema(example = 95232)]
    pub trained_tokens: u64,
    /// Share of the rows that was tokenized: 1 up to 2,000 rows, an even sample beyond.
    #[schema(example = 1.0)]
    pub sampled_share: f64,
    /// Floating-point operations of the linear layers. With N weights in the backbone's and P in a set's adapters, n sets, m shares, and
    /// b = 1 where the bare backbone runs too, each token takes 2N(n + b) + 2Pn forward and mn(2N + 4P) backward.
    #[schema(example = 12000000000000.0)]
    pub flops: f64,
    /// Bodies of the steps' requests (safetensors), in bytes.
    pub bytes_up: u64,
    /// Bodies of the steps' answers (safetensors), in bytes; of a features job its results.
    pub bytes_down: u64,
    /// Bytes of features that a features job leaves in its result files, headers left out; null for other methods.
    #[schema(required, example = json!(null))]
    pub result_bytes: Option<u64>,
    /// Bytes that the host holds for the job between its calls, at most, of `limits.held_bytes_per_job`: its adapters, as often as forwards
    /// that are retained pin them, in host custody the optimizer's state, and a step's answers. Null for other methods.
    #[schema(required, example = 6193152)]
    pub held_bytes: Option<u64>,
    /// Seconds that this host works on the steps under its present load. Network and the client's own work come on top.
    #[schema(example = 12.5)]
    pub seconds: f64,
    /// Seconds of a step of average length.
    #[schema(example = 0.13)]
    pub seconds_per_step: f64,
    /// Where the engine computes.
    #[schema(example = "cpu")]
    pub device: String,
    /// Real steps that were run to measure it.
    #[schema(example = 5)]
    pub measured_steps: usize,
    /// What that costs, in `currency`; null where the host has no prices.
    #[schema(required, example = 0.38)]
    pub cost: Option<f64>,
    /// ISO 4217; null where the host has no prices.
    #[schema(required, example = "EUR")]
    pub currency: Option<String>,
}

impl From<Estimate> for EstimateObject {
    fn from(estimate: Estimate) -> Self {
        let (cost, currency) = estimate.cost.unzip();
        let Estimate { steps, rows, tokens, trained_tokens, sampled_share, flops, bytes_up, bytes_down, .. } = estimate;
        Self {
            object: "fine_tuning.estimate",
            steps,
            rows,
            tokens,
            trained_tokens,
            sampled_share,
            flops,
            bytes_up,
            bytes_down,
            result_bytes: estimate.result_bytes,
            held_bytes: estimate.held_bytes,
            seconds: estimate.seconds,
            seconds_per_step: estimate.seconds_per_step,
            device: estimate.device,
            measured_steps: estimate.measured_steps,
            cost,
            currency,
        }
    }
}

/// Names for `target_modules`.
#[derive(Debug, Serialize, ToSchema)]
pub struct LoraNames {
    /// The default of a job that names none.
    #[schema(example = json!(["query", "value"]))]
    pub target_modules_default: Vec<String>,
    /// The last parts of the names of all linear layers.
    #[schema(example = json!(["attention.self.query", "attention.self.key"]))]
    pub modules: Vec<String>,
}

/// A backbone, and what a job may ask of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelCapabilities {
    /// Its name.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub id: String,
    /// Its family.
    #[schema(example = "bert")]
    pub family: String,
    /// Width H of the activations.
    pub hidden_size: i64,
    /// Levels of hidden states: `layers` of `/v1/activations` are from 0 (the embeddings' output) to one less.
    #[schema(example = 7)]
    pub levels: usize,
    /// Most tokens in one input.
    pub max_tokens: i64,
    /// Number of parameters.
    pub parameters: i64,
    /// Where it can be cut.
    pub poolings: Vec<Pooling>,
    /// Its own cut.
    pub default_pooling: Pooling,
    /// Its precisions.
    pub precisions: Vec<Precision>,
    /// Where adapters can go.
    pub lora: LoraNames,
}

impl From<ModelView> for ModelCapabilities {
    fn from(view: ModelView) -> Self {
        Self {
            id: view.row.name,
            family: view.row.family,
            hidden_size: view.row.hidden_size,
            levels: view.levels,
            max_tokens: view.row.max_tokens,
            parameters: view.row.parameters,
            default_pooling: view.poolings[0],
            poolings: view.poolings.to_vec(),
            precisions: view.precisions,
            lora: LoraNames { target_modules_default: view.default_targets, modules: view.modules },
        }
    }
}

/// What this host can do.
#[derive(Debug, Serialize, ToSchema)]
pub struct CapabilitiesObject {
    /// Always `fine_tuning.capabilities`.
    #[schema(example = "fine_tuning.capabilities")]
    pub object: &'static str,
    /// Version of the host.
    #[schema(example = "0.3.0")]
    pub version: &'static str,
    /// Where the engine computes.
    #[schema(example = "cpu")]
    pub device: String,
    /// Values of `method.type`.
    #[schema(example = json!(["split", "features"]))]
    pub methods: [&'static str; 2],
    /// Values of `method.split.custody`.
    pub custody: Vec<Custody>,
    /// Values of `method.split.precision`; each model has its own among them.
    pub precisions: Vec<Precision>,
    /// Every limit, by the name that it has in the configuration.
    #[schema(value_type = BTreeMap<String, f64>)]
    pub limits: BTreeMap<String, Value>,
    /// Calls that run a model outside of a job.
    #[schema(example = json!(["activations", "embeddings"]))]
    pub inference: [&'static str; 2],
    /// The backbones. One whose files cannot be read is left out.
    pub models: Vec<ModelCapabilities>,
    /// Accepted media types of tensors.
    pub tensor_media_types: [&'static str; 3],
    /// Optional features.
    #[schema(value_type = BTreeMap<String, bool>, example = json!({"estimate": true}))]
    pub features: BTreeMap<&'static str, bool>,
}

/// Optional features of this host, all of them there.
const FEATURES: [&str; 7] =
    ["estimate", "ledger", "checkpoints", "batches", "activations.layers", "activations.tokens", "activations.dtype"];

impl CapabilitiesObject {
    /// Of this host.
    pub fn new(view: HostView) -> Result<Self> {
        let limits = serde_json::to_value(&view.limits).and_then(serde_json::from_value);
        Ok(Self {
            object: "fine_tuning.capabilities",
            version: env!("CARGO_PKG_VERSION"),
            device: view.device,
            methods: ["split", "features"],
            custody: Custody::ALL.to_vec(),
            precisions: Precision::ALL.to_vec(),
            limits: limits.map_err(ServiceError::internal)?,
            inference: ["activations", "embeddings"],
            models: view.models.into_iter().map(ModelCapabilities::from).collect(),
            tensor_media_types: ["application/octet-stream", "application/vnd.safetensors", "application/json"],
            features: BTreeMap::from(FEATURES.map(|feature| (feature, true))),
        })
    }
}
