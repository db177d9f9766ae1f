//! Forward and backward as the device runs them for one job: checks against the session, the pass, and the lease on its graph.
//! `stacking` runs several jobs' at once, with the same checks.

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
use crate::domain::tensor::Dtype;
use crate::domain::tensor::WireTensor;
use crate::engine::codec::to_tensor;
use crate::engine::codec::to_wire;
use crate::engine::device_state::Host;
use crate::engine::errors::invalid;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardReply;
use crate::engine::interface::Place;
use crate::engine::interface::Share;
use crate::engine::retained_graphs::Part;
use crate::engine::retained_graphs::Pinned;
use crate::engine::session::Session;
use crate::model::optim;

/// A forward whose inputs are read and checked.
pub struct ReadCall {
    /// Keeps a graph under this id.
    pub keep: Option<ForwardId>,
    /// Seed of dropout.
    pub random: u64,
    /// The inputs.
    pub batch: TokenBatch,
    /// Sets asked for.
    pub adapters: Vec<usize>,
    /// Whether the bare backbone is asked for.
    pub base: bool,
    /// New adapter values.
    pub theta: Vec<(usize, WireTensor)>,
}

/// A backward.
pub struct BackwardCall {
    /// The kept forward.
    pub forward: ForwardId,
    /// The shares.
    pub shares: Vec<Share>,
}

/// A forward that was checked against its session, and can run.
pub struct ReadyForward {
    /// The job.
    pub job: JobId,
    /// Keeps a graph under this id.
    pub keep: Option<ForwardId>,
    /// All that the pass depends on.
    pub pinned: Pinned,
    /// Whether the bare backbone is asked for.
    pub base: bool,
    /// Bytes that the pass needs, by estimate.
    pub bytes: usize,
}

/// Checks a forward. Changes nothing.
pub fn ready(host: &Host, job: JobId, call: ReadCall) -> Result<ReadyForward, EngineError> {
    let session = host.sessions.get(&job).ok_or(EngineError::NoSession)?;
    check_sets(session, &call.adapters)?;
    session.check_cut(&call.batch)?;
    if session.settings.custody == Custody::Host && !call.theta.is_empty() {
        return Err(invalid(
            Place::Tensor(format!("theta.{}", call.theta[0].0)),
            "the host holds the adapters of this job",
        ));
    }
    let tokens = call.batch.tokens();
    let sets = call.adapters.len().max(1);
    let bytes = if call.keep.is_some() { session.graph_bytes(tokens, sets) } else { session.pass_bytes(tokens, sets) };
    let budget = host.leases.budget_bytes();
    if bytes > budget {
        let text = format!("a forward of {tokens} tokens needs {bytes} bytes on the device, graph_bytes is {budget}");
        return Err(EngineError::TooLarge(text));
    }
    let theta = session.with_values(&call.theta)?;
    let pinned = Pinned { batch: Arc::new(call.batch), theta, sets: call.adapters, random: call.random };
    Ok(ReadyForward { job, keep: call.keep, pinned, base: call.base, bytes })
}

/// Runs a forward. New adapter values are taken over only if all of it succeeds.
pub fn forward(host: &mut Host, call: ReadyForward) -> Result<ForwardReply, EngineError> {
    let ReadyForward { job, pinned, .. } = &call;
    let session = host.sessions.get(job).ok_or(EngineError::NoSession)?;
    let base = call.base.then(|| session.base(&pinned.batch)).transpose()?;
    let mut tensors = match call.keep {
        Some(id) => trained(host, &call, id)?,
        None if pinned.sets.is_empty() => Vec::new(),
        None => activations(&session.evaluate(pinned)?, &pinned.sets)?,
    };
    if let Some(base) = base {
        tensors.push(to_wire("h.base", &base.f_select(1, 0)?)?);
    }
    done(host, &call, tensors)
}

fn trained(host: &mut Host, call: &ReadyForward, id: ForwardId) -> Result<Vec<WireTensor>, EngineError> {
    let ReadyForward { job, pinned, bytes, .. } = call;
    if pinned.sets.is_empty() {
        host.leases.keep(*job, id, pinned.clone());
        return Ok(Vec::new());
    }
    host.leases.make_room(*job, *bytes);
    let session = host.sessions.get(job).ok_or(EngineError::NoSession)?;
    let graph = session.train(pinned)?;
    let tensors = activations(&graph.output, &pinned.sets)?;
    host.leases.keep(*job, id, pinned.clone());
    host.leases.attach(*job, id, Part::whole(graph), *bytes);
    Ok(tensors)
}

/// Takes the new adapter values over, and puts the reply together.
pub fn done(host: &mut Host, call: &ReadyForward, mut tensors: Vec<WireTensor>) -> Result<ForwardReply, EngineError> {
    if let Some(session) = host.sessions.get_mut(&call.job) {
        session.theta = Rc::clone(&call.pinned.theta);
        if call.keep.is_some() {
            session.used = Instant::now();
        }
        if session.settings.cut() == Pooling::None {
            tensors.push(lengths(&call.pinned.batch)?);
        }
    }
    Ok(ForwardReply { tensors, tokens: call.pinned.batch.tokens(), jobs_in_pass: 1 })
}

/// Tokens of each input, `lengths` `[B]`: where the rows of one input end and the next one's begin.
fn lengths(batch: &TokenBatch) -> Result<WireTensor, EngineError> {
    let bytes: Vec<u8> = batch.ids.iter().flat_map(|ids| (ids.len() as i64).to_le_bytes()).collect();
    let tensor = WireTensor::new("lengths", Dtype::I64, vec![batch.ids.len()], bytes.into());
    tensor.map_err(|error| EngineError::Internal(error.to_string()))
}

/// `h.{i}` of each set, from `[B, S, H]` or `[N, S, H]`.
fn activations(output: &Tensor, sets: &[usize]) -> Result<Vec<WireTensor>, EngineError> {
    let one = |(place, set): (usize, &usize)| Ok(to_wire(format!("h.{set}"), &output.f_select(1, place as i64)?)?);
    sets.iter().enumerate().map(one).collect()
}

fn check_sets(session: &Session, sets: &[usize]) -> Result<(), EngineError> {
    let most = session.settings.adapter_sets;
    for (place, set) in sets.iter().enumerate() {
        if *set >= most {
            return Err(invalid(
                Place::Field("adapters"),
                format!("{set} is not one of the adapter sets 0 to {}", most - 1),
            ));
        }
        if sets[..place].contains(set) {
            return Err(invalid(Place::Field("adapters"), format!("{set} is there twice")));
        }
    }
    Ok(())
}

/// A backward that was checked against its forward, and can run.
pub struct ReadyBackward {
    /// The job.
    pub job: JobId,
    /// The kept forward.
    pub forward: ForwardId,
    /// What the forward depended on.
    pub pinned: Pinned,
    /// Set and number of each share, in the order of the request.
    pub shares: Vec<(usize, usize)>,
    /// By share number: `[B, S, H]` (or `[N, S, H]`); zero for the sets that have no share of that number.
    pub cotangents: BTreeMap<usize, Tensor>,
}

/// Checks a backward. Changes nothing.
pub fn ready_backward(
    host: &Host,
    job: JobId,
    call: BackwardCall,
    limits: &Limits,
) -> Result<ReadyBackward, EngineError> {
    let session = host.sessions.get(&job).ok_or(EngineError::NoSession)?;
    let pinned = host.leases.pinned(job, call.forward).ok_or(EngineError::NoForward)?.clone();
    let cotangents = cotangents(session, &pinned, &call.shares, limits)?;
    let shares = call.shares.iter().map(|share| (share.set, share.share)).collect();
    Ok(ReadyBackward { job, forward: call.forward, pinned, shares, cotangents })
}

/// Runs one vector-Jacobian product a share number, over all sets that have a share of that number.
pub fn backward(host: &mut Host, call: &ReadyBackward) -> Result<BackwardReply, EngineError> {
    let ReadyBackward { job, forward, pinned, .. } = call;
    // A graph that others have a part in is for `stacking`: alone, the forward runs again.
    let kept = host.leases.graph(*job, *forward).filter(|part| part.units.is_empty());
    let part = match kept {
        Some(part) => part,
        None => {
            let session = host.sessions.get(job).ok_or(EngineError::NoSession)?;
            let bytes = session.graph_bytes(pinned.batch.tokens(), pinned.sets.len());
            host.leases.make_room(*job, bytes);
            let session = host.sessions.get(job).ok_or(EngineError::NoSession)?;
            let part = Part::whole(session.train(pinned)?);
            host.leases.attach(*job, *forward, part.clone(), bytes);
            part
        }
    };
    let mut gradients = BTreeMap::new();
    for (number, cotangent) in &call.cotangents {
        gradients.insert(*number, part.graph.lora.vjp(&part.graph.output, cotangent)?); // (s, p)
    }
    answer(host, call, &gradients)
}

/// What the gradients `[S, P]` by share number become, by custody.
pub fn answer(
    host: &mut Host,
    call: &ReadyBackward,
    gradients: &BTreeMap<usize, Tensor>,
) -> Result<BackwardReply, EngineError> {
    for (number, gradient) in gradients {
        if !optim::is_finite(gradient)? {
            return Err(invalid(
                Place::Tensor(format!("s.{}.{number}", call.pinned.sets[0])),
                "its gradient is not finite",
            ));
        }
    }
    let session = host.sessions.get_mut(&call.job).ok_or(EngineError::NoSession)?;
    match session.settings.custody {
        Custody::Client => returned(call, gradients),
        Custody::Host => accumulated(session, &call.pinned.sets, gradients),
    }
}

/// Client custody: every product as it is, in the order of the shares.
fn returned(call: &ReadyBackward, gradients: &BTreeMap<usize, Tensor>) -> Result<BackwardReply, EngineError> {
    let mut tensors = Vec::with_capacity(call.shares.len());
    for (set, share) in &call.shares {
        let place = call.pinned.sets.iter().position(|of| of == set);
        if let (Some(place), Some(gradient)) = (place, gradients.get(share)) {
            tensors.push(to_wire(format!("G.{set}.{share}"), &gradient.f_select(0, place as i64)?)?);
        }
    }
    Ok(BackwardReply::Gradients(tensors))
}

/// Host custody: everything is summed.
fn accumulated(
    session: &mut Session,
    sets: &[usize],
    gradients: &BTreeMap<usize, Tensor>,
) -> Result<BackwardReply, EngineError> {
    let host = session.host.as_mut().ok_or_else(|| EngineError::Internal("no optimizer state".to_owned()))?;
    let mut rows = host.gradients.f_unbind(0)?;
    for gradient in gradients.values() {
        for (place, set) in sets.iter().enumerate() {
            rows[*set] = rows[*set].f_add(&gradient.f_select(0, place as i64)?)?;
        }
    }
    let sum = Tensor::f_stack(&rows, 0)?;
    let norms = optim::norms(&sum)?;
    (host.gradients, host.pending) = (sum, true);
    Ok(BackwardReply::Accumulated(norms))
}

/// One cotangent `[B, S, H]` (or `[N, S, H]`) a share number; zero for the sets that have no share of that number.
fn cotangents(
    session: &Session,
    pinned: &Pinned,
    shares: &[Share],
    limits: &Limits,
) -> Result<BTreeMap<usize, Tensor>, EngineError> {
    if shares.is_empty() {
        return Err(invalid(Place::Field("shares"), "there are none"));
    }
    let rows = match session.settings.cut() {
        Pooling::None => pinned.batch.tokens(),
        _ => pinned.batch.ids.len(),
    };
    let shape = [rows, session.backbone.info().hidden_size];
    let mut by_number: BTreeMap<usize, Vec<Option<Tensor>>> = BTreeMap::new();
    for Share { set, share, tensor } in shares {
        let name = format!("s.{set}.{share}");
        let place = pinned.sets.iter().position(|of| of == set);
        let place = place.ok_or_else(|| {
            invalid(Place::Tensor(name.clone()), format!("adapter set {set} was not part of the forward"))
        })?;
        if *share >= limits.shares_per_set {
            return Err(invalid(
                Place::Tensor(name),
                format!("share numbers are below {} (shares_per_set)", limits.shares_per_set),
            ));
        }
        let slots = by_number.entry(*share).or_insert_with(|| pinned.sets.iter().map(|_| None).collect());
        let value = read_share(tensor.clone().renamed(&name), shape, limits.share_norm)?;
        if slots[place].replace(value).is_some() {
            return Err(invalid(Place::Tensor(name), "is there twice"));
        }
    }
    let whole = |slots: Vec<Option<Tensor>>| -> Result<Tensor, EngineError> {
        let zeros = Tensor::f_zeros(shape.map(|dim| dim as i64), (tch::Kind::Float, tch::Device::Cpu))?;
        let slots: Vec<Tensor> = slots.into_iter().map(|slot| slot.unwrap_or_else(|| zeros.shallow_clone())).collect();
        Ok(Tensor::f_stack(&slots, 1)?.f_to_device(session.theta.device())?)
    };
    by_number.into_iter().map(|(number, slots)| Ok((number, whole(slots)?))).collect()
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
