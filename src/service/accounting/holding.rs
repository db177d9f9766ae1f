//! What a session, a kept answer and a body on its way out hold, in bytes of the budgets. Owns these sizes, which the estimate names too,
//! and the words where there is no room; must never hold anything itself.

use crate::domain::held_bytes::Held;
use crate::domain::held_bytes::Holder;
use crate::domain::held_bytes::session_bytes;
use crate::domain::held_bytes::values_bytes;
use crate::domain::ids::ProjectId;
use crate::domain::settings::SplitSettings;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;

/// What an answer holds beside its tensors.
const ENTRY: u64 = 1024;
/// What a body has beside its tensors: names, shapes, scalars.
const HEAD: u64 = 64 * 1024;

/// Bytes of an answer that is kept, with so many bytes of tensors.
pub fn kept_bytes(tensors: u64) -> u64 {
    tensors.saturating_add(ENTRY)
}

/// Bytes of a body with so many bytes of tensors: in JSON a third more.
pub fn body_bytes(tensors: u64) -> u64 {
    tensors.saturating_add(tensors / 3).saturating_add(HEAD)
}

/// Bytes that a session with these settings holds, where an adapter set has so many parameters.
pub fn bytes_of_session(context: &Context, settings: &SplitSettings, parameters: usize) -> u64 {
    let values = values_bytes(settings.adapter_sets, parameters);
    session_bytes(settings.custody, values, context.limits.held_bytes_per_job)
}

/// Takes the bytes that a session will hold, before it is loaded.
pub fn hold_session(context: &Context, holder: Holder, settings: &SplitSettings, parameters: usize) -> Result<Held> {
    let held = context.held.take(holder, bytes_of_session(context, settings, parameters));
    let hint = "the adapters take them; fewer adapter sets or a lower rank take less, and the end or a pause of another job of the \
                project gives room";
    held.map_err(|exceeded| ServiceError::too_much_held(exceeded, hint))
}

/// Takes the bytes of an answer to a call of no job, until it was read.
pub fn hold_body(context: &Context, project: ProjectId, tensors: u64) -> Result<Held> {
    let held = context.held.take(Holder { project, job: None }, body_bytes(tensors));
    let hint = "send fewer inputs in a call, or read the answers that are under way";
    held.map_err(|exceeded| ServiceError::too_much_held(exceeded, hint))
}
