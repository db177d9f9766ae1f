//! The way back to who asked something of the device. Owns that a caller who left is no error.

use tokio::sync::oneshot;

use crate::engine::interface::EngineError;

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

/// Answers; the caller may have left meanwhile.
pub fn answer<T>(reply: Reply<T>, result: Result<T, EngineError>) {
    let _ = reply.send(result); // whoever left needs none
}
