//! What a project may store. Owns the one check of its quota and its words; what a project's own checkpoints need to go on is counted and
//! never refused. Must never delete anything.

use crate::domain::error_code::ErrorCode;
use crate::domain::ids::ProjectId;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::store::Connection;
use crate::store::projects;
use crate::store::storage;

/// Refuses so many bytes more where the project's quota has no room. The project is held for the rest of a transaction, so that two
/// calls at once do not both take the last room.
pub async fn check_room(context: &Context, connection: &mut Connection, project: ProjectId, more: u64) -> Result<()> {
    projects::hold(connection, project).await?;
    let most = context.limits.stored_bytes_per_project;
    let used = storage::used(connection, project).await?.unsigned_abs();
    if more <= most.saturating_sub(used) {
        return Ok(());
    }
    let message = format!(
        "{more} bytes more than the {used} that the project has stored, and limits.stored_bytes_per_project is {most}: delete files, \
         checkpoints or models."
    );
    Err(ServiceError::new(ErrorCode::StorageExceeded, message).at("limits.stored_bytes_per_project"))
}
