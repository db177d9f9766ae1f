//! What lives on the device thread: sessions, backbones and kept graphs. Owns what a failure costs there: a session, all
//! graphs, or nothing; must never wait.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use crate::domain::ids::JobId;
use crate::engine::accelerator;
use crate::engine::backbones::Backbones;
use crate::engine::interface::EngineError;
use crate::engine::retained_graphs::Leases;
use crate::engine::session::Session;

/// What lives on the device thread. Leases stand first: graphs are dropped before the sessions' backbones.
pub struct Host {
    /// Kept forwards.
    pub leases: Leases,
    /// Open sessions.
    pub sessions: HashMap<JobId, Session>,
    /// Backbones that sessions share.
    pub backbones: Backbones,
}

impl Host {
    /// Forgets a session and what was kept for it.
    pub fn discard(&mut self, job: JobId) {
        self.leases.forget(job);
        self.sessions.remove(&job);
    }
}

/// Runs work so that a panic or a failure of LibTorch costs no more than the session.
pub fn guarded<T>(
    host: &mut Host,
    job: JobId,
    work: impl FnOnce(&mut Host) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let result = caught(|| work(host));
    settle(host, job, &result);
    result
}

/// What a panic becomes.
pub fn caught<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(EngineError::Internal(format!("panicked: {}", text(panic.as_ref())))))
}

/// Draws the consequences of a failure: the session is gone, or all graphs are.
pub fn settle<T>(host: &mut Host, job: JobId, result: &Result<T, EngineError>) {
    match result {
        Err(EngineError::Internal(details)) => {
            tracing::error!(job.id = %job, "the engine discards the session of {job}: {details}");
            host.discard(job);
        }
        Err(EngineError::OutOfMemory) => {
            host.leases.evict_all();
            accelerator::trim(host.backbones.placement().device);
        }
        _ => {}
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
