//! Jobs and their events, in OpenAI's shape with the methods `split` and `features`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Number;
use serde_json::Value;
use serde_json::json;
use utoipa::PartialSchema;
use utoipa::ToSchema;
use utoipa::openapi::OneOfBuilder;
use utoipa::openapi::RefOr;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::Object;
use utoipa::openapi::schema::ObjectBuilder;
use utoipa::openapi::schema::Type;

use crate::api::dto::methods::Method;
use crate::api::dto::methods::MethodChoice;
use crate::api::dto::methods::choice_of;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::FileId;
use crate::domain::limits::LARGEST_NUMBER;
use crate::domain::protection::Protection;
use crate::domain::schemas;
use crate::service::JobView;
use crate::service::NewJob;
use crate::service::Result;
use crate::service::ServiceError;

/// Up to 16 pairs of text.
pub fn metadata() -> Schema {
    let map = schemas::map_or_null(schemas::map(schemas::text(1, 64), schemas::text(0, 512))).max_properties(Some(16));
    map.description(Some("Up to 16 key-value pairs of your own.")).examples([json!({"team": "radiology"})]).into()
}

/// A number, or the word `auto`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(untagged)]
pub enum AutoOrNumber {
    /// A number, more than zero.
    Number(Number),
    /// `auto`.
    Word(Auto),
}

impl PartialSchema for AutoOrNumber {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0.0)).maximum(Some(1e300));
        let word = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["auto"]));
        let either = OneOfBuilder::new().item(number).item(word);
        either.description(Some("A number, more than zero, or the word `auto`.")).into()
    }
}

impl ToSchema for AutoOrNumber {}

/// The word.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// The label holder's loop decides.
    Auto,
}

/// OpenAI's hyperparameters, for the client's own records: the label holder's loop decides them.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hyperparameters {
    /// Passes over the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_epochs: Option<AutoOrNumber>,
    /// Rows of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<AutoOrNumber>,
    /// Factor on the learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate_multiplier: Option<AutoOrNumber>,
}

impl Hyperparameters {
    fn check(&self) -> Result<()> {
        let fields = [
            ("n_epochs", &self.n_epochs),
            ("batch_size", &self.batch_size),
            ("learning_rate_multiplier", &self.learning_rate_multiplier),
        ];
        for (name, value) in fields {
            let good = match value {
                None | Some(AutoOrNumber::Word(Auto::Auto)) => true,
                Some(AutoOrNumber::Number(number)) => {
                    number.as_f64().is_some_and(|number| number > 0.0 && number <= LARGEST_NUMBER)
                }
            };
            if !good {
                let place = format!("hyperparameters.{name}");
                let message = format!("{place}: a positive number of at most 1e300, or 'auto'.");
                return Err(ServiceError::new(ErrorCode::InvalidHyperparameter, message).at(place));
            }
        }
        Ok(())
    }
}

fn only_null() -> Object {
    schemas::only_null(Type::String, "Only null: validation happens at the label holder.")
}

/// A job to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateJob {
    /// Name of a backbone, or of a fine-tuned model or checkpoint (`fine_tuned_model_checkpoint`) of the project to start from.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub model: String,
    /// Id of an uploaded file, for steps that name rows of it.
    pub training_file: Option<String>,
    /// How to fine-tune; method `split` with its defaults when absent.
    pub method: Option<MethodChoice>,
    /// Stored and returned; the host does not read them.
    pub hyperparameters: Option<Hyperparameters>,
    /// Only null: validation happens at the label holder.
    #[schema(schema_with = only_null)]
    pub validation_file: Option<String>,
    /// Only null or empty.
    #[schema(value_type = Option<Vec<Object>>, max_items = 0)]
    pub integrations: Option<Vec<Value>>,
    /// Part of the fine-tuned model's name.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$", example = "night-shift")]
    pub suffix: Option<String>,
    /// Seed of the adapters' initial values and of dropout.
    #[schema(minimum = -9007199254740991)]
    pub seed: Option<i64>,
    /// Up to 16 key-value pairs of your own.
    #[schema(schema_with = metadata)]
    pub metadata: Option<BTreeMap<String, String>>,
    /// Class of protection that you declare for the labels; stored and shown, the host does not check it. A features job is `blind`
    /// where nothing else is declared.
    pub protection: Option<Protection>,
}

impl TryFrom<CreateJob> for NewJob {
    type Error = ServiceError;

    fn try_from(body: CreateJob) -> Result<Self> {
        let method = choice_of(body.method)?;
        if body.validation_file.is_some() {
            let message = "validation_file: only null. Validation needs labels, which stay with you: run forward with train=false.";
            return Err(ServiceError::new(ErrorCode::UnsupportedField, message).at("validation_file"));
        }
        if body.integrations.is_some_and(|list| !list.is_empty()) {
            let message =
                "integrations: only null or []. This host sends nothing elsewhere; report from your own loop.";
            return Err(ServiceError::new(ErrorCode::UnsupportedField, message).at("integrations"));
        }
        let hyperparameters = match &body.hyperparameters {
            Some(given) => {
                given.check()?;
                serde_json::to_value(given).map_err(ServiceError::internal)?
            }
            None => json!({}),
        };
        let file = body
            .training_file
            .map(|id| id.parse::<FileId>().map_err(|_| ServiceError::not_found("file", &id).at("training_file")));
        Ok(Self {
            model: body.model,
            training_file: file.transpose()?,
            suffix: body.suffix,
            seed: body.seed,
            metadata: body.metadata,
            hyperparameters,
            method,
            protection: body.protection,
        })
    }
}

/// Why a job failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobError {
    /// A stable code for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The field at fault.
    #[schema(required)]
    pub param: Option<String>,
}

/// Progress of a split job.
#[derive(Debug, Serialize, ToSchema)]
pub struct SplitState {
    /// The seq that the next step call must carry.
    pub next_seq: i64,
    /// The newest seq that survives a crash of the host (host custody).
    pub durable_seq: i64,
    /// Optimizer steps taken (host custody).
    pub optimizer_steps: i64,
    /// Width H of the activations.
    #[schema(required)]
    pub hidden_size: Option<i64>,
    /// Length P of a set's flat adapter vector; known after the first step call.
    #[schema(required)]
    pub adapter_parameters: Option<i64>,
    /// Most tokens in one input.
    #[schema(required)]
    pub max_tokens: Option<i64>,
}

/// Progress of a features job.
#[derive(Debug, Serialize, ToSchema)]
pub struct FeaturesState {
    /// Rows of the training file.
    pub rows: i64,
    /// Rows whose features are in `result_files`.
    pub rows_done: i64,
    /// Size of these files.
    pub bytes: i64,
    /// Bytes of features of all rows, as counted when the job was made; headers come on top.
    pub expected_bytes: i64,
    /// Width of the backbone's hidden states.
    #[schema(required)]
    pub hidden_size: Option<i64>,
}

/// A fine-tuning run.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobObject {
    /// Id, `ftjob-...`.
    pub id: String,
    /// Always `fine_tuning.job`.
    #[schema(example = "fine_tuning.job")]
    pub object: &'static str,
    /// When it was made, seconds since 1970.
    pub created_at: i64,
    /// Why it failed; null when it did not.
    #[schema(required)]
    pub error: Option<JobError>,
    /// Name of the model it became.
    #[schema(required)]
    pub fine_tuned_model: Option<String>,
    /// When it ended, seconds since 1970.
    #[schema(required)]
    pub finished_at: Option<i64>,
    /// When its newest call or shard was committed, seconds since 1970; null before the first.
    #[schema(required)]
    pub last_call_at: Option<i64>,
    /// As they were sent; the label holder's loop decides them.
    #[schema(value_type = Object)]
    pub hyperparameters: Value,
    /// The key that made it.
    pub key_id: String,
    /// Name that the job was made with.
    pub model: String,
    /// Name of the fine-tuned model or checkpoint that it started from.
    #[schema(required)]
    pub origin: Option<String>,
    /// The project, in OpenAI's words.
    pub organization_id: String,
    /// Ids of what came of it: of a features job its shards in the order of their rows, as they are written; then `step_metrics.csv`,
    /// once the job is over, where metrics were reported.
    pub result_files: Vec<String>,
    /// Always null: the label holder's loop decides.
    #[schema(required)]
    pub estimated_finish: Option<i64>,
    /// Always null.
    #[schema(required, value_type = Option<Vec<Object>>)]
    pub integrations: Option<Vec<Value>>,
    /// `validating_files`, `queued`, `running`, `paused`, `succeeded`, `failed` or `cancelled`.
    #[schema(example = "running")]
    pub status: String,
    /// Of a queued job: its place among the project's queued jobs, 1 for the next that runs.
    #[schema(required)]
    pub queue_position: Option<i64>,
    /// What it waits for, as a sentence for people; null when it is over.
    #[schema(required)]
    pub status_details: Option<&'static str>,
    /// Tokens read in training forwards.
    #[schema(required)]
    pub trained_tokens: Option<i64>,
    /// Bytes of bodies that its calls brought in.
    pub bytes_in: i64,
    /// Bytes of tensors that went out.
    pub bytes_out: i64,
    /// Time of the device, waiting for it not included, in seconds.
    pub device_seconds: f64,
    /// The inputs; null when steps carry their own.
    #[schema(required)]
    pub training_file: Option<String>,
    /// Always null: validation happens at the label holder.
    #[schema(required)]
    pub validation_file: Option<String>,
    /// Seed of the adapters' initial values and of dropout.
    pub seed: i64,
    /// Part of the fine-tuned model's name.
    #[schema(required)]
    pub user_provided_suffix: Option<String>,
    /// The client's own key-value pairs.
    #[schema(required, value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// The method and its settings.
    pub method: Method,
    /// Class of protection of the labels, as the client declared it; the host does not check it.
    #[schema(required)]
    pub protection: Option<Protection>,
    /// State of a split job; null for other methods.
    #[schema(required)]
    pub split: Option<SplitState>,
    /// State of a features job; null for other methods.
    #[schema(required)]
    pub features: Option<FeaturesState>,
}

fn method_of(row: &JobView) -> Method {
    match &row.features {
        Some(settings) => Method { kind: "features".into(), split: None, features: Some(settings.clone()) },
        None => Method { kind: "split".into(), split: Some(row.settings.clone()), features: None },
    }
}

fn split_state(row: &JobView) -> Option<SplitState> {
    row.features.is_none().then_some(SplitState {
        next_seq: row.next_seq,
        durable_seq: row.durable_seq,
        optimizer_steps: row.optimizer_steps,
        hidden_size: row.hidden_size,
        adapter_parameters: row.adapter_parameters,
        max_tokens: row.max_tokens,
    })
}

fn features_state(row: &JobView) -> Option<FeaturesState> {
    row.rows_total.map(|rows| FeaturesState {
        rows,
        rows_done: row.rows_done,
        bytes: row.result_bytes,
        expected_bytes: row.expected_bytes,
        hidden_size: row.hidden_size,
    })
}

impl From<JobView> for JobObject {
    fn from(row: JobView) -> Self {
        let (method, split, features) = (method_of(&row), split_state(&row), features_state(&row));
        let [bytes_in, bytes_out, device_us] =
            row.used.as_deref().and_then(|used| used.try_into().ok()).unwrap_or_default();
        let error = row.error.map(|error| JobError { code: error.code, message: error.message, param: error.param });
        Self {
            id: row.id.to_string(),
            object: "fine_tuning.job",
            created_at: row.created_at.unix_timestamp(),
            error,
            fine_tuned_model: row.fine_tuned_model,
            finished_at: row.finished_at.map(|at| at.unix_timestamp()),
            last_call_at: row.last_step_at.map(|at| at.unix_timestamp()),
            hyperparameters: row.hyperparameters,
            key_id: row.key.to_string(),
            model: row.model_name,
            origin: row.origin.map(|origin| origin.name),
            organization_id: row.project.to_string(),
            result_files: row.result_files.iter().map(ToString::to_string).collect(),
            estimated_finish: None,
            integrations: None,
            status: row.status.to_string(),
            queue_position: row.queue_position,
            status_details: row.status.waits_for(row.features.is_none()),
            trained_tokens: Some(row.trained_tokens),
            bytes_in,
            bytes_out,
            device_seconds: device_us as f64 / 1e6,
            training_file: row.training_file.map(|id| id.to_string()),
            validation_file: None,
            seed: row.seed,
            user_provided_suffix: row.suffix,
            metadata: row.metadata.map(|pairs| json!(pairs.0)),
            method,
            protection: row.protection,
            split,
            features,
        }
    }
}
