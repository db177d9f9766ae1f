//! Where bodies become requests. Owns that a large one is read off the async threads, few at a time and few of one project; must never
//! know what is in one.

use crate::api::error::ApiError;
use crate::api::state::App;
use crate::domain::ids::ProjectId;
use crate::service::ServiceError;

/// A body of this size is read where it came: it takes less time than a change of threads.
const SMALL: usize = 64 * 1024;

/// Reads a body of so many bytes, when it is the project's turn.
pub async fn in_turn<T: Send + 'static>(
    app: &App,
    project: ProjectId,
    bytes: usize,
    read: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if bytes <= SMALL {
        return read();
    }
    let turn = app.processor_turns.take(project).await;
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        read()
    });
    reading.await.map_err(ServiceError::internal)?
}
