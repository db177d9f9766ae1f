//! Whether adapters give activations at all. Owns the one short pass that tells, before a model is made of them; must never keep anything
//! of it.

use std::path::PathBuf;

use uuid::Uuid;

use crate::domain::error_code::ErrorCode;
use crate::domain::held_bytes::Holder;
use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::domain::settings::SplitSettings;
use crate::domain::tensor::WireTensor;
use crate::engine::EngineError;
use crate::engine::ForwardCall;
use crate::engine::Inputs;
use crate::engine::Place;
use crate::engine::SessionInfo;
use crate::engine::SessionSpec;
use crate::engine::Start;
use crate::service::accounting::holding::hold_session;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::error::ServiceError;

/// Tokens of the pass.
const TOKENS: usize = 8;

/// Adapters of no job yet.
pub struct Candidate {
    /// Whose.
    pub project: ProjectId,
    /// Folder of the backbone.
    pub folder: PathBuf,
    /// Their settings.
    pub settings: SplitSettings,
    /// Values of each set.
    pub values: Vec<WireTensor>,
}

/// Refuses adapters whose activations are not finite, in a session of their own.
pub async fn check_candidate(context: &Context, candidate: Candidate) -> Result<()> {
    let Candidate { project, folder, settings, values } = candidate;
    let (job, sets) = (JobId(Uuid::now_v7()), settings.adapter_sets);
    let parameters = values.first().map_or(0, WireTensor::len);
    let _held = hold_session(context, Holder { project, job: Some(job) }, &settings, parameters)?;
    let spec = SessionSpec { job, project, folder, seed: 0, settings, start: Start::Adapters(values) };
    let info = context.engine.load(spec).await?;
    let checked = check_session(context, job, &info, sets).await;
    context.engine.close(job).await;
    checked
}

/// Refuses the adapters of an open session whose activations are not finite.
pub async fn check_session(context: &Context, job: JobId, info: &SessionInfo, sets: usize) -> Result<()> {
    let call = ForwardCall {
        keep: None,
        random: 0,
        inputs: Inputs::Tokens { ids: vec![some_tokens(info)], types: None },
        adapters: (0..sets).collect(),
        base: false,
        theta: Vec::new(),
        taps: None,
        payer: None,
    };
    match context.engine.forward(job, call).await {
        Err(EngineError::Invalid { place: Place::Tensor(name), reason }) => {
            let message = format!("No model is made of these adapters: {name} {reason}.");
            Err(ServiceError::new(ErrorCode::TensorInvalid, message).at(name))
        }
        done => Ok(done.map(drop)?),
    }
}

/// A few tokens of the vocabulary; the last is the one at which the family is cut.
fn some_tokens(info: &SessionInfo) -> Vec<i64> {
    let count = TOKENS.min(info.max_tokens);
    let mut ids: Vec<i64> = (0..count).map(|place| (place * info.vocab_size / count) as i64).collect();
    if let (Some(eos), Some(last)) = (info.eos, ids.last_mut()) {
        *last = eos;
    }
    ids
}
