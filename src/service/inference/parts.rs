//! The inputs of one call as several forwards, and their answers as one. Owns the way there and back; must never run one.

use std::sync::Arc;

use crate::domain::error_code::ErrorCode;
use crate::domain::limits::Limits;
use crate::domain::taps::TapDtype;
use crate::domain::taps::Taps;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::EngineError;
use crate::engine::ForwardReply;
use crate::engine::Inputs;
use crate::engine::Place;
use crate::engine::quantize;
use crate::service::context::Result;
use crate::service::error::ServiceError;

/// As many inputs as OpenAI takes in one call.
const MOST_INPUTS: usize = 2048;

/// How the name of a scale ends.
const SCALE: &str = ".scale";

/// How many inputs there are.
pub fn count(inputs: &Inputs) -> usize {
    match inputs {
        Inputs::Texts(texts) => texts.len(),
        Inputs::Tokens { ids, .. } => ids.len(),
    }
}

/// Inputs cut into forwards of at most `step`.
pub fn parts(inputs: &Inputs, step: usize) -> Vec<Inputs> {
    match inputs {
        Inputs::Texts(texts) => texts.chunks(step).map(|part| Inputs::Texts(part.to_vec())).collect(),
        Inputs::Tokens { ids, .. } => {
            ids.chunks(step).map(|part| Inputs::Tokens { ids: part.to_vec(), types: None }).collect()
        }
    }
}

/// Refuses too many inputs, none, and ones that are empty or longer than anything that is run.
pub fn check(inputs: &Inputs, limits: &Limits) -> Result<()> {
    let rows = count(inputs);
    let most = MOST_INPUTS.min(limits.batch_rows);
    if rows == 0 {
        return Err(ServiceError::new(ErrorCode::InvalidInput, "input: there is none.").at("input"));
    }
    if rows > most {
        let message = format!("input: {rows} in one call, at most {most} are taken.");
        return Err(ServiceError::new(ErrorCode::TooManyInputs, message).at("input"));
    }
    let empty = match inputs {
        Inputs::Texts(texts) => {
            texts.iter().position(|(text, pair)| text.is_empty() || pair.as_ref().is_some_and(String::is_empty))
        }
        Inputs::Tokens { ids, .. } => ids.iter().position(Vec::is_empty),
    };
    if let Some(path) = empty.map(input_path) {
        return Err(ServiceError::new(ErrorCode::InvalidInput, format!("{path}: is empty.")).at(path));
    }
    check_lengths(inputs, limits)
}

/// Refuses an input that no pass can take, before it is copied.
fn check_lengths(inputs: &Inputs, limits: &Limits) -> Result<()> {
    let Inputs::Tokens { ids, .. } = inputs else { return Ok(()) };
    let most = limits.batch_tokens;
    let Some((number, ids)) = ids.iter().enumerate().find(|(_, ids)| ids.len() > most) else { return Ok(()) };
    let path = input_path(number);
    let message = format!("{path}: has {} tokens, no pass takes more than {most} (limits.batch_tokens).", ids.len());
    Err(ServiceError::new(ErrorCode::UnusableInput, message).at(path))
}

/// Where an input stands in a request.
fn input_path(number: usize) -> String {
    format!("input[{number}]")
}

/// What the engine refuses of a part, by its place in the call; `first` is the number of the part's first input.
pub fn placed(error: EngineError, first: usize) -> ServiceError {
    let EngineError::Invalid { place, reason } = error else { return error.into() };
    let path = match place {
        Place::Input(number) => input_path(first + number),
        Place::Inputs | Place::Texts => "input".to_owned(),
        place => return EngineError::Invalid { place, reason }.into(),
    };
    ServiceError::new(ErrorCode::UnusableInput, format!("{path}: {reason}.")).at(path)
}

/// The hidden states that each of several forwards is asked for. All rows of an answer in int8 have one scale, so that the parts' states
/// come as they are computed, and become int8 together.
pub fn taps_of_each(taps: &Arc<Taps>, parts: usize) -> Arc<Taps> {
    // With a transform the scale is that of a whole job.
    if parts < 2 || taps.dtype != TapDtype::Int8 || taps.transform.is_some() {
        return Arc::clone(taps);
    }
    Arc::new(Taps { dtype: TapDtype::Float32, ..Taps::clone(taps) })
}

/// Joins hidden states on a thread of its own: they can be many.
pub async fn joined_taps_aside(replies: Vec<ForwardReply>, dtype: TapDtype) -> Result<Vec<WireTensor>> {
    tokio::task::spawn_blocking(move || joined_taps(replies, dtype)).await.map_err(ServiceError::internal)?
}

/// The answer's tensors of what [`taps_of_each`] asked for.
fn joined_taps(replies: Vec<ForwardReply>, dtype: TapDtype) -> Result<Vec<WireTensor>> {
    let mut tensors = Vec::new();
    for tensor in joined(replies)? {
        if dtype == TapDtype::Int8 && tensor.dtype() == Dtype::F32 && !tensor.name().ends_with(SCALE) {
            tensors.extend(quantize(&tensor)?);
        } else {
            tensors.push(tensor);
        }
    }
    Ok(tensors)
}

/// The tensors of all parts, one after the other along their first dimension.
pub fn joined(mut replies: Vec<ForwardReply>) -> Result<Vec<WireTensor>> {
    if replies.len() == 1 {
        return Ok(replies.swap_remove(0).tensors);
    }
    let names: Vec<String> = replies
        .first()
        .map(|reply| reply.tensors.iter().map(|tensor| tensor.name().to_owned()).collect())
        .unwrap_or_default();
    let whole = |(place, name): (usize, &String)| {
        let pieces: Vec<&WireTensor> = replies.iter().filter_map(|reply| reply.tensors.get(place)).collect();
        if name.ends_with(SCALE) {
            return Ok(pieces[0].clone()); // a whole job's: the same in every part
        }
        let bytes = pieces.iter().map(|piece| &piece.bytes()[..]).collect::<Vec<_>>().concat();
        let mut shape = pieces[0].shape().to_vec();
        shape[0] = pieces.iter().map(|piece| piece.shape()[0]).sum();
        WireTensor::new(name, pieces[0].dtype(), shape, bytes.into()).map_err(ServiceError::internal)
    };
    names.iter().enumerate().map(whole).collect()
}
