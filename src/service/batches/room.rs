//! What a project has left for batches: of this month's budgets, and of storage. Owns the words in which both are refused, when a batch
//! is made and before each of its pieces.

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::KeyId;
use crate::domain::ids::ProjectId;
use crate::service::access::budgets;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::files::STORED;
use crate::store::Connection;
use crate::store::features;

/// Why no request of the project may be answered now; `None` where it may.
pub async fn refusal(
    context: &Context,
    connection: &mut Connection,
    project: ProjectId,
    key: KeyId,
) -> Result<Option<ServiceError>> {
    if let Some(budget) = budgets::spent(connection, project, key).await? {
        let message = format!("The budget for this month is spent ({budget}).");
        return Ok(Some(ServiceError::new(ErrorCode::InsufficientQuota, message).at(budget)));
    }
    let most = context.limits.feature_bytes_per_project;
    let stored = features::stored_bytes(connection, project, &STORED).await?.unsigned_abs();
    if stored < most {
        return Ok(None);
    }
    let message = format!(
        "The project has {stored} of {most} bytes stored or promised (limits.feature_bytes_per_project). Delete result files."
    );
    Ok(Some(ServiceError::new(ErrorCode::StorageExceeded, message).at("limits.feature_bytes_per_project")))
}
