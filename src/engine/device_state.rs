//! What lives on the device thread: sessions, backbones and retained graphs. Owns what a failure costs there: a session, all
//! graphs, or nothing; must never wait.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use crate::domain::ids::JobId;
use crate::engine::accelerator;
use crate::engine::backbones::Backbones;
use crate::engine::interface::EngineError;
use crate::engine::retained_graphs::RetainedGraphs;
use crate::engine::session::Session;

/// What lives on the device thread. Graphs stand first: they are dropped before the sessions' backbones.
pub struct DeviceState {
    /// Retained forwards, with their graphs.
    pub graphs: RetainedGraphs,
    /// Open sessions.
    pub sessions: HashMap<JobId, Session>,
    /// Backbones that sessions share.
    pub backbones: Backbones,
}

impl DeviceState {
    /// The session of a job.
    pub fn session(&self, job: JobId) -> Result<&Session, EngineError> {
        self.sessions.get(&job).ok_or(EngineError::NoSession)
    }

    /// The session of a job, to change it.
    pub fn session_mut(&mut self, job: JobId) -> Result<&mut Session, EngineError> {
        self.sessions.get_mut(&job).ok_or(EngineError::NoSession)
    }

    /// Forgets a session and what was retained for it.
    pub fn discard(&mut self, job: JobId) {
        self.graphs.forget_job(job);
        self.sessions.remove(&job);
    }

    /// Draws the consequences of a failure: the session is gone, or all graphs are.
    pub fn contain_failure<T>(&mut self, job: JobId, result: &Result<T, EngineError>) {
        match result {
            Err(EngineError::Internal(details)) => {
                tracing::error!(job.id = %job, "the engine discards the session of {job}: {details}");
                self.discard(job);
            }
            Err(EngineError::OutOfMemory) => {
                self.graphs.evict_all();
                accelerator::trim(self.backbones.device());
            }
            _ => {}
        }
    }
}

/// Runs work for a job so that a panic or a failure of LibTorch costs no more than its session.
pub fn guarded<T>(
    state: &mut DeviceState,
    job: JobId,
    work: impl FnOnce(&mut DeviceState) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let result = catch_panic(|| work(state));
    state.contain_failure(job, &result);
    result
}

/// Makes a panic an error.
pub fn catch_panic<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(EngineError::Internal(format!("panicked: {}", message_of(panic.as_ref())))))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
