//! How large the answer to a step call can be, before it is made. Owns the count of its rows; must never run a model.

use crate::domain::settings::Custody;
use crate::domain::settings::Pooling;
use crate::domain::tensor::Dtype;
use crate::engine::Inputs;
use crate::service::context::Context;
use crate::service::context::Result;
use crate::service::training::session::Session;

/// Part of a job's budget up to which a bound serves; above it tokens are counted.
const ROUGHLY: u64 = 8;

/// Rows of each tensor of a forward's answer: inputs, or tokens where the cut gives one a token.
pub async fn rows(context: &Context, session: &Session, inputs: &Inputs) -> Result<usize> {
    if session.job.settings.cut() != Pooling::None {
        return Ok(match inputs {
            Inputs::Texts(texts) => texts.len(),
            Inputs::Tokens { ids, .. } => ids.len(),
        });
    }
    let texts = match inputs {
        Inputs::Tokens { ids, .. } => return Ok(ids.iter().map(Vec::len).sum()),
        Inputs::Texts(texts) => texts,
    };
    let most = texts.len().saturating_mul(session.info.max_tokens).min(context.limits.batch_tokens);
    let sets = session.job.settings.adapter_sets + 1;
    if of_forward(most, session.info.hidden_size, sets) <= context.limits.held_bytes_per_job / ROUGHLY {
        return Ok(most);
    }
    Ok(context.engine.count_tokens(session.job.id, inputs.clone()).await?.iter().sum())
}

/// Bytes of so many activations of so many rows, and of the rows' lengths.
pub fn of_forward(rows: usize, width: usize, tensors: usize) -> u64 {
    let floats = (rows as u64).saturating_mul(width as u64).saturating_mul(tensors as u64);
    floats.saturating_mul(Dtype::F32.size() as u64).saturating_add((rows * Dtype::I64.size()) as u64)
}

/// Bytes of the answer to a backward of so many shares.
pub fn of_backward(session: &Session, shares: usize) -> u64 {
    match session.job.settings.custody {
        Custody::Client => {
            let floats = (shares as u64).saturating_mul(session.info.adapter_parameters as u64);
            floats.saturating_mul(Dtype::F32.size() as u64)
        }
        Custody::Host => 0,
    }
}
