//! What every pass begins and ends with: a request is checked against its session, and what the pass gave becomes its answer. Owns
//! both; must never run a pass: `slices` runs one request's, `stacking` several jobs' at once.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tch::Tensor;

use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::domain::limits::Limits;
use crate::domain::settings::Custody;
use crate::domain::settings::Pooling;
use crate::domain::taps::Taps;
use crate::domain::taps::TokenPicks;
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::codec::to_tensor;
use crate::engine::codec::to_wire;
use crate::engine::device_state::DeviceState;
use crate::engine::errors::invalid;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardCall;
use crate::engine::interface::ForwardReply;
use crate::engine::interface::Place;
use crate::engine::interface::Share;
use crate::engine::retained_graphs::BatchRows;
use crate::engine::retained_graphs::PassInputs;
use crate::engine::session::Session;
use crate::engine::taps;
use crate::model::optim;

/// A backward.
pub struct BackwardCall {
    /// The retained forward.
    pub forward: ForwardId,
    /// The shares.
    pub shares: Vec<Share>,
}

/// A forward that was checked against its session, and can run: what its pass depends on, and what is to be made of it.
pub struct ReadyForward {
    /// The job.
    pub job: JobId,
    /// Retains the forward and its graph under this id.
    pub keep: Option<ForwardId>,
    /// All that the pass depends on; retained as it is, so that the backward can run it again.
    pub inputs: PassInputs,
    /// Whether it came with adapter values, which the session takes over when the pass has succeeded.
    pub brings_values: bool,
    /// Whether the bare backbone is asked for.
    pub base: bool,
    /// Hidden states that are asked for, in place of activations.
    pub taps: Option<Arc<Taps>>,
    /// Bytes that the pass needs, by estimate.
    pub bytes: usize,
}

impl ReadyForward {
    /// How often its pass reads the batch: once a set, and once for the bare backbone.
    pub fn runs(&self) -> usize {
        self.inputs.sets.len() + usize::from(self.base || self.taps.is_some())
    }
}

/// Checks a forward. Changes nothing: new adapter values are in what it gives, and not in the session.
pub fn ready_forward(
    state: &DeviceState,
    job: JobId,
    call: ForwardCall<TokenBatch>,
) -> Result<ReadyForward, EngineError> {
    let session = state.session(job)?;
    check_sets(session, &call.adapters)?;
    match &call.taps {
        None => session.check_cut(&call.inputs)?,
        Some(taps) => taps::check(session, &call, taps)?,
    }
    if session.settings.custody == Custody::Host && !call.theta.is_empty() {
        return Err(invalid(
            Place::Tensor(format!("theta.{}", call.theta[0].0)),
            "the host holds the adapters of this job",
        ));
    }
    let tokens = call.inputs.tokens();
    let sets = call.adapters.len().max(1);
    let bytes = if call.keep.is_some() { session.graph_bytes(tokens, sets) } else { session.pass_bytes(tokens, sets) };
    let kept = call.taps.as_ref().map_or(0, |taps| taps.kept_bytes(taps::size_of(session, &call.inputs)));
    let bytes = bytes.saturating_add(kept);
    let budget = state.graphs.budget_bytes();
    if bytes > budget {
        let text = format!("a forward of {tokens} tokens needs {bytes} bytes on the device, graph_bytes is {budget}");
        return Err(EngineError::TooLarge(text));
    }
    let brings_values = !call.theta.is_empty();
    let values = session.values_with(&call.theta)?;
    values.check_held(call.adapters.iter().copied())?;
    let inputs = PassInputs { batch: Arc::new(call.inputs), values, sets: call.adapters, random: call.random };
    Ok(ReadyForward { job, keep: call.keep, inputs, brings_values, base: call.base, taps: call.taps, bytes })
}

/// Takes the new adapter values over, and puts the reply together.
pub fn finish_forward(
    state: &mut DeviceState,
    call: &ReadyForward,
    mut tensors: Vec<WireTensor>,
) -> Result<ForwardReply, EngineError> {
    if let Some(tensor) = tensors.iter().find(|tensor| !tensor.is_finite()) {
        let reason = "is not finite: the adapters' values are too large, or the backbone overflows on these inputs";
        return Err(invalid(Place::Tensor(tensor.name().to_owned()), reason));
    }
    if let Some(session) = state.sessions.get_mut(&call.job) {
        if call.brings_values {
            session.values = Rc::clone(&call.inputs.values);
        }
        if call.keep.is_some() {
            session.trained_at = Instant::now();
        }
        let is_by_token = match &call.taps {
            Some(taps) => taps.tokens == TokenPicks::All,
            None => session.settings.cut() == Pooling::None,
        };
        if is_by_token {
            tensors.push(lengths(&call.inputs.batch)?);
        }
    }
    let (tokens, truncated) = (call.inputs.batch.tokens(), call.inputs.batch.truncated);
    Ok(ForwardReply { tensors, tokens, truncated, jobs_in_pass: 1 })
}

/// Tokens of each input, `lengths` `[B]`: where the rows of one input end and the next one's begin.
fn lengths(batch: &TokenBatch) -> Result<WireTensor, EngineError> {
    let bytes: Vec<u8> = batch.ids.iter().flat_map(|ids| (ids.len() as i64).to_le_bytes()).collect();
    let tensor = WireTensor::new("lengths", Dtype::I64, vec![batch.ids.len()], bytes.into());
    tensor.map_err(|error| EngineError::Internal(error.to_string()))
}

fn check_sets(session: &Session, sets: &[usize]) -> Result<(), EngineError> {
    let most = session.settings.adapter_sets;
    for (index, set) in sets.iter().enumerate() {
        if *set >= most {
            return Err(invalid(
                Place::Field("adapters"),
                format!("{set} is not one of the adapter sets 0 to {}", most - 1),
            ));
        }
        if sets[..index].contains(set) {
            return Err(invalid(Place::Field("adapters"), format!("{set} is a duplicate")));
        }
    }
    Ok(())
}

/// A backward that was checked against its forward, and can run.
pub struct ReadyBackward {
    /// The job.
    pub job: JobId,
    /// The retained forward.
    pub forward: ForwardId,
    /// What the forward's pass depended on.
    pub inputs: PassInputs,
    /// Set and number of each share, in the order of the request.
    pub shares: Vec<(usize, usize)>,
    /// By share number: `[B, S, H]` (or `[N, S, H]`); zero for the sets that have no share of that number.
    pub cotangents: BTreeMap<usize, Tensor>,
}

/// Checks a backward. Changes nothing.
pub fn ready_backward(
    state: &DeviceState,
    job: JobId,
    call: BackwardCall,
    limits: &Limits,
) -> Result<ReadyBackward, EngineError> {
    let session = state.session(job)?;
    let inputs = state.graphs.inputs(job, call.forward).ok_or(EngineError::NoForward)?.clone();
    let cotangents = cotangents(session, &inputs, &call.shares, limits)?;
    let shares = call.shares.iter().map(|share| (share.set, share.share)).collect();
    Ok(ReadyBackward { job, forward: call.forward, inputs, shares, cotangents })
}

/// What the gradients `[S, P]` by share number become, by custody.
pub fn finish_backward(
    state: &mut DeviceState,
    call: &ReadyBackward,
    gradients: &BTreeMap<usize, Tensor>,
) -> Result<BackwardReply, EngineError> {
    for (number, gradient) in gradients {
        if !optim::is_finite(gradient)? {
            return Err(invalid(
                Place::Tensor(format!("s.{}.{number}", call.inputs.sets[0])),
                "its gradient is not finite",
            ));
        }
    }
    let session = state.session_mut(call.job)?;
    match session.settings.custody {
        Custody::Client => return_products(call, gradients),
        Custody::Host => {
            let missing = || EngineError::Internal("no optimizer state".to_owned());
            let optimizer = session.host_optimizer.as_mut().ok_or_else(missing)?;
            Ok(BackwardReply::Accumulated(optimizer.accumulate(&call.inputs.sets, gradients.values())?))
        }
    }
}

/// Client custody: every product as it is, in the order of the shares.
fn return_products(call: &ReadyBackward, gradients: &BTreeMap<usize, Tensor>) -> Result<BackwardReply, EngineError> {
    let mut tensors = Vec::with_capacity(call.shares.len());
    for (set, share) in &call.shares {
        let index = call.inputs.sets.iter().position(|of| of == set);
        if let (Some(index), Some(gradient)) = (index, gradients.get(share)) {
            tensors.push(to_wire(format!("G.{set}.{share}"), &gradient.f_select(0, index as i64)?)?);
        }
    }
    Ok(BackwardReply::Gradients(tensors))
}

/// One cotangent `[B, S, H]` (or `[N, S, H]`) a share number; zero for the sets that have no share of that number.
fn cotangents(
    session: &Session,
    inputs: &PassInputs,
    shares: &[Share],
    limits: &Limits,
) -> Result<BTreeMap<usize, Tensor>, EngineError> {
    if shares.is_empty() {
        return Err(invalid(Place::Field("shares"), "there are none"));
    }
    let rows = BatchRows::whole(&inputs.batch).at(session.settings.cut()).count as usize;
    let shape = [rows, session.backbone.info().hidden_size];
    let mut by_number: BTreeMap<usize, Vec<Option<Tensor>>> = BTreeMap::new();
    for Share { set, share, tensor } in shares {
        let name = format!("s.{set}.{share}");
        let index = inputs.sets.iter().position(|of| of == set);
        let index = index.ok_or_else(|| {
            invalid(Place::Tensor(name.clone()), format!("adapter set {set} was not part of the forward"))
        })?;
        if *share >= limits.shares_per_set {
            return Err(invalid(
                Place::Tensor(name),
                format!("share numbers are below {} (shares_per_set)", limits.shares_per_set),
            ));
        }
        let by_set = by_number.entry(*share).or_insert_with(|| inputs.sets.iter().map(|_| None).collect());
        let value = read_share(tensor.clone().renamed(&name), shape, limits.share_norm)?;
        if by_set[index].replace(value).is_some() {
            return Err(invalid(Place::Tensor(name), "is a duplicate"));
        }
    }
    let whole = |by_set: Vec<Option<Tensor>>| -> Result<Tensor, EngineError> {
        let zeros = Tensor::f_zeros(shape.map(|dim| dim as i64), (tch::Kind::Float, tch::Device::Cpu))?;
        let by_set: Vec<Tensor> =
            by_set.into_iter().map(|value| value.unwrap_or_else(|| zeros.shallow_clone())).collect();
        Ok(Tensor::f_stack(&by_set, 1)?.f_to_device(session.backbone.device)?)
    };
    by_number.into_iter().map(|(number, by_set)| Ok((number, whole(by_set)?))).collect()
}

/// A share with exactly the shape of the activations (LibTorch would broadcast), finite, and not absurdly large.
fn read_share(wire: WireTensor, shape: [usize; 2], most: f64) -> Result<Tensor, EngineError> {
    if wire.dtype() != Dtype::F32 || wire.shape() != shape {
        let reason = format!("is {} {:?}, must be F32 {shape:?} as the activations", wire.dtype().name(), wire.shape());
        return Err(invalid(Place::Tensor(wire.name().to_owned()), reason));
    }
    let tensor = to_tensor(&wire)?;
    let norms = optim::norms(&tensor)?;
    match norms.iter().position(|norm| *norm > most) {
        Some(row) => Err(invalid(
            Place::Tensor(wire.name().to_owned()),
            format!("row {row} has norm {:e}, share_norm is {most:e}", norms[row]),
        )),
        None => Ok(tensor),
    }
}
