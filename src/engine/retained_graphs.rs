//! Retained forwards and their graphs. Owns what a backward needs to run, or to run again: what a forward's pass depended on, and its
//! graph as long as the byte budget allows. An evicted graph is not an error, only a recomputation.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tch::Tensor;

use crate::domain::held_bytes::retained_forwards;
use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::domain::settings::Pooling;
use crate::engine::adapter_values::AdapterValues;
use crate::engine::backbones::LoadedBackbone;
use crate::engine::inputs::TokenBatch;
use crate::engine::meter::Meter;
use crate::instruments;
use crate::instruments::Eviction;
use crate::model::error::TchResult;
use crate::model::lora_pass::LoraPass;

/// All that the pass of a forward depends on. Running it twice gives the same bits.
#[derive(Debug, Clone)]
pub struct PassInputs {
    /// The batch.
    pub batch: Arc<TokenBatch>,
    /// Adapter values of all sets.
    pub values: Rc<AdapterValues>,
    /// The sets that are run.
    pub sets: Vec<usize>,
    /// Seed of dropout.
    pub random: u64,
}

impl PassInputs {
    /// Tokens of the batch, counted once a set.
    pub fn tokens(&self) -> usize {
        self.batch.tokens() * self.sets.len()
    }
}

/// A live graph, of one forward or of several that were stacked in one pass.
pub struct Graph {
    /// Activations `[B, S, H]` or `[N, S, H]`; stacked `[R, 1, H]`, the rows of all forwards.
    pub output: Tensor,
    /// The leaves.
    pub lora: LoraPass,
    /// Tokens of the pass, each counted once a set.
    pub tokens: usize,
    /// The graph's saved tensors point into its weights, so it must outlive the graph: fields are dropped in this order.
    pub _backbone: Rc<LoadedBackbone>,
}

/// Consecutive rows of a shared pass's output: those of one forward's inputs.
#[derive(Debug, Clone, Copy)]
pub struct RowRange {
    /// The first of them.
    pub first: i64,
    /// How many.
    pub count: i64,
}

impl RowRange {
    /// These rows of `[R, S, H]` for one set: `[rows, H]`, a view.
    pub fn of(self, output: &Tensor, set: usize) -> TchResult<Tensor> {
        output.f_narrow(0, self.first, self.count)?.f_select(1, set as i64)
    }
}

/// Which rows of a shared pass belong to one batch: of what has a row an input, and of what has a row a token.
#[derive(Debug, Clone, Copy)]
pub struct BatchRows {
    /// Its inputs.
    pub inputs: RowRange,
    /// Their tokens.
    pub tokens: RowRange,
}

impl BatchRows {
    /// Of a batch that has its pass to itself.
    pub fn whole(batch: &TokenBatch) -> Self {
        let all = |count: usize| RowRange { first: 0, count: count as i64 };
        Self { inputs: all(batch.ids.len()), tokens: all(batch.tokens()) }
    }

    /// Those of an output at this cut.
    pub fn at(self, cut: Pooling) -> RowRange {
        if cut == Pooling::None { self.tokens } else { self.inputs }
    }
}

/// Where one adapter set of one forward is found in a stacked graph.
#[derive(Debug, Clone, Copy)]
pub struct SetRows {
    /// Its row of the graph's adapter values: the owner of its rows of the output.
    pub owner: i64,
    /// Its rows of the output.
    pub rows: RowRange,
}

/// The graph of a pass that several forwards shared, as one of them sees it.
#[derive(Clone)]
pub struct StackedGraph {
    /// The graph; it lives as long as one of the forwards has it.
    pub graph: Rc<Graph>,
    /// The forward's sets, in the order of [`PassInputs::sets`]. Their owners are consecutive.
    pub sets: Vec<SetRows>,
}

/// The graph of a retained forward.
#[derive(Clone)]
pub enum ForwardGraph {
    /// The forward had its pass to itself: one graph, or one a slice of a long pass.
    Alone(Vec<Rc<Graph>>),
    /// It shared its pass.
    Stacked(StackedGraph),
}

impl ForwardGraph {
    fn is_of(&self, graph: &Rc<Graph>) -> bool {
        match self {
            Self::Alone(own) => own.iter().any(|own| Rc::ptr_eq(own, graph)),
            Self::Stacked(own) => Rc::ptr_eq(&own.graph, graph),
        }
    }
}

struct RetainedForward {
    inputs: PassInputs,
    /// `None` where it was evicted.
    graph: Option<ForwardGraph>,
    /// Of the graph, by estimate.
    bytes: usize,
    /// Grows from forward to forward.
    number: u64,
    last_used: Instant,
}

/// How many graphs may live.
#[derive(Debug, Clone, Copy)]
pub struct GraphLimits {
    /// Bytes of all graphs together, by estimate.
    pub graph_bytes: usize,
    /// Graphs of one job; with 0 none outlives its call, and every backward runs its forward again.
    pub graphs_per_job: usize,
    /// How long a graph may go unused.
    pub graph_ttl: Duration,
    /// Bytes that are held for one job; the adapter values that its retained forwards pin take a part of them.
    pub held_bytes_per_job: u64,
}

type Key = (JobId, ForwardId);

/// The retained forwards of all jobs.
pub struct RetainedGraphs {
    limits: GraphLimits,
    forwards: HashMap<Key, RetainedForward>,
    retained: u64,
    /// Bytes kept free for graphs that are not whole yet.
    held: Rc<Cell<usize>>,
    meter: Arc<Meter>,
}

/// Room for a graph that is not whole yet; given back when this is dropped.
pub struct HeldRoom {
    held: Rc<Cell<usize>>,
    bytes: usize,
}

impl Drop for HeldRoom {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.bytes);
    }
}

impl RetainedGraphs {
    /// None retained; `meter` shows what those to come take.
    pub fn new(limits: GraphLimits, meter: Arc<Meter>) -> Self {
        Self { limits, forwards: HashMap::new(), retained: 0, held: Rc::default(), meter }
    }

    /// Bytes that all graphs together may take.
    pub fn budget_bytes(&self) -> usize {
        self.limits.graph_bytes
    }

    /// Retains a forward under an id, in place of what was there. The oldest forwards of the job beyond a few are forgotten.
    pub fn retain(&mut self, job: JobId, id: ForwardId, inputs: PassInputs) {
        self.retained += 1;
        let most = retained_forwards(inputs.values.bytes(), self.limits.held_bytes_per_job) as usize;
        let forward =
            RetainedForward { inputs, graph: None, bytes: 0, number: self.retained, last_used: Instant::now() };
        self.forwards.insert((job, id), forward);
        let of_job = self.forwards.iter().filter(|((of, _), _)| *of == job);
        let mut of_job: Vec<(u64, Key)> = of_job.map(|(key, forward)| (forward.number, *key)).collect();
        of_job.sort_unstable();
        for (_, key) in of_job.iter().take(of_job.len().saturating_sub(most)) {
            self.forwards.remove(key);
        }
    }

    /// What a retained forward depends on.
    pub fn inputs(&self, job: JobId, id: ForwardId) -> Option<&PassInputs> {
        self.forwards.get(&(job, id)).map(|forward| &forward.inputs)
    }

    /// The live graph of a retained forward, if it was not evicted. Counts as a use of it.
    pub fn graph(&mut self, job: JobId, id: ForwardId) -> Option<ForwardGraph> {
        let forward = self.forwards.get_mut(&(job, id))?;
        forward.last_used = Instant::now();
        forward.graph.clone()
    }

    /// Forwards that have this graph.
    pub fn forwards_on(&self, graph: &Rc<Graph>) -> usize {
        self.forwards.values().filter(|forward| forward.graph.as_ref().is_some_and(|own| own.is_of(graph))).count()
    }

    /// Evicts graphs, least recently used first, until one of `bytes` fits the budget and the job's number of graphs.
    pub fn make_room(&mut self, job: JobId, bytes: usize) {
        while let Some(key) = self.next_to_evict(job, bytes) {
            self.evict(&[key], Eviction::Room);
        }
    }

    /// Makes room for a graph that is built in several turns, and keeps it free until then.
    pub fn hold_room(&mut self, job: JobId, bytes: usize) -> HeldRoom {
        self.make_room(job, bytes);
        self.held.set(self.held.get() + bytes);
        HeldRoom { held: Rc::clone(&self.held), bytes }
    }

    fn next_to_evict(&self, job: JobId, bytes: usize) -> Option<Key> {
        let of_job = || self.live().filter(|((of, _), _)| *of == job);
        let total = self.bytes() + self.held.get();
        if of_job().count() >= self.limits.graphs_per_job.max(1) {
            least_recently_used(of_job())
        } else if total.saturating_add(bytes) > self.limits.graph_bytes {
            least_recently_used(self.live())
        } else {
            None
        }
    }

    /// Attaches the graph to a retained forward; call [`RetainedGraphs::make_room`] before building it.
    pub fn attach(&mut self, job: JobId, id: ForwardId, graph: ForwardGraph, bytes: usize) {
        if self.limits.graphs_per_job == 0 {
            return;
        }
        if let Some(forward) = self.forwards.get_mut(&(job, id)) {
            forward.graph = Some(graph);
            forward.bytes = bytes;
            forward.last_used = Instant::now();
        }
        self.show();
    }

    /// Evicts the graphs that went unused for the time to live.
    pub fn evict_unused(&mut self, now: Instant) {
        let ttl = self.limits.graph_ttl;
        let unused = self.live().filter(|(_, forward)| now.saturating_duration_since(forward.last_used) > ttl);
        let unused: Vec<Key> = unused.map(|(key, _)| *key).collect();
        self.evict(&unused, Eviction::Unused);
    }

    /// Evicts every graph: the device ran out of memory.
    pub fn evict_all(&mut self) {
        let all: Vec<Key> = self.live().map(|(key, _)| *key).collect();
        self.evict(&all, Eviction::OutOfMemory);
    }

    /// Forgets a job.
    pub fn forget_job(&mut self, job: JobId) {
        self.forwards.retain(|(of, _), _| *of != job);
        self.show();
    }

    fn live(&self) -> impl Iterator<Item = (&Key, &RetainedForward)> {
        self.forwards.iter().filter(|(_, forward)| forward.graph.is_some())
    }

    fn evict(&mut self, keys: &[Key], reason: Eviction) {
        if keys.is_empty() {
            return;
        }
        for key in keys {
            self.forwards.get_mut(key).into_iter().for_each(RetainedForward::evict);
        }
        instruments::evicted(reason, keys.len());
        self.show();
    }

    fn bytes(&self) -> usize {
        self.forwards.values().map(|forward| forward.bytes).sum()
    }

    fn show(&self) {
        let bytes = self.bytes();
        self.meter.graphs_hold(bytes);
        instruments::graphs_hold(bytes);
    }
}

impl RetainedForward {
    fn evict(&mut self) {
        self.graph = None;
        self.bytes = 0;
    }
}

fn least_recently_used<'a>(forwards: impl Iterator<Item = (&'a Key, &'a RetainedForward)>) -> Option<Key> {
    forwards.min_by_key(|(_, forward)| forward.last_used).map(|(key, _)| *key)
}
