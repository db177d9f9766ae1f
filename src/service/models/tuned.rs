//! Fine-tuned models. Owns their names and the adapters in their blobs; must never make one.

use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::models::AdapterBlobs;

/// The name of a fine-tuned model.
pub fn tuned_name(base_model: &str, project: ProjectId, suffix: Option<&str>, id: Uuid) -> String {
    format!("ft:{base_model}:{}:{}:{}", project.0.simple(), suffix.unwrap_or_default(), id.simple())
}

/// The flat vectors `theta.{set}` `[P]` in the blobs of a model or of a job's origin.
pub async fn read_adapters(context: &Context, adapters: &AdapterBlobs) -> Result<Vec<WireTensor>> {
    let mut sets = Vec::new();
    for (set, blob) in adapters.0.iter().enumerate() {
        let bytes = context.blobs.get_verified(blob).await?;
        let shape = vec![bytes.len() / Dtype::F32.size()];
        let theta = WireTensor::new(format!("theta.{set}"), Dtype::F32, shape, bytes);
        sets.push(theta.map_err(ServiceError::internal)?);
    }
    Ok(sets)
}

/// Refuses a suffix that a model's name cannot carry.
pub fn check_suffix(suffix: Option<&str>) -> Result<()> {
    let Some(suffix) = suffix else { return Ok(()) };
    let plain = suffix.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !(1..=64).contains(&suffix.len()) || !plain {
        let message = "suffix: 1 to 64 letters, digits, '-', '_' or '.'.";
        return Err(ServiceError::new(ErrorCode::InvalidSuffix, message).at("suffix"));
    }
    Ok(())
}
