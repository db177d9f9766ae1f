//! Small requests of several jobs or callers on one backbone, in one pass: a few tokens do not fill a product, so that eight of them together
//! take little longer than one. Owns the way into a shared pass, and from it to each request's own answer; who may share one is
//! `stack_key`'s rule.
//!
//! There are two forms of a shared pass.
//!
//! **By owner.** Each forward's inputs enter once for each of its sets, and once more for the bare backbone. Each of these copies is an
//! owner: it has one row of adapter values, and its rows meet these alone. The output is `[R, 1, H]`, and every copy knows its rows.
//!
//! **As one batch.** Evaluations that differ in their inputs alone need no owners: all inputs are one batch, all sets run side by side
//! over it, and the output is `[R, S, H]`.
//!
//! Hidden states are the bare backbone's, and always come out of a pass of the second form.
//!
//! In both, attention runs input by input, and an answer is cut out by its own rows: it equals the request run alone to rounding (1e-5).
//! A request that fails while it is answered fails alone; an error of the pass is nobody's, and each runs alone then.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use tch::Kind;
use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::domain::taps::Taps;
use crate::domain::tensor::WireTensor;
use crate::engine::codec::to_wire;
use crate::engine::device_state::DeviceState;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardReply;
use crate::engine::passes;
use crate::engine::passes::ReadyBackward;
use crate::engine::passes::ReadyForward;
use crate::engine::retained_graphs::BatchRows;
use crate::engine::retained_graphs::ForwardGraph;
use crate::engine::retained_graphs::Graph;
use crate::engine::retained_graphs::PassInputs;
use crate::engine::retained_graphs::RowRange;
use crate::engine::retained_graphs::SetRows;
use crate::engine::retained_graphs::StackedGraph;
use crate::engine::session::Session;
use crate::engine::taps::TappedPass;

/// Each request's own result, in the order of the requests.
pub type Results<T> = Vec<Result<T, EngineError>>;

/// Runs forwards of one key in one pass. An error is the pass's: none of them has run.
pub fn forward(state: &mut DeviceState, calls: &[ReadyForward]) -> Result<Results<ForwardReply>, EngineError> {
    let leader = calls.first().ok_or(EngineError::NoSession)?;
    if leader.keep.is_some() {
        train_by_owner(state, calls)
    } else if let Some(taps) = leader.taps.clone() {
        evaluate_taps(state, calls, &taps)
    } else if differ_in_inputs_alone(state.session(leader.job)?, calls) {
        evaluate_as_one_batch(state, calls)
    } else {
        evaluate_by_owner(state, calls)
    }
}

/// The inputs of several forwards as one batch. Rows of the output follow the order in which inputs are appended, so that each appended
/// batch knows its rows before the pass has run.
#[derive(Default)]
struct JoinedBatch {
    ids: Vec<Vec<i64>>,
    types: Vec<Vec<i64>>,
    tokens: i64,
}

impl JoinedBatch {
    /// Appends inputs, and says which rows of the output will be theirs.
    fn append(&mut self, batch: &TokenBatch) -> BatchRows {
        let BatchRows { mut inputs, mut tokens } = BatchRows::whole(batch);
        (inputs.first, tokens.first) = (self.ids.len() as i64, self.tokens);
        self.ids.extend(batch.ids.iter().cloned());
        // All zero is what absent types stand for: batches with and without types can be joined.
        match &batch.types {
            Some(types) => self.types.extend(types.iter().cloned()),
            None => self.types.extend(batch.ids.iter().map(|ids| vec![0; ids.len()])),
        }
        self.tokens += tokens.count;
        BatchRows { inputs, tokens }
    }

    fn into_batch(self, session: &Session) -> TokenBatch {
        let has_types = session.backbone.info().token_types > 0;
        TokenBatch { ids: self.ids, types: has_types.then_some(self.types), truncated: 0 }
    }
}

/// A joined batch whose inputs have owners. Invariant: `owner_of` has an entry for each input, and it is a row of `values`.
#[derive(Default)]
struct OwnedBatch {
    inputs: JoinedBatch,
    /// By owner, `[P]`.
    values: Vec<Tensor>,
    /// By input.
    owner_of: Vec<usize>,
}

/// Where one forward's answer is found in the output of a pass by owner.
struct ForwardRows {
    /// In the order of the forward's sets; their owners are consecutive, which [`own_products`] relies on.
    sets: Vec<SetRows>,
    base: Option<RowRange>,
}

impl OwnedBatch {
    /// Appends a forward: its inputs for each of its sets, then for the bare backbone where it asks for that.
    fn append_forward(&mut self, call: &ReadyForward, cut: Pooling) -> Result<ForwardRows, EngineError> {
        let PassInputs { batch, values, sets, .. } = &call.inputs;
        let mut rows = ForwardRows { sets: Vec::with_capacity(sets.len()), base: None };
        for set in sets {
            rows.sets.push(self.append_owner(batch, values.theta().f_select(0, *set as i64)?, cut));
        }
        if call.base {
            // An update of zero is no update: B = 0 gives exactly 0.
            let zeros = values.theta().f_select(0, 0)?.f_zeros_like()?;
            rows.base = Some(self.append_owner(batch, zeros, cut).rows);
        }
        Ok(rows)
    }

    fn append_owner(&mut self, batch: &TokenBatch, values: Tensor, cut: Pooling) -> SetRows {
        let owner = self.values.len();
        self.owner_of.extend(std::iter::repeat_n(owner, batch.ids.len()));
        self.values.push(values);
        SetRows { owner: owner as i64, rows: self.inputs.append(batch).at(cut) }
    }

    /// Runs the pass. All forwards have the session's backbone, cut and layout: that is what their key says.
    fn run(self, session: &Session) -> Result<Graph, EngineError> {
        let batch = self.inputs.into_batch(session);
        let packed = session.pack(&batch)?;
        let rows = packed.owned(&self.owner_of, self.values.len())?;
        let lora = session.plan.stacked(&Tensor::f_stack(&self.values, 0)?, rows)?;
        let output = session.backbone.forward(&packed, Some(&lora), session.settings.cut())?; // (r, 1, h)
        Ok(Graph { output, lora, tokens: batch.tokens(), _backbone: Rc::clone(&session.backbone) })
    }
}

/// Runs training forwards by owner, and retains the common graph for each of them.
fn train_by_owner(state: &mut DeviceState, calls: &[ReadyForward]) -> Result<Results<ForwardReply>, EngineError> {
    for call in calls {
        state.graphs.make_room(call.job, call.bytes);
    }
    let (graph, rows) = run_by_owner(state, calls)?;
    let graph = Rc::new(graph);
    let answer = |call: &ReadyForward, rows: ForwardRows| {
        let tensors = cut_out_owned(&graph.output, call, &rows)?;
        if let Some(id) = call.keep {
            let own = StackedGraph { graph: Rc::clone(&graph), sets: rows.sets };
            state.graphs.retain(call.job, id, call.inputs.clone());
            state.graphs.attach(call.job, id, ForwardGraph::Stacked(own), call.bytes);
        }
        finish_shared(state, call, tensors, calls.len())
    };
    Ok(answer_each(calls, rows, answer))
}

/// Runs evaluations by owner; no graph is kept.
fn evaluate_by_owner(state: &mut DeviceState, calls: &[ReadyForward]) -> Result<Results<ForwardReply>, EngineError> {
    let frozen = tch::no_grad_guard();
    let (graph, rows) = run_by_owner(state, calls)?;
    drop(frozen);
    let answer = |call: &ReadyForward, rows: ForwardRows| {
        let tensors = cut_out_owned(&graph.output, call, &rows)?;
        finish_shared(state, call, tensors, calls.len())
    };
    Ok(answer_each(calls, rows, answer))
}

fn run_by_owner(state: &DeviceState, calls: &[ReadyForward]) -> Result<(Graph, Vec<ForwardRows>), EngineError> {
    let leader = calls.first().ok_or(EngineError::NoSession)?;
    let session = state.session(leader.job)?;
    let mut batch = OwnedBatch::default();
    let cut = session.settings.cut();
    let rows = calls.iter().map(|call| batch.append_forward(call, cut)).collect::<Result<_, _>>()?;
    Ok((batch.run(session)?, rows))
}

/// A forward's activations in the output `[R, 1, H]` of a pass by owner.
fn cut_out_owned(output: &Tensor, call: &ReadyForward, rows: &ForwardRows) -> Result<Vec<WireTensor>, EngineError> {
    let mut tensors = Vec::with_capacity(rows.sets.len() + 1);
    for (set, own) in call.inputs.sets.iter().zip(&rows.sets) {
        tensors.push(to_wire(format!("h.{set}"), &own.rows.of(output, 0)?)?);
    }
    if let Some(base) = rows.base {
        tensors.push(to_wire("h.base", &base.of(output, 0)?)?);
    }
    Ok(tensors)
}

/// Whether evaluations of one key can be one batch: no row then meets adapters that are not its own.
fn differ_in_inputs_alone(session: &Session, calls: &[ReadyForward]) -> bool {
    let Some(leader) = calls.first() else { return false };
    // On the bare backbone nobody's adapters are met.
    if calls.iter().all(|call| call.inputs.sets.is_empty()) {
        return true;
    }
    // Side by side, every set runs over every input. Where rows can have owners, that is worth it only if all ask for the same. Where
    // they cannot, it is the only way: who asked for less gets less.
    let ask_for_the_same = |call: &ReadyForward| call.base == leader.base && call.inputs.sets == leader.inputs.sets;
    calls.iter().all(|call| {
        call.inputs.values.id() == leader.inputs.values.id() && (!session.backbone.stacks() || ask_for_the_same(call))
    })
}

/// Evaluations of the same adapter values, run as one batch.
struct OneBatch {
    /// The sets that any of them asked for.
    sets: Vec<usize>,
    /// `[R, S, H]`, where a set was asked for.
    adapted: Option<Tensor>,
    /// `[R, 1, H]`, where the bare backbone was asked for.
    base: Option<Tensor>,
}

/// Runs evaluations as one batch of all their inputs.
fn evaluate_as_one_batch(
    state: &mut DeviceState,
    calls: &[ReadyForward],
) -> Result<Results<ForwardReply>, EngineError> {
    let leader = calls.first().ok_or(EngineError::NoSession)?;
    let session = state.session(leader.job)?;
    let mut batch = JoinedBatch::default();
    let cut = session.settings.cut();
    let rows: Vec<RowRange> = calls.iter().map(|call| batch.append(&call.inputs.batch).at(cut)).collect();
    let pass = OneBatch::run(session, calls, batch.into_batch(session))?;
    let answer = |call: &ReadyForward, rows: RowRange| {
        let tensors = pass.cut_out(call, rows)?;
        finish_shared(state, call, tensors, calls.len())
    };
    Ok(answer_each(calls, rows, answer))
}

/// Runs evaluations that want the same hidden states as one batch of all their inputs.
fn evaluate_taps(
    state: &mut DeviceState,
    calls: &[ReadyForward],
    taps: &Taps,
) -> Result<Results<ForwardReply>, EngineError> {
    let leader = calls.first().ok_or(EngineError::NoSession)?;
    let session = state.session(leader.job)?;
    let mut batch = JoinedBatch::default();
    let rows: Vec<BatchRows> = calls.iter().map(|call| batch.append(&call.inputs.batch)).collect();
    let pass = TappedPass::run(session, &batch.into_batch(session), taps)?;
    let answer = |call: &ReadyForward, rows: BatchRows| {
        let tensors = pass.cut_out(rows)?;
        finish_shared(state, call, tensors, calls.len())
    };
    Ok(answer_each(calls, rows, answer))
}

impl OneBatch {
    fn run(session: &Session, calls: &[ReadyForward], batch: TokenBatch) -> Result<Self, EngineError> {
        let leader = calls.first().ok_or(EngineError::NoSession)?;
        let sets: BTreeSet<usize> = calls.iter().flat_map(|call| call.inputs.sets.iter().copied()).collect();
        let inputs = PassInputs {
            batch: Arc::new(batch),
            values: Rc::clone(&leader.inputs.values),
            sets: sets.into_iter().collect(),
            random: 0, // without a graph there is no dropout
        };
        let adapted = if inputs.sets.is_empty() { None } else { Some(session.evaluate(&inputs)?) };
        let asks_for_base = calls.iter().any(|call| call.base);
        let base = if asks_for_base { Some(session.base(&inputs.batch)?) } else { None };
        Ok(Self { sets: inputs.sets, adapted, base })
    }

    /// The rows of one evaluation, of what it asked for and no more.
    fn cut_out(&self, call: &ReadyForward, rows: RowRange) -> Result<Vec<WireTensor>, EngineError> {
        let mut tensors = Vec::with_capacity(call.inputs.sets.len() + 1);
        for set in &call.inputs.sets {
            let index = self.sets.iter().position(|of| of == set);
            if let (Some(output), Some(index)) = (&self.adapted, index) {
                tensors.push(to_wire(format!("h.{set}"), &rows.of(output, index)?)?);
            }
        }
        if let Some(output) = &self.base
            && call.base
        {
            tensors.push(to_wire("h.base", &rows.of(output, 0)?)?);
        }
        Ok(tensors)
    }
}

/// Answers each forward from its own rows. One that fails does not keep the others from theirs.
fn answer_each<R>(
    calls: &[ReadyForward],
    rows: Vec<R>,
    mut answer: impl FnMut(&ReadyForward, R) -> Result<ForwardReply, EngineError>,
) -> Results<ForwardReply> {
    calls.iter().zip(rows).map(|(call, rows)| answer(call, rows)).collect()
}

fn finish_shared(
    state: &mut DeviceState,
    call: &ReadyForward,
    tensors: Vec<WireTensor>,
    jobs_in_pass: usize,
) -> Result<ForwardReply, EngineError> {
    Ok(ForwardReply { jobs_in_pass, ..passes::finish_forward(state, call, tensors)? })
}

/// The graph that a backward's forward shares with others, while it lives.
pub fn stacked_graph(state: &mut DeviceState, call: &ReadyBackward) -> Option<StackedGraph> {
    match state.graphs.graph(call.job, call.forward)? {
        ForwardGraph::Stacked(graph) => Some(graph),
        ForwardGraph::Alone(_) => None,
    }
}

/// Whether running these backwards on their common graph costs less than running each of their forwards again: a product on the
/// graph costs all of its tokens, whoever asks.
pub fn pays(calls: &[ReadyBackward], graph: &Graph) -> bool {
    2 * calls.iter().map(|call| call.inputs.tokens()).sum::<usize>() >= graph.tokens
}

/// Runs backwards on their common graph, `graphs` being what each of them sees of it: one product a share number for all of them. An
/// error is the pass's.
pub fn backward(
    state: &mut DeviceState,
    calls: &[ReadyBackward],
    graphs: &[StackedGraph],
) -> Result<Results<BackwardReply>, EngineError> {
    let graph = &graphs.first().ok_or(EngineError::NoForward)?.graph;
    let numbers: BTreeSet<usize> = calls.iter().flat_map(|call| call.cotangents.keys().copied()).collect();
    let mut products = BTreeMap::new();
    for number in numbers {
        let cotangent = common_cotangent(graph, calls, graphs, number)?;
        products.insert(number, graph.lora.vjp(&graph.output, &cotangent)?); // (o, p)
    }
    let answer = |(call, own): (&ReadyBackward, &StackedGraph)| {
        let gradients = own_products(call, own, &products)?;
        passes::finish_backward(state, call, &gradients)
    };
    Ok(calls.iter().zip(graphs).map(answer).collect())
}

/// The cotangents of one share number at their rows of the common output `[R, 1, H]`; zero where nobody sent a share of that number,
/// so that these rows add nothing to any product.
fn common_cotangent(
    graph: &Graph,
    calls: &[ReadyBackward],
    graphs: &[StackedGraph],
    number: usize,
) -> Result<Tensor, EngineError> {
    let common = graph.output.f_zeros_like()?.f_to_kind(Kind::Float)?;
    for (call, own) in calls.iter().zip(graphs) {
        let Some(cotangent) = call.cotangents.get(&number) else { continue };
        for (index, set) in own.sets.iter().enumerate() {
            set.rows.of(&common, 0)?.f_copy_(&cotangent.f_select(1, index as i64)?)?;
        }
    }
    Ok(common)
}

/// The rows of the products `[O, P]` that belong to one backward, `[S, P]` by share number. Its sets' owners are consecutive, in the
/// order of its sets.
fn own_products(
    call: &ReadyBackward,
    own: &StackedGraph,
    products: &BTreeMap<usize, Tensor>,
) -> Result<BTreeMap<usize, Tensor>, EngineError> {
    let first_owner = own.sets.first().map_or(0, |set| set.owner);
    let mut gradients = BTreeMap::new();
    for number in call.cotangents.keys() {
        if let Some(product) = products.get(number) {
            gradients.insert(*number, product.f_narrow(0, first_owner, own.sets.len() as i64)?);
        }
    }
    Ok(gradients)
}
