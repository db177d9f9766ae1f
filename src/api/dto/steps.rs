//! The data plane in JSON form. The binary form carries the same tensors as safetensors and the scalars in the query.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::ArrayBuilder;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::OneOfBuilder;
use utoipa::openapi::Ref;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::Type;

use crate::api::dto::forms::Counted;
use crate::api::dto::forms::Form;
use crate::api::dto::forms::no_form;
use crate::domain::error_code::ErrorCode;
use crate::domain::limits::LARGEST_NUMBER;
use crate::domain::schemas;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::service::AdamW;
use crate::service::ServiceError;

/// A tensor in JSON.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TensorJson {
    /// Element type: `F32`, `I64` or `I32`; hidden states also come as `F16`, `BF16` and `I8`.
    #[schema(example = "F32", pattern = "^(F32|I64|I32|F16|BF16|I8)$")]
    pub dtype: String,
    /// Dimensions, outermost first.
    #[schema(example = json!([1, 2]), max_items = 4)]
    pub shape: Vec<usize>,
    /// The elements, little endian, in base64.
    #[schema(example = "AACAPwAAAEA=", pattern = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]
    pub data: String,
}

impl TensorJson {
    /// The tensor under `name`.
    pub fn decode(&self, name: &str) -> Result<WireTensor, ServiceError> {
        let refuse = |reason: String| ServiceError::new(ErrorCode::TensorInvalid, format!("{name}: {reason}")).at(name);
        let dtype = Dtype::from_name(&self.dtype).ok_or_else(|| refuse("dtype must be F32, I64 or I32".into()))?;
        let bytes = STANDARD.decode(&self.data).map_err(|error| refuse(format!("data is not base64: {error}")))?;
        WireTensor::new(name, dtype, self.shape.clone(), bytes.into())
            .map_err(|error| ServiceError::new(ErrorCode::TensorInvalid, error.to_string()).at(name))
    }

    /// The JSON form of a tensor.
    pub fn encode(tensor: &WireTensor) -> Self {
        Self {
            dtype: tensor.dtype().name().to_owned(),
            shape: tensor.shape().to_vec(),
            data: STANDARD.encode(tensor.bytes()),
        }
    }
}

/// Tensors by name.
pub type TensorMap = BTreeMap<String, TensorJson>;

/// Tensors as JSON, by name.
pub fn encode_all(tensors: &[WireTensor]) -> TensorMap {
    tensors.iter().map(|one| (one.name().to_owned(), TensorJson::encode(one))).collect()
}

/// Scalars of a forward in binary form.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ForwardQuery {
    /// Step number; required when training, absent when evaluating.
    pub seq: Option<u64>,
    /// Whether it is a training step (keeps a graph for a backward); default true.
    pub train: Option<bool>,
    /// Adapter sets to run: `all` (default), `none`, or numbers such as `0,1`.
    #[param(pattern = "^(all|none|[0-9]{1,4}(,[0-9]{1,4})*)$", example = "all")]
    pub adapters: Option<String>,
    /// Whether the bare backbone's activations are wanted too; default false.
    pub base: Option<bool>,
}

/// Adapter sets of a forward: `"all"`, `"none"` or a list of numbers.
#[derive(Debug, Clone)]
pub enum AdaptersJson {
    /// `all` or `none`.
    Word(String),
    /// Numbers of sets.
    Sets(Vec<usize>),
}

impl<'de> Deserialize<'de> for AdaptersJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sets = |numbers: Vec<i64>| numbers.into_iter().map(usize::try_from).collect::<Result<_, _>>().ok();
        match Form::deserialize(deserializer)? {
            Form::Text(word) => Some(Self::Word(word)),
            Form::Numbers(numbers) => sets(numbers).map(Self::Sets),
            _ => None,
        }
        .ok_or_else(|| no_form("AdaptersJson"))
    }
}

impl PartialSchema for AdaptersJson {
    fn schema() -> RefOr<Schema> {
        let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["all", "none"]));
        let either = OneOfBuilder::new().item(word).item(ArrayBuilder::new().items(schemas::count()));
        either.description(Some("Adapter sets: `all`, `none` or a list of numbers.")).into()
    }
}

impl ToSchema for AdaptersJson {}

/// One input as text: a text, or a pair of texts.
#[derive(Debug, Clone)]
pub enum TextJson {
    /// A text.
    One(String),
    /// A pair of texts.
    Pair(Counted<String>),
}

impl<'de> Deserialize<'de> for TextJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(Self::One(text)),
            Form::Texts(texts) => Ok(Self::Pair(texts)),
            Form::Numbers(none) if none.is_empty() => Ok(Self::Pair(Counted::default())),
            _ => Err(no_form("TextJson")),
        }
    }
}

impl PartialSchema for TextJson {
    fn schema() -> RefOr<Schema> {
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let pair = ArrayBuilder::new().items(text()).min_items(Some(2)).max_items(Some(2));
        let says = "One input as text: a text, or a pair of texts.";
        OneOfBuilder::new().item(text()).item(pair).description(Some(says)).into()
    }
}

impl ToSchema for TextJson {}

/// Token ids of at most 1024 inputs.
fn token_lists(description: &str) -> Schema {
    let inputs = ArrayBuilder::new().items(ArrayBuilder::new().items(schemas::count()).min_items(Some(1)));
    schemas::or_null(inputs.min_items(Some(1)).max_items(Some(1024))).description(Some(description)).into()
}

fn input_ids() -> Schema {
    token_lists("Token ids, one list an input.")
}

fn token_type_ids() -> Schema {
    token_lists("Segment of each token, shaped as `input_ids`.")
}

fn rows() -> Schema {
    let rows = schemas::or_null(schemas::some(schemas::count(), 1024));
    rows.description(Some("Rows of the job's training file, from 0.")).into()
}

/// Tensors whose names have this form.
fn tensors(pattern: &str, description: &str) -> ObjectBuilder {
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    ObjectBuilder::new()
        .property_names(Some(name))
        .additional_properties(Some(Ref::from_schema_name("TensorJson")))
        .description(Some(description))
}

fn theta() -> Schema {
    let values = "New adapter values by set: `{\"0\": tensor}`, each F32 `[P]`.";
    schemas::map_or_null(tensors("^[0-9]{1,4}$", values)).into()
}

fn shares() -> Schema {
    tensors(r"^s\.[0-9]{1,4}\.[0-7]$", "Shares `s.{i}.{j}`, each shaped as `h.{i}`.").min_properties(Some(1)).into()
}

/// A forward in JSON form. The batch comes as exactly one of `rows`, `texts` or `input_ids`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardBody {
    /// Step number; required when training, absent when evaluating.
    #[schema(example = 1)]
    pub seq: Option<u64>,
    /// Whether it is a training step; default true.
    pub train: Option<bool>,
    /// Adapter sets to run; default all.
    pub adapters: Option<AdaptersJson>,
    /// Whether the bare backbone's activations are wanted too; default false.
    pub base: Option<bool>,
    /// Rows of the job's training file, from 0.
    #[schema(schema_with = rows)]
    pub rows: Option<Vec<i64>>,
    /// Texts, or pairs of texts.
    #[schema(value_type = Option<Vec<TextJson>>, example = json!(["The scan shows no change.", ["A question?", "A passage."]]), min_items = 1, max_items = 1024)]
    pub texts: Option<Counted<TextJson>>,
    /// Token ids, one list an input.
    #[schema(schema_with = input_ids)]
    pub input_ids: Option<Counted<Vec<i64>>>,
    /// Segment of each token, shaped as `input_ids`.
    #[schema(schema_with = token_type_ids)]
    pub token_type_ids: Option<Counted<Vec<i64>>>,
    /// New adapter values by set: `{"0": tensor}`, each F32 `[P]`.
    #[schema(schema_with = theta)]
    pub theta: Option<TensorMap>,
}

/// Answer to a forward.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForwardAnswer {
    /// Always `fine_tuning.job.forward`.
    pub object: &'static str,
    /// What a backward refers to; absent when evaluating.
    #[schema(required)]
    pub forward_id: Option<String>,
    /// Step number; absent when evaluating.
    #[schema(required)]
    pub seq: Option<u64>,
    /// Tokens read, all inputs together.
    pub tokens: usize,
    /// Texts that are longer than the model takes: their beginning was read, and the rest left out.
    pub truncated: usize,
    /// `h.{i}` by adapter set and `h.base`: F32 `[B, H]`; with pooling `none` `[N, H]` and `lengths` I64 `[B]`.
    pub activations: TensorMap,
}

/// Scalars of a backward in binary form.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct BackwardQuery {
    /// Step number.
    pub seq: u64,
    /// The forward it belongs to.
    pub forward_id: String,
}

/// A backward in JSON form.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackwardBody {
    /// Step number.
    #[schema(example = 2)]
    pub seq: u64,
    /// The forward it belongs to.
    pub forward_id: String,
    /// Shares `s.{i}.{j}`, each shaped as `h.{i}`.
    #[schema(schema_with = shares)]
    pub shares: TensorMap,
}

/// Answer to a backward.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackwardAnswer {
    /// Always `fine_tuning.job.backward`.
    pub object: &'static str,
    /// Step number.
    pub seq: u64,
    /// Client custody: `G.{i}.{j}` F32 `[P]`, one for each share, unsummed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradients: Option<TensorMap>,
    /// Host custody: norm of each set's accumulated gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_norms: Option<BTreeMap<String, f64>>,
}

fn beta_defaults() -> (f64, f64) {
    (0.9, 0.999)
}

fn eps_default() -> f64 {
    1e-8
}

fn decay_default() -> f64 {
    0.01
}

/// One AdamW step of the host (host custody).
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimStepBody {
    /// Step number.
    #[schema(example = 3)]
    pub seq: u64,
    /// Learning rate.
    #[schema(example = 0.001, minimum = 0.0, maximum = 1e300)]
    pub lr: f64,
    /// Decay of the two moments.
    #[serde(default = "beta_defaults")]
    #[schema(schema_with = betas)]
    pub betas: (f64, f64),
    /// Added to the denominator.
    #[serde(default = "eps_default")]
    #[schema(minimum = 0.0, maximum = 1e300)]
    pub eps: f64,
    /// Decoupled weight decay.
    #[serde(default = "decay_default")]
    #[schema(minimum = 0.0, maximum = 1e300)]
    pub weight_decay: f64,
    /// Clips the gradient's norm over all sets.
    #[schema(exclusive_minimum = 0.0, maximum = 1e300)]
    pub max_grad_norm: Option<f64>,
}

impl OptimStepBody {
    /// AdamW's settings, checked.
    pub fn adamw(&self) -> Result<AdamW, ServiceError> {
        let bad = |name: &str, reason: &str| {
            ServiceError::new(ErrorCode::InvalidSetting, format!("{name}: {reason}")).at(name)
        };
        let good = |value: f64| (0.0..=LARGEST_NUMBER).contains(&value);
        if !good(self.lr) || !good(self.weight_decay) || !good(self.eps) {
            return Err(bad("lr", "lr, eps and weight_decay must be numbers from 0 to 1e300."));
        }
        if ![self.betas.0, self.betas.1].iter().all(|beta| (0.0..1.0).contains(beta)) {
            return Err(bad("betas", "each must be from 0 to below 1."));
        }
        if self.max_grad_norm.is_some_and(|norm| !(norm > 0.0 && norm <= LARGEST_NUMBER)) {
            return Err(bad("max_grad_norm", "must be positive and at most 1e300."));
        }
        Ok(AdamW {
            lr: self.lr,
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
        })
    }
}

/// Answer to an optimizer step.
#[derive(Debug, Serialize, ToSchema)]
pub struct OptimStepAnswer {
    /// Always `fine_tuning.job.optim_step`.
    pub object: &'static str,
    /// Step number.
    pub seq: u64,
    /// Optimizer steps taken, this one included.
    pub step: u64,
    /// Norm of each set's gradient before clipping.
    pub gradient_norms: BTreeMap<String, f64>,
    /// Norm over all sets after clipping.
    pub clipped_norm: f64,
    /// Optimizer steps that survive a crash of the host.
    pub durable_step: u64,
    /// The newest seq that survives a crash: keep what you sent after it.
    pub durable_seq: u64,
}

/// One matrix in the flat adapter vector.
#[derive(Debug, Serialize, ToSchema)]
pub struct SlotJson {
    /// PEFT's name.
    #[schema(example = "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight")]
    pub name: String,
    /// `[r, in]` for `lora_A`, `[out, r]` for `lora_B`.
    pub shape: Vec<usize>,
    /// First element in the flat vector.
    pub offset: usize,
}

/// The adapters of a job: how the flat vector is laid out.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdapterLayout {
    /// Always `fine_tuning.job.adapters`.
    pub object: &'static str,
    /// Number n of adapter sets.
    pub adapter_sets: usize,
    /// Length P of a set's flat vector.
    pub parameters: usize,
    /// Where each matrix stands in it.
    pub layout: Vec<SlotJson>,
    /// PEFT's `adapter_config.json` for these adapters.
    #[schema(value_type = Object)]
    pub peft_config: serde_json::Value,
}

impl From<crate::service::AdapterLayout> for AdapterLayout {
    fn from(layout: crate::service::AdapterLayout) -> Self {
        let slot = |matrix: crate::service::AdapterMatrix| SlotJson {
            name: matrix.name,
            shape: matrix.shape.to_vec(),
            offset: matrix.offset,
        };
        Self {
            object: "fine_tuning.job.adapters",
            adapter_sets: layout.adapter_sets,
            parameters: layout.parameters,
            layout: layout.matrices.into_iter().map(slot).collect(),
            peft_config: layout.peft_config,
        }
    }
}

/// Form of an adapter set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AdapterForm {
    /// One tensor for each matrix, with PEFT's names.
    #[default]
    Peft,
    /// One tensor `theta.{i}` F32 `[P]`.
    Flat,
}

/// Form of an adapter set.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AdapterQuery {
    /// `peft` (default) or `flat`.
    #[serde(default)]
    #[param(inline)]
    pub format: AdapterForm,
}

/// An adapter set in JSON form.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdapterBody {
    /// `theta.{i}`, or the matrices by PEFT's names.
    #[schema(value_type = BTreeMap<String, TensorJson>)]
    pub tensors: TensorMap,
}

/// Two numbers from 0 to below 1.
fn betas() -> Schema {
    let beta = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0.0)).exclusive_maximum(Some(1.0));
    let both = ArrayBuilder::new().items(beta).min_items(Some(2)).max_items(Some(2)).examples([json!([0.9, 0.999])]);
    both.description(Some("Decay of the two moments.")).into()
}

/// Scalars by name.
fn metrics() -> Schema {
    let value = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(-1e300)).maximum(Some(1e300));
    let map = schemas::map(schemas::text(1, 64), value);
    map.description(Some("Name and value.")).examples([json!({"learning_rate": 0.001})]).into()
}

/// Metrics that the client chose to report. Scalars only.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsBody {
    /// The client's own step counter.
    pub step: u64,
    /// Name and value.
    #[schema(schema_with = metrics)]
    pub metrics: BTreeMap<String, f64>,
}
