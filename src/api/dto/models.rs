//! Models, in OpenAI's shape.

use serde::Deserialize;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa::ToSchema;
use utoipa::openapi::ArrayBuilder;
use utoipa::openapi::Schema;

use crate::domain::schemas;
use crate::domain::settings::Pooling;
use crate::service::ModelRow;

/// A backbone or a fine-tuned model.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelObject {
    /// Name, to be used as `model` when a job is made.
    #[schema(example = "all-MiniLM-L6-v2")]
    pub id: String,
    /// Always `model`.
    #[schema(example = "model")]
    pub object: &'static str,
    /// When it was added, seconds since 1970.
    pub created: i64,
    /// Who owns it.
    pub owned_by: String,
    /// Family of the backbone, `bert` for example.
    pub family: String,
    /// Width H of the activations.
    pub hidden_size: i64,
    /// Most tokens in one input.
    pub max_tokens: i64,
    /// Number of parameters of the backbone.
    pub parameters: i64,
    /// Of a fine-tuned model: the backbone that its adapters go on.
    #[schema(required)]
    pub base_model: Option<String>,
    /// Of a fine-tuned model: its number of adapter sets.
    #[schema(required)]
    pub adapter_sets: Option<usize>,
    /// Of a fine-tuned model: where the backbone is cut.
    #[schema(required)]
    pub pooling: Option<Pooling>,
}

impl From<ModelRow> for ModelObject {
    fn from(row: ModelRow) -> Self {
        Self {
            id: row.name,
            object: "model",
            created: row.created_at.unix_timestamp(),
            owned_by: row.owned_by,
            family: row.family,
            hidden_size: row.hidden_size,
            max_tokens: row.max_tokens,
            parameters: row.parameters,
            adapter_sets: row.base_name.is_some().then_some(row.adapters.0.len()),
            base_model: row.base_name,
            pooling: row.settings.map(|settings| settings.cut()),
        }
    }
}

fn files(media: &str, description: &str) -> Schema {
    let file = schemas::some_text().content_media_type(media);
    ArrayBuilder::new().items(file).min_items(Some(1)).max_items(Some(8)).description(Some(description)).into()
}

fn configs() -> Schema {
    files("application/json", "`adapter_config.json`: plain LoRA.")
}

fn weights() -> Schema {
    files("application/octet-stream", "`adapter_model.safetensors`, in float32.")
}

/// PEFT folders to import as a model. `config` and `weights` come once for each adapter set, in order.
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct AdapterUpload {
    /// Name of the backbone.
    #[schema(example = "all-MiniLM-L6-v2")]
    base_model: String,
    /// Part of the model's name.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[A-Za-z0-9._-]+$",
        nullable = false,
        example = "night-shift"
    )]
    suffix: Option<String>,
    /// Where the backbone is cut; the family's own cut when absent.
    #[schema(nullable = false)]
    pooling: Option<Pooling>,
    /// `adapter_config.json`: plain LoRA.
    #[schema(schema_with = configs)]
    config: Vec<Vec<u8>>,
    /// `adapter_model.safetensors`, in float32.
    #[schema(schema_with = weights)]
    weights: Vec<Vec<u8>>,
}

/// Which adapter sets of a folder.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct FolderQuery {
    /// Only this set, its two files at the top; all sets, each in a folder of its own, when absent.
    pub set: Option<usize>,
}

/// The models that a project sees.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelList {
    /// Always `list`.
    pub object: &'static str,
    /// The models.
    pub data: Vec<ModelObject>,
    /// Always false: this list is never paged.
    pub has_more: bool,
}
