//! A pass of one request, slice by slice: so that a long one gives the device back between two slices, and its neighbours wait for a
//! slice and not for the whole. Owns where a batch is cut, and how the slices become one answer; must never decide whose turn it is.
//!
//! Inputs do not meet in a pass, so a batch may be cut between any two of them: activations and hidden states stand one below the
//! other, and gradients add up. Where it is cut depends on its tokens alone, never on time: the same request gives the same bits on a
//! busy host as on an idle one. What fits one slice runs as it would without any.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tch::Tensor;

use crate::domain::ids::JobId;
use crate::domain::tensor::WireTensor;
use crate::engine::codec::to_wire;
use crate::engine::device_state::DeviceState;
use crate::engine::device_state::guarded;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardReply;
use crate::engine::interface::Metered;
use crate::engine::passes;
use crate::engine::passes::ReadyBackward;
use crate::engine::passes::ReadyForward;
use crate::engine::reply::Reply;
use crate::engine::reply::answer;
use crate::engine::retained_graphs::BatchRows;
use crate::engine::retained_graphs::ForwardGraph;
use crate::engine::retained_graphs::Graph;
use crate::engine::retained_graphs::HeldRoom;
use crate::engine::retained_graphs::PassInputs;
use crate::engine::taps::TappedPass;
use crate::instruments;
use crate::instruments::Pass;
use crate::model::error::TchResult;

/// So that each slice draws its own dropout: an odd constant of no meaning, near 2^64 over the golden ratio.
const NEXT_SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// A checked request that can run in slices.
pub trait Sliceable {
    /// What it is.
    const PASS: Pass;
    /// What its caller gets.
    type Answer;
    /// What is done of it.
    type Progress: Progress<Self, Answer = Self::Answer>;

    /// Whose it is.
    fn job(&self) -> JobId;

    /// Tokens that its pass reads.
    fn tokens(&self) -> usize;

    /// Tokens that it is billed for.
    fn billed_tokens(&self) -> usize;

    /// Nothing is done yet; no slice will read more than so many tokens, unless one input alone does.
    fn in_slices(&self, most_tokens: usize) -> Self::Progress;

    /// Runs it from its begin to its end.
    fn run_whole(&self, state: &mut DeviceState, most_tokens: usize) -> Result<Self::Answer, EngineError> {
        let mut progress = self.in_slices(most_tokens);
        loop {
            if let Some(answer) = progress.step(state, self)? {
                return Ok(answer);
            }
        }
    }
}

/// How far a request has come.
pub trait Progress<C: ?Sized> {
    /// What its caller gets.
    type Answer;

    /// Runs the next slice; gives the answer after the last one.
    fn step(&mut self, state: &mut DeviceState, call: &C) -> Result<Option<Self::Answer>, EngineError>;

    /// Slices that are left.
    fn slices_left(&self) -> usize;
}

/// A request under way that is longer than one slice.
pub trait UnderWay {
    /// Runs the next slice, and answers after the last one. Whether any is left.
    fn step(&mut self, state: &mut DeviceState) -> bool;

    /// Tokens that its pass reads from here on, about.
    fn tokens_left(&self) -> usize;

    /// Whether nobody waits for its answer any more.
    fn has_left(&self) -> bool;
}

struct Sliced<C: Sliceable> {
    call: C,
    progress: C::Progress,
    slices: usize,
    /// What its slices took of the device.
    took: Duration,
    reply: Option<Reply<Metered<C::Answer>>>,
}

/// The request as one that runs slice by slice, or both as they came where one slice holds it.
pub fn cut<C>(call: C, reply: Reply<Metered<C::Answer>>, most_tokens: usize) -> Result<Box<dyn UnderWay>, Whole<C>>
where
    C: Sliceable + 'static,
{
    if call.tokens() <= most_tokens {
        return Err(Whole { call, reply });
    }
    let progress = call.in_slices(most_tokens);
    let slices = progress.slices_left();
    if slices < 2 {
        return Err(Whole { call, reply });
    }
    Ok(Box::new(Sliced { call, progress, slices, took: Duration::ZERO, reply: Some(reply) }))
}

/// A request that one slice holds.
pub struct Whole<C: Sliceable> {
    /// The request.
    pub call: C,
    /// The way back to who asked.
    pub reply: Reply<Metered<C::Answer>>,
}

impl<C: Sliceable> UnderWay for Sliced<C> {
    fn step(&mut self, state: &mut DeviceState) -> bool {
        let begun = Instant::now();
        let result = guarded(state, self.call.job(), |state| self.progress.step(state, &self.call));
        self.took += begun.elapsed();
        let Some(result) = result.transpose() else { return true };
        if let Some(reply) = self.reply.take() {
            let (device, tokens) = (self.took, self.call.billed_tokens());
            answer(reply, result.map(|answer| Metered { answer, device, tokens }));
        }
        false
    }

    fn tokens_left(&self) -> usize {
        self.call.tokens() / self.slices * self.progress.slices_left()
    }

    fn has_left(&self) -> bool {
        self.reply.as_ref().is_none_or(Reply::is_closed)
    }
}

/// Which inputs go into each slice: as many as stay within `most_tokens`, and one at least.
fn ranges(batch: &TokenBatch, most_tokens: usize) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut room = 0;
    for (input, ids) in batch.ids.iter().enumerate() {
        match ranges.last_mut() {
            Some(last) if ids.len() <= room => {
                last.end = input + 1;
                room -= ids.len();
            }
            _ => {
                ranges.push(input..input + 1);
                room = most_tokens.saturating_sub(ids.len());
            }
        }
    }
    ranges
}

/// The slices of a pass that reads its batch `runs` times; the one slice of a short pass is the pass itself.
fn slices_of(inputs: &PassInputs, runs: usize, most_tokens: usize) -> Vec<PassInputs> {
    let ranges = ranges(&inputs.batch, most_tokens / runs.max(1));
    if ranges.len() < 2 {
        return vec![inputs.clone()];
    }
    let slice = |(number, range): (usize, Range<usize>)| {
        let types = inputs.batch.types.as_ref().map(|types| types[range.clone()].to_vec());
        let batch = Arc::new(TokenBatch { ids: inputs.batch.ids[range].to_vec(), types, truncated: 0 });
        let random = inputs.random.wrapping_add(NEXT_SEED.wrapping_mul(number as u64));
        PassInputs { batch, random, ..inputs.clone() }
    };
    ranges.into_iter().enumerate().map(slice).collect()
}

/// One below the other.
fn below_each_other(parts: &[Tensor]) -> TchResult<Option<Tensor>> {
    match parts {
        [] => Ok(None),
        [whole] => Ok(Some(whole.shallow_clone())),
        _ => Tensor::f_cat(parts, 0).map(Some),
    }
}

/// What the slices of a forward gave so far.
pub struct ForwardProgress {
    slices: Vec<PassInputs>,
    done: usize,
    /// Kept free for the graphs, so that the budget holds although others run between two slices.
    room: Option<HeldRoom>,
    graphs: Vec<Rc<Graph>>,
    /// By slice, `[B, S, H]` or `[N, S, H]`.
    adapted: Vec<Tensor>,
    /// By slice, `[B, 1, H]` or `[N, 1, H]`.
    base: Vec<Tensor>,
    tapped: Vec<TappedPass>,
}

impl Sliceable for ReadyForward {
    const PASS: Pass = Pass::Forward;
    type Answer = ForwardReply;
    type Progress = ForwardProgress;

    fn job(&self) -> JobId {
        self.job
    }

    fn tokens(&self) -> usize {
        self.inputs.batch.tokens() * self.runs()
    }

    fn billed_tokens(&self) -> usize {
        self.inputs.batch.tokens()
    }

    fn in_slices(&self, most_tokens: usize) -> ForwardProgress {
        // A backward has to find the same slices, and knows the sets alone.
        let runs = if self.keep.is_some() { self.inputs.sets.len() } else { self.runs() };
        ForwardProgress {
            slices: slices_of(&self.inputs, runs, most_tokens),
            done: 0,
            room: None,
            graphs: Vec::new(),
            adapted: Vec::new(),
            base: Vec::new(),
            tapped: Vec::new(),
        }
    }
}

impl Progress<ReadyForward> for ForwardProgress {
    type Answer = ForwardReply;

    fn step(&mut self, state: &mut DeviceState, call: &ReadyForward) -> Result<Option<ForwardReply>, EngineError> {
        let inputs = self.slices[self.done].clone();
        if let Some(taps) = &call.taps {
            self.tapped.push(TappedPass::run(state.session(call.job)?, &inputs.batch, taps)?);
        } else {
            self.activations(state, call, &inputs)?;
        }
        self.done += 1;
        if self.slices_left() > 0 {
            return Ok(None);
        }
        let tensors = self.tensors(call)?;
        if let Some(id) = call.keep {
            state.graphs.retain(call.job, id, call.inputs.clone());
            if !self.graphs.is_empty() {
                self.room = None; // the graphs take it
                let graphs = ForwardGraph::Alone(std::mem::take(&mut self.graphs));
                state.graphs.attach(call.job, id, graphs, call.bytes);
            }
        }
        passes::finish_forward(state, call, tensors).map(Some)
    }

    fn slices_left(&self) -> usize {
        self.slices.len() - self.done
    }
}

impl ForwardProgress {
    fn activations(
        &mut self,
        state: &mut DeviceState,
        call: &ReadyForward,
        inputs: &PassInputs,
    ) -> Result<(), EngineError> {
        if call.base {
            self.base.push(state.session(call.job)?.base(&inputs.batch)?);
        }
        if inputs.sets.is_empty() {
            return Ok(());
        }
        if call.keep.is_none() {
            self.adapted.push(state.session(call.job)?.evaluate(inputs)?);
            return Ok(());
        }
        if self.room.is_none() {
            self.room = Some(state.graphs.hold_room(call.job, call.bytes));
        }
        let graph = Rc::new(state.session(call.job)?.train(inputs)?);
        self.adapted.push(graph.output.f_detach()?);
        self.graphs.push(graph);
        Ok(())
    }

    /// What is answered, the slices' rows one below the other.
    fn tensors(&mut self, call: &ReadyForward) -> Result<Vec<WireTensor>, EngineError> {
        if call.taps.is_some() {
            return TappedPass::joined(std::mem::take(&mut self.tapped))?.cut_out(BatchRows::whole(&call.inputs.batch));
        }
        let mut tensors = Vec::with_capacity(call.inputs.sets.len() + 1);
        if let Some(output) = below_each_other(&self.adapted)? {
            for (index, set) in call.inputs.sets.iter().enumerate() {
                tensors.push(to_wire(format!("h.{set}"), &output.f_select(1, index as i64)?)?);
            }
        }
        if let Some(output) = below_each_other(&self.base)? {
            tensors.push(to_wire("h.base", &output.f_select(1, 0)?)?);
        }
        Ok(tensors)
    }
}

/// What the slices of a backward gave so far.
pub struct BackwardProgress {
    slices: Vec<PassInputs>,
    done: usize,
    /// Rows of the cotangents that the slices before took.
    rows: i64,
    /// By share number, `[S, P]`: sums over the slices so far.
    gradients: BTreeMap<usize, Tensor>,
}

impl Sliceable for ReadyBackward {
    const PASS: Pass = Pass::Backward;
    type Answer = BackwardReply;
    type Progress = BackwardProgress;

    fn job(&self) -> JobId {
        self.job
    }

    fn tokens(&self) -> usize {
        self.inputs.tokens() * self.cotangents.len()
    }

    fn billed_tokens(&self) -> usize {
        self.inputs.batch.tokens() * self.cotangents.len()
    }

    /// The slices are the forward's.
    fn in_slices(&self, most_tokens: usize) -> BackwardProgress {
        let slices = slices_of(&self.inputs, self.inputs.sets.len(), most_tokens);
        BackwardProgress { slices, done: 0, rows: 0, gradients: BTreeMap::new() }
    }
}

impl Progress<ReadyBackward> for BackwardProgress {
    type Answer = BackwardReply;

    /// Runs one vector-Jacobian product a share number, over all sets that have a share of that number.
    fn step(&mut self, state: &mut DeviceState, call: &ReadyBackward) -> Result<Option<BackwardReply>, EngineError> {
        let graph = self.graph(state, call)?;
        let cut = state.session(call.job)?.settings.cut();
        let rows = BatchRows::whole(&self.slices[self.done].batch).at(cut).count;
        for (number, cotangent) in &call.cotangents {
            let own = cotangent.f_narrow(0, self.rows, rows)?;
            let gradient = graph.lora.vjp(&graph.output, &own)?; // (s, p)
            let sum = match self.gradients.remove(number) {
                Some(before) => before.f_add(&gradient)?,
                None => gradient,
            };
            self.gradients.insert(*number, sum);
        }
        self.rows += rows;
        self.done += 1;
        if self.slices_left() > 0 {
            return Ok(None);
        }
        passes::finish_backward(state, call, &self.gradients).map(Some)
    }

    fn slices_left(&self) -> usize {
        self.slices.len() - self.done
    }
}

impl BackwardProgress {
    /// The graph of the next slice. Where it was evicted, or others share the forward's pass, whose products would cost all of their
    /// tokens, the forward runs again, and what is a whole pass is kept for the next backward.
    fn graph(&self, state: &mut DeviceState, call: &ReadyBackward) -> Result<Rc<Graph>, EngineError> {
        let ReadyBackward { job, forward, .. } = call;
        if let Some(ForwardGraph::Alone(graphs)) = state.graphs.graph(*job, *forward)
            && graphs.len() == self.slices.len()
        {
            return Ok(Rc::clone(&graphs[self.done]));
        }
        let inputs = &self.slices[self.done];
        let bytes = state.session(*job)?.graph_bytes(inputs.batch.tokens(), inputs.sets.len());
        state.graphs.make_room(*job, bytes);
        instruments::ran_again();
        let graph = Rc::new(state.session(*job)?.train(inputs)?);
        if self.slices.len() == 1 {
            state.graphs.attach(*job, *forward, ForwardGraph::Alone(vec![Rc::clone(&graph)]), bytes);
        }
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many inputs each slice takes.
    fn cut(lengths: &[usize], most_tokens: usize) -> Vec<usize> {
        let ids = lengths.iter().map(|length| vec![1; *length]).collect();
        ranges(&TokenBatch { ids, types: None, truncated: 0 }, most_tokens)
            .into_iter()
            .map(|range| range.len())
            .collect()
    }

    #[test]
    fn a_slice_takes_as_many_inputs_as_fit_and_one_at_least() {
        assert_eq!(cut(&[3, 3, 3, 3], 12), [4]);
        assert_eq!(cut(&[3, 3, 3, 3], 11), [3, 1]);
        assert_eq!(cut(&[3, 50, 3, 3], 6), [1, 1, 2]);
        assert_eq!(cut(&[3, 3], 0), [1, 1]);
        assert_eq!(cut(&[50], 6), [1]);
    }
}
