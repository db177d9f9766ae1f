//! Activations and embeddings. Embeddings have OpenAI's shape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::ObjectBuilder;
use utoipa::openapi::OneOfBuilder;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::Object;
use utoipa::openapi::schema::Type;

use crate::api::dto::forms::Form;
use crate::api::dto::forms::no_form;
use crate::api::dto::inputs::InputJson;
use crate::api::dto::steps::AdaptersJson;
use crate::api::dto::steps::TensorJson;
use crate::api::dto::steps::TensorMap;
use crate::api::dto::steps::encode_all;
use crate::domain::adapter_selection::AdapterSelection;
use crate::domain::error_code::ErrorCode;
use crate::domain::feature_choice::BadTaps;
use crate::domain::feature_choice::LevelChoice;
use crate::domain::schemas;
use crate::domain::settings::Pooling;
use crate::domain::taps::TapChoice;
use crate::domain::taps::TapDtype;
use crate::domain::taps::TokenPick;
use crate::domain::taps::TokenPicks;
use crate::service::ActivationsRequest;
use crate::service::Embeddings;
use crate::service::InferenceAnswer;
use crate::service::Result;
use crate::service::ServiceError;

fn only_null() -> Object {
    schemas::only_null(Type::Integer, "Only null: an activation has the width that it has.")
}

/// Levels of hidden states: `all`, some by number, or how many.
#[derive(Debug, Clone)]
pub enum LayersJson {
    /// `all`.
    Word(String),
    /// Levels.
    Levels(Vec<i64>),
    /// How many, evenly spaced.
    Count(i64),
}

impl<'de> Deserialize<'de> for LayersJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(word) => Ok(Self::Word(word)),
            Form::Numbers(levels) => Ok(Self::Levels(levels)),
            Form::Number(count) => Ok(Self::Count(count)),
            _ => Err(no_form("LayersJson")),
        }
    }
}

impl LayersJson {
    fn read(self) -> Result<LevelChoice> {
        match self {
            Self::Word(word) if word == "all" => Ok(LevelChoice::default()),
            Self::Word(word) => {
                let reason = format!("must be all, a list of levels, or how many of them, not '{word}'");
                Err(BadTaps { field: "layers", reason }.into())
            }
            Self::Levels(levels) => Ok(LevelChoice::List(levels)),
            Self::Count(count) => Ok(LevelChoice::Count(count)),
        }
    }
}

impl PartialSchema for LayersJson {
    fn schema() -> RefOr<Schema> {
        let all = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["all"]));
        let forms = OneOfBuilder::new()
            .item(all)
            .item(schemas::some(schemas::count(), MOST_LEVELS))
            .item(schemas::count().minimum(Some(1)));
        forms.description(Some("Levels of hidden states: `all`, a list in ascending order, or how many.")).into()
    }
}

impl ToSchema for LayersJson {}

/// Whose hidden states: `all` tokens', or one pick or more.
#[derive(Debug, Clone)]
pub enum TokensJson {
    /// `all`, or a pick.
    Word(String),
    /// Picks.
    Words(Vec<String>),
}

impl<'de> Deserialize<'de> for TokensJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(word) => Ok(Self::Word(word)),
            Form::Texts(words) => Ok(Self::Words(words.kept)),
            Form::Numbers(none) if none.is_empty() => Ok(Self::Words(Vec::new())),
            _ => Err(no_form("TokensJson")),
        }
    }
}

impl TokensJson {
    fn read(self) -> Result<TokenPicks> {
        let words = match self {
            Self::Word(word) => vec![word],
            Self::Words(words) => words,
        };
        Ok(TokenPicks::read(&words)?)
    }
}

impl PartialSchema for TokensJson {
    fn schema() -> RefOr<Schema> {
        let picks = || TokenPick::ALL.into_iter().map(TokenPick::name);
        let words = |words: Vec<&'static str>| ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
        let forms = OneOfBuilder::new()
            .item(words(std::iter::once("all").chain(picks()).collect()))
            .item(schemas::some(words(picks().collect()), TokenPick::ALL.len()).unique_items(true));
        forms.description(Some("Whose hidden states: `all` tokens', or one vector an input for each pick.")).into()
    }
}

impl ToSchema for TokensJson {}

/// Most levels that the contract speaks of; a backbone's own are fewer.
const MOST_LEVELS: usize = 1024;

/// A call for activations.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivationsBody {
    /// A backbone, or a fine-tuned model of the project.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub model: String,
    /// The inputs. One that is longer than the model takes is refused.
    #[schema(example = json!(["The scan shows no change.", "A second input."]))]
    pub input: InputJson,
    /// Adapter sets of a fine-tuned model; default all.
    pub adapters: Option<AdaptersJson>,
    /// Whether the bare backbone's activations are wanted too; default false. A backbone gives them always.
    pub base: Option<bool>,
    /// Another cut than the model's own.
    pub pooling: Option<Pooling>,
    /// Hidden states of these levels of a backbone, in place of its activations. Level 0 is the embeddings' output, level l that of layer l,
    /// as transformers' `output_hidden_states` counts them (of an encoder and decoder: the encoder's levels, then the decoder's). `all`, a
    /// list in ascending order, or how many: so many are spaced evenly, the last one included. Default `all` when `tokens` is given.
    pub layers: Option<LayersJson>,
    /// Whose hidden states: `all` tokens', or one vector an input for each of `cls` (the first token), `mean`, `max` and `last`. Default
    /// `all` when `layers` is given.
    pub tokens: Option<TokensJson>,
    /// Element type of hidden states; default `float32`. An `int8` has a scale for each feature.
    pub dtype: Option<TapDtype>,
    /// Id of a features job, in place of the fields above: the same features of these inputs, made with the job's levels, tokens, element
    /// type, projection and scales. `model` is the job's.
    #[schema(example = "ftjob-0199c6c1d2b07d6a8f1e2d3c4b5a6978")]
    pub like: Option<String>,
}

impl ActivationsBody {
    /// The hidden states that it asks for, if it does; refuses them beside what is for activations.
    fn taps(&mut self) -> Result<Option<TapChoice>> {
        let refuse = |field: &str, reason: &str| {
            Err(ServiceError::new(ErrorCode::InvalidSetting, format!("{field}: {reason}.")).at(field))
        };
        if self.like.is_some() {
            return match self.beside_like() {
                None => Ok(None),
                Some(field) => refuse(field, "the features job that like names says it; leave it out"),
            };
        }
        if self.layers.is_none() && self.tokens.is_none() {
            return match self.dtype {
                None => Ok(None),
                Some(_) => refuse("dtype", "is of hidden states; ask for them with layers or tokens"),
            };
        }
        let others =
            [("pooling", self.pooling.is_some()), ("adapters", self.adapters.is_some()), ("base", self.base.is_some())];
        if let Some((field, _)) = others.into_iter().find(|(_, is_set)| *is_set) {
            return refuse(field, "is of activations; leave it out where layers or tokens ask for hidden states");
        }
        let layers = self.layers.take().map_or(Ok(LevelChoice::default()), LayersJson::read)?;
        let tokens = self.tokens.take().map_or(Ok(TokenPicks::All), TokensJson::read)?;
        Ok(Some(TapChoice { layers, tokens, dtype: self.dtype.unwrap_or_default(), transform: None }))
    }

    /// A field that cannot stand beside `like`.
    fn beside_like(&self) -> Option<&'static str> {
        let fields = [
            ("layers", self.layers.is_some()),
            ("tokens", self.tokens.is_some()),
            ("dtype", self.dtype.is_some()),
            ("pooling", self.pooling.is_some()),
            ("adapters", self.adapters.is_some()),
            ("base", self.base.is_some()),
        ];
        fields.into_iter().find_map(|(field, is_set)| is_set.then_some(field))
    }
}

impl TryFrom<ActivationsBody> for ActivationsRequest {
    type Error = ServiceError;

    fn try_from(mut body: ActivationsBody) -> Result<Self> {
        let taps = body.taps()?;
        let adapters = match body.adapters {
            None => None,
            Some(AdaptersJson::Word(word)) => Some(word.parse()?),
            Some(AdaptersJson::Sets(sets)) => Some(AdapterSelection::Some(sets)),
        };
        let inputs = body.input.read()?;
        let job = |id: String| id.parse().map_err(|_| ServiceError::not_found("fine-tuning job", &id).at("like"));
        let like = body.like.map(job).transpose()?;
        let request = Self::plain(body.model, inputs);
        Ok(Self { adapters, base: body.base, pooling: body.pooling, taps, like, ..request })
    }
}

/// Tokens of a call.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct TokenUsage {
    /// Tokens of the inputs.
    #[schema(example = 8)]
    pub prompt_tokens: usize,
    /// The same: nothing is generated.
    #[schema(example = 8)]
    pub total_tokens: usize,
}

impl TokenUsage {
    /// So many tokens.
    pub fn of(tokens: usize) -> Self {
        Self { prompt_tokens: tokens, total_tokens: tokens }
    }
}

/// Answer to a call for activations.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActivationsAnswer {
    /// Always `activations`.
    #[schema(example = "activations")]
    pub object: &'static str,
    /// The model.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub model: String,
    /// `h.{i}` by adapter set and `h.base`: F32 `[B, H]`; with pooling `none` `[N, H]` and `lengths` I64 `[B]`. Hidden states by level l:
    /// `hidden.{l}` `[N, H]` and `lengths`, or `hidden.{l}.{pick}` `[B, H]`; in int8 each with its `.scale` F32 `[H]`, and a value is the
    /// integer times the scale of its feature.
    #[schema(value_type = std::collections::BTreeMap<String, TensorJson>)]
    pub tensors: TensorMap,
    /// Tokens of the call.
    pub usage: TokenUsage,
}

impl From<InferenceAnswer> for ActivationsAnswer {
    fn from(answer: InferenceAnswer) -> Self {
        Self {
            object: "activations",
            model: answer.model,
            tensors: encode_all(&answer.tensors),
            usage: TokenUsage::of(answer.tokens),
        }
    }
}

/// A call for embeddings, as OpenAI has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingsBody {
    /// A backbone, or a fine-tuned model of the project.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub model: String,
    /// The inputs. One that is longer than the model takes is refused.
    #[schema(example = "The scan shows no change.")]
    pub input: InputJson,
    /// `float` (the default), or `base64`: little-endian 32-bit floats.
    #[schema(example = "float", pattern = "^(float|base64)$")]
    pub encoding_format: Option<String>,
    /// Must be absent or null: an activation has the width that it has.
    #[schema(schema_with = only_null)]
    pub dimensions: Option<i64>,
    /// Accepted for compatibility; ignored.
    pub user: Option<String>,
}

/// How vectors are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Numbers.
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

/// Bytes that a 32-bit float takes in JSON, at most, by the four that it has.
const DECIMAL: u64 = 4;

impl Encoding {
    /// Bytes of tensors that take as much room in a body as vectors of so many bytes.
    pub fn bytes(self, vectors: u64) -> u64 {
        match self {
            Self::Float => vectors.saturating_mul(DECIMAL),
            Self::Base64 => vectors,
        }
    }
}

impl EmbeddingsBody {
    /// How the vectors are wanted; refuses what OpenAI's models can do and activations cannot.
    pub fn encoding(&self) -> Result<Encoding> {
        if self.dimensions.is_some() {
            let message = "dimensions: an activation cannot be shortened; leave it out.";
            return Err(ServiceError::new(ErrorCode::UnsupportedDimensions, message).at("dimensions"));
        }
        match self.encoding_format.as_deref() {
            None | Some("float") => Ok(Encoding::Float),
            Some("base64") => Ok(Encoding::Base64),
            Some(other) => {
                let message = format!("encoding_format: must be float or base64, not '{other}'.");
                Err(ServiceError::new(ErrorCode::InvalidEncodingFormat, message).at("encoding_format"))
            }
        }
    }
}

/// A vector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Vector {
    /// Numbers.
    Floats(Vec<f32>),
    /// Little-endian 32-bit floats in base64.
    Base64(String),
}

/// The vector of one input.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingObject {
    /// Always `embedding`.
    #[schema(example = "embedding")]
    pub object: &'static str,
    /// Place of the input in the call.
    pub index: usize,
    /// The activation at the model's cut, not normalized; of a fine-tuned model those of all sets side by side, `[n * H]`.
    #[schema(example = json!([0.12, -0.5]))]
    pub embedding: Vector,
}

/// Answer to a call for embeddings.
#[derive(Debug, Serialize, ToSchema)]
pub struct EmbeddingsAnswer {
    /// Always `list`.
    #[schema(example = "list")]
    pub object: &'static str,
    /// One vector an input, in their order.
    pub data: Vec<EmbeddingObject>,
    /// The model.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub model: String,
    /// Tokens of the call.
    pub usage: TokenUsage,
}

impl EmbeddingsAnswer {
    /// In the form asked for.
    pub fn new(embeddings: Embeddings, encoding: Encoding) -> Self {
        let write = |values: Vec<f32>| match encoding {
            Encoding::Float => Vector::Floats(values),
            Encoding::Base64 => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                Vector::Base64(STANDARD.encode(bytes))
            }
        };
        let object = |(index, values)| EmbeddingObject { object: "embedding", index, embedding: write(values) };
        let Embeddings { vectors, answer } = embeddings;
        Self {
            object: "list",
            data: vectors.into_iter().enumerate().map(object).collect(),
            model: answer.model,
            usage: TokenUsage::of(answer.tokens),
        }
    }
}
