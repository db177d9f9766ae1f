//! Small requests of several jobs or callers on one backbone, in one pass: a few tokens do not fill a product, so that eight of them together
//! take little longer than one. Owns what may be stacked, and the way from a stacked pass to each job's own answer.
//!
//! Every row meets its own job's adapters only, attention runs input by input, and each answer is cut out of the pass by the job's
//! own rows: an answer equals the job run alone to rounding (1e-5). A request that fails fails alone, and so does its job.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tch::Kind;
use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::domain::tensor::WireTensor;
use crate::engine::codec::to_wire;
use crate::engine::device_state::Host;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardReply;
use crate::engine::passes;
use crate::engine::passes::ReadyBackward;
use crate::engine::passes::ReadyForward;
use crate::engine::retained_graphs::Graph;
use crate::engine::retained_graphs::Part;
use crate::engine::retained_graphs::Pinned;
use crate::engine::retained_graphs::Unit;
use crate::engine::session::Session;

/// What requests must have in common to be stacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackKey {
    backbone: *const (),
    cut: Pooling,
    trains: bool,
    adapters: Adapters,
}

/// Whose adapters a forward meets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Adapters {
    /// None: the bare backbone.
    Bare,
    /// Those of a layout; in one pass each row meets its owner's.
    Laid(u64),
    /// These values alone: rows of a family that has no owners share a pass with rows of the same adapters.
    Same(*const Tensor),
}

impl StackKey {
    /// Whether a forward of the other key may join a pass that one of this key leads. An update of zero is no update: the bare backbone
    /// may be a guest in a pass with adapters.
    pub fn takes(&self, other: &Self) -> bool {
        let guest = matches!((&self.adapters, &other.adapters), (Adapters::Laid(_), Adapters::Bare));
        let place = |key: &Self| (key.backbone, key.cut, key.trains);
        place(self) == place(other) && (guest || self.adapters == other.adapters)
    }
}

/// The key of a forward that may be stacked: small, and without dropout (whose random numbers depend on what else is in the pass). A
/// training pass needs a family whose rows can be owned.
pub fn key(host: &Host, call: &ReadyForward, most_tokens: usize) -> Option<StackKey> {
    let session = host.sessions.get(&call.job)?;
    let (trains, owned) = (call.keep.is_some(), session.backbone.stacks());
    let adapters = match call.pinned.sets.is_empty() {
        true if trains || !call.base => return None,
        true => Adapters::Bare,
        false if trains && (!owned || session.plan.has_dropout()) => return None,
        false if owned => Adapters::Laid(session.plan.fingerprint),
        false => Adapters::Same(Rc::as_ptr(&call.pinned.theta)),
    };
    (tokens(call) <= most_tokens).then(|| session.stack_key(trains, adapters))
}

impl Session {
    fn stack_key(&self, trains: bool, adapters: Adapters) -> StackKey {
        StackKey { backbone: Rc::as_ptr(&self.backbone).cast(), cut: self.settings.cut(), trains, adapters }
    }

    /// How many forwards of this session may be on their way to a pass of the key: one where it trains, and as many as wait for an
    /// evaluation.
    fn mates(&self, key: &StackKey) -> usize {
        let bare = self.stack_key(key.trains, Adapters::Bare);
        let adapters = match self.backbone.stacks() {
            true => Adapters::Laid(self.plan.fingerprint),
            false => Adapters::Same(Rc::as_ptr(&self.theta)),
        };
        let adapted = key.takes(&self.stack_key(key.trains, adapters));
        let active = usize::from(adapted && self.used.elapsed() < ACTIVE);
        let waiting = |counts: bool, bare: bool| if counts && !key.trains { self.callers.count(bare) } else { 0 };
        active.max(waiting(key.takes(&bare), true) + waiting(adapted, false))
    }
}

/// A job that trained nothing for so long is not waited for.
const ACTIVE: Duration = Duration::from_secs(1);

/// Forwards that could join one of this key, itself included.
pub fn mates(host: &Host, key: &StackKey) -> usize {
    host.sessions.values().map(|session| session.mates(key)).sum()
}

/// Tokens that a forward adds to a pass, each counted once a set.
pub fn tokens(call: &ReadyForward) -> usize {
    call.pinned.batch.tokens() * (call.pinned.sets.len() + usize::from(call.base))
}

/// The inputs of a pass: each forward's inputs once a set, and once more for the bare backbone.
#[derive(Default)]
struct Stack {
    ids: Vec<Vec<i64>>,
    types: Vec<Vec<i64>>,
    theta: Vec<Tensor>,
    owner_of: Vec<usize>,
    rows: i64,
}

impl Stack {
    fn add(&mut self, batch: &TokenBatch, theta: Tensor, cut: Pooling) -> Unit {
        let rows = if cut == Pooling::None { batch.tokens() } else { batch.ids.len() } as i64;
        let unit = Unit { owner: self.theta.len() as i64, first_row: self.rows, rows };
        self.owner_of.extend(batch.ids.iter().map(|_| self.theta.len()));
        self.ids.extend(batch.ids.iter().cloned());
        match &batch.types {
            Some(types) => self.types.extend(types.iter().cloned()),
            None => self.types.extend(batch.ids.iter().map(|ids| vec![0; ids.len()])),
        }
        self.theta.push(theta);
        self.rows += rows;
        unit
    }

    fn run(self, session: &Session) -> Result<Graph, EngineError> {
        let has_types = session.backbone.info().token_types > 0;
        let batch = TokenBatch { ids: self.ids, types: has_types.then_some(self.types) };
        let packed = session.pack(&batch)?;
        let rows = packed.owned(&self.owner_of, self.theta.len())?;
        let lora = session.plan.stacked(&Tensor::f_stack(&self.theta, 0)?, rows)?;
        let output = session.backbone.forward(&packed, Some(&lora), session.settings.cut())?; // (r, 1, h)
        Ok(Graph { output, lora, tokens: batch.tokens(), _backbone: Rc::clone(&session.backbone) })
    }
}

struct Units {
    sets: Vec<Unit>,
    base: Option<Unit>,
}

/// Runs forwards of one key in one pass; the replies are in their order. An error is the pass's: none of them has run.
pub fn forward(host: &mut Host, calls: &[ReadyForward]) -> Result<Vec<Result<ForwardReply, EngineError>>, EngineError> {
    let first = calls.first().ok_or(EngineError::NoSession)?;
    let trains = first.keep.is_some();
    if !trains && is_one_batch(host, calls) {
        return as_one_batch(host, calls);
    }
    for call in calls.iter().filter(|_| trains) {
        host.leases.make_room(call.job, call.bytes);
    }
    let session = host.sessions.get(&first.job).ok_or(EngineError::NoSession)?;
    let cut = session.settings.cut();
    let mut stack = Stack::default();
    let mut places = Vec::with_capacity(calls.len());
    for ReadyForward { pinned, base, .. } in calls {
        let row = |set: &usize| pinned.theta.f_select(0, *set as i64);
        let sets = pinned.sets.iter().map(|set| Ok(stack.add(&pinned.batch, row(set)?, cut)));
        let sets = sets.collect::<Result<_, EngineError>>()?;
        // An update of zero is no update: B = 0 gives exactly 0.
        let base = base.then(|| Ok::<_, EngineError>(stack.add(&pinned.batch, row(&0)?.f_zeros_like()?, cut)));
        places.push(Units { sets, base: base.transpose()? });
    }
    let graph = match trains {
        true => stack.run(session)?,
        false => {
            let _frozen = tch::no_grad_guard();
            stack.run(session)?
        }
    };
    let graph = Rc::new(graph);
    let mut answer = |(call, units)| {
        let reply = reply(host, call, &graph, units)?;
        Ok(ForwardReply { jobs_in_pass: calls.len(), ..reply })
    };
    Ok(calls.iter().zip(&places).map(&mut answer).collect())
}

/// Whether evaluations differ in their inputs alone: then no row needs an owner.
fn is_one_batch(host: &Host, calls: &[ReadyForward]) -> bool {
    let Some(first) = calls.first() else { return false };
    let owned = host.sessions.get(&first.job).is_some_and(|session| session.backbone.stacks());
    let alike = |call: &ReadyForward| {
        let asked = !owned || (call.base == first.base && call.pinned.sets == first.pinned.sets);
        asked && Rc::ptr_eq(&call.pinned.theta, &first.pinned.theta)
    };
    calls.iter().all(|call| call.pinned.sets.is_empty()) || calls.iter().all(alike)
}

/// Runs evaluations as one batch of all their inputs.
fn as_one_batch(
    host: &mut Host,
    calls: &[ReadyForward],
) -> Result<Vec<Result<ForwardReply, EngineError>>, EngineError> {
    let first = calls.first().ok_or(EngineError::NoSession)?;
    let session = host.sessions.get(&first.job).ok_or(EngineError::NoSession)?;
    let (cut, has_types) = (session.settings.cut(), session.backbone.info().token_types > 0);
    let mut stack = Stack::default();
    let theta = || first.pinned.theta.f_select(0, 0);
    let rows = calls.iter().map(|call| Ok(stack.add(&call.pinned.batch, theta()?, cut)));
    let rows = rows.collect::<Result<Vec<Unit>, EngineError>>()?;
    let sets: BTreeSet<usize> = calls.iter().flat_map(|call| call.pinned.sets.iter().copied()).collect();
    let pinned = Pinned {
        batch: Arc::new(TokenBatch { ids: stack.ids, types: has_types.then_some(stack.types) }),
        theta: Rc::clone(&first.pinned.theta),
        sets: sets.into_iter().collect(),
        random: 0,
    };
    let adapted = (!pinned.sets.is_empty()).then(|| session.evaluate(&pinned)).transpose()?; // (r, s, h)
    let base = calls.iter().any(|call| call.base).then(|| session.base(&pinned.batch)).transpose()?; // (r, 1, h)
    let own = |call: &ReadyForward, unit: &Unit| -> Result<Vec<WireTensor>, EngineError> {
        let cut_out = |name: String, output: &Tensor, place: usize| -> Result<WireTensor, EngineError> {
            Ok(to_wire(name, &output.f_narrow(0, unit.first_row, unit.rows)?.f_select(1, place as i64)?)?)
        };
        let mut tensors = Vec::with_capacity(call.pinned.sets.len() + 1);
        for set in &call.pinned.sets {
            let place = pinned.sets.iter().position(|of| of == set);
            if let (Some(output), Some(place)) = (&adapted, place) {
                tensors.push(cut_out(format!("h.{set}"), output, place)?);
            }
        }
        if let Some(output) = base.as_ref().filter(|_| call.base) {
            tensors.push(cut_out("h.base".to_owned(), output, 0)?);
        }
        Ok(tensors)
    };
    let cut: Vec<_> = calls.iter().zip(&rows).map(|(call, unit)| own(call, unit)).collect();
    let mut answer = |(call, tensors): (&ReadyForward, Result<Vec<WireTensor>, EngineError>)| {
        Ok(ForwardReply { jobs_in_pass: calls.len(), ..passes::done(host, call, tensors?)? })
    };
    Ok(calls.iter().zip(cut).map(&mut answer).collect())
}

fn reply(host: &mut Host, call: &ReadyForward, graph: &Rc<Graph>, units: &Units) -> Result<ForwardReply, EngineError> {
    let cut_out = |name: String, unit: &Unit| -> Result<WireTensor, EngineError> {
        Ok(to_wire(name, &graph.output.f_narrow(0, unit.first_row, unit.rows)?.f_select(1, 0)?)?)
    };
    let mut tensors = Vec::with_capacity(units.sets.len() + 1);
    for (set, unit) in call.pinned.sets.iter().zip(&units.sets) {
        tensors.push(cut_out(format!("h.{set}"), unit)?);
    }
    if let Some(unit) = &units.base {
        tensors.push(cut_out("h.base".to_owned(), unit)?);
    }
    if let Some(id) = call.keep {
        host.leases.keep(call.job, id, call.pinned.clone());
        let part = Part { graph: Rc::clone(graph), units: units.sets.clone() };
        host.leases.attach(call.job, id, part, call.bytes);
    }
    passes::done(host, call, tensors)
}

/// The stacked graph that a backward can use.
pub fn part(host: &mut Host, call: &ReadyBackward) -> Option<Part> {
    host.leases.graph(call.job, call.forward).filter(|part| !part.units.is_empty())
}

/// Whether running these backwards on their common graph costs less than running each of their forwards again: a product on the
/// graph costs all of its tokens, whoever asks.
pub fn pays(calls: &[ReadyBackward], graph: &Graph) -> bool {
    let tokens = |call: &ReadyBackward| call.pinned.batch.tokens() * call.pinned.sets.len();
    2 * calls.iter().map(tokens).sum::<usize>() >= graph.tokens
}

/// Runs backwards that have parts in one graph: one product a share number for all of them. An error is the pass's.
pub fn backward(
    host: &mut Host,
    calls: &[ReadyBackward],
    parts: &[Part],
) -> Result<Vec<Result<BackwardReply, EngineError>>, EngineError> {
    let graph = &parts.first().ok_or(EngineError::NoForward)?.graph;
    let numbers: Vec<usize> = calls.iter().flat_map(|call| call.cotangents.keys().copied()).collect();
    let mut products = BTreeMap::new();
    for number in numbers {
        if products.contains_key(&number) {
            continue;
        }
        let root = graph.output.f_zeros_like()?.f_to_kind(Kind::Float)?; // (r, 1, h)
        for (call, part) in calls.iter().zip(parts) {
            let Some(cotangent) = call.cotangents.get(&number) else { continue };
            for (place, unit) in part.units.iter().enumerate() {
                let mut rows = root.f_narrow(0, unit.first_row, unit.rows)?.f_select(1, 0)?;
                rows.f_copy_(&cotangent.f_select(1, place as i64)?)?;
            }
        }
        products.insert(number, graph.lora.vjp(&graph.output, &root)?); // (o, p)
    }
    Ok(calls.iter().zip(parts).map(|(call, part)| own(host, call, part, &products)).collect())
}

/// The rows of the products that belong to one backward.
fn own(
    host: &mut Host,
    call: &ReadyBackward,
    part: &Part,
    products: &BTreeMap<usize, Tensor>,
) -> Result<BackwardReply, EngineError> {
    let first = part.units.first().map_or(0, |unit| unit.owner);
    let mut gradients = BTreeMap::new();
    for number in call.cotangents.keys() {
        if let Some(product) = products.get(number) {
            gradients.insert(*number, product.f_narrow(0, first, part.units.len() as i64)?); // (s, p)
        }
    }
    passes::answer(host, call, &gradients)
}
