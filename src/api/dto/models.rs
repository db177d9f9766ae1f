//! Models, in OpenAI's shape.

use serde::Serialize;
use utoipa::ToSchema;

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
        }
    }
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
