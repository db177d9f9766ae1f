//! Kept forwards. Owns what a backward needs to run, or to run again: the pinned inputs, adapter values and random seed of
//! a forward, and its graph as long as the byte budget allows. An evicted graph is not an error, only a recomputation.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tch::Tensor;

use crate::domain::ids::ForwardId;
use crate::domain::ids::JobId;
use crate::engine::inputs::TokenBatch;
use crate::model::Backbone;
use crate::model::lora_pass::LoraPass;

/// Kept forwards of one job; the oldest makes room.
const FORWARDS_PER_JOB: usize = 8;

/// All that a training forward depends on. Running it twice gives the same bits.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// The inputs.
    pub batch: Arc<TokenBatch>,
    /// Adapter values of all sets `[n, P]`; never changed in place.
    pub theta: Rc<Tensor>,
    /// The sets that were run.
    pub sets: Vec<usize>,
    /// Seed of dropout.
    pub random: u64,
}

/// A live graph, of one forward or of several that were stacked in one pass.
pub struct Graph {
    /// Activations `[B, S, H]` or `[N, S, H]`; stacked `[R, 1, H]`, the rows of all units.
    pub output: Tensor,
    /// The leaves.
    pub lora: LoraPass,
    /// Tokens of the pass, each counted once a set.
    pub tokens: usize,
    /// The graph's saved tensors point into its weights, so it must outlive the graph: fields are dropped in this order.
    pub _backbone: Rc<dyn Backbone>,
}

/// Where one adapter set of one forward stands in a stacked graph.
#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// Its row of the graph's adapter values.
    pub owner: i64,
    /// Its first row of the output.
    pub first_row: i64,
    /// Its rows of the output.
    pub rows: i64,
}

/// One forward's part of a graph.
#[derive(Clone)]
pub struct Part {
    /// The graph, which lives as long as one of its parts.
    pub graph: Rc<Graph>,
    /// Its sets in a stacked graph, in the order of [`Pinned::sets`]; empty where the graph is this forward's alone.
    pub units: Vec<Unit>,
}

impl Part {
    /// A graph of one forward.
    pub fn whole(graph: Graph) -> Self {
        Self { graph: Rc::new(graph), units: Vec::new() }
    }
}

struct Lease {
    pinned: Pinned,
    graph: Option<Part>,
    bytes: usize,
    born: u64,
    used: Instant,
}

/// How many graphs may live.
#[derive(Debug, Clone, Copy)]
pub struct LeaseLimits {
    /// Bytes of all graphs together, by estimate.
    pub graph_bytes: usize,
    /// Graphs of one job; with 0 none outlives its call, and every backward runs its forward again.
    pub graphs_per_job: usize,
    /// How long a graph may go unused.
    pub graph_ttl: Duration,
}

/// The kept forwards of all jobs.
pub struct Leases {
    limits: LeaseLimits,
    kept: HashMap<(JobId, ForwardId), Lease>,
    births: u64,
}

impl Leases {
    /// None kept.
    pub fn new(limits: LeaseLimits) -> Self {
        Self { limits, kept: HashMap::new(), births: 0 }
    }

    /// Bytes that all graphs together may take.
    pub fn budget_bytes(&self) -> usize {
        self.limits.graph_bytes
    }

    /// Keeps a forward under an id, in place of what was there. The oldest forwards of the job beyond a few are forgotten.
    pub fn keep(&mut self, job: JobId, id: ForwardId, pinned: Pinned) {
        self.births += 1;
        let lease = Lease { pinned, graph: None, bytes: 0, born: self.births, used: Instant::now() };
        self.kept.insert((job, id), lease);
        let mut of_job: Vec<_> =
            self.kept.iter().filter(|((of, _), _)| *of == job).map(|(k, l)| (l.born, *k)).collect();
        of_job.sort_unstable();
        for (_, key) in of_job.iter().take(of_job.len().saturating_sub(FORWARDS_PER_JOB)) {
            self.kept.remove(key);
        }
    }

    /// What a kept forward depends on.
    pub fn pinned(&self, job: JobId, id: ForwardId) -> Option<&Pinned> {
        self.kept.get(&(job, id)).map(|lease| &lease.pinned)
    }

    /// The live graph of a kept forward, if it was not evicted.
    pub fn graph(&mut self, job: JobId, id: ForwardId) -> Option<Part> {
        let lease = self.kept.get_mut(&(job, id))?;
        lease.used = Instant::now();
        lease.graph.clone()
    }

    /// Forwards that have a part in a graph.
    pub fn sharers(&self, graph: &Rc<Graph>) -> usize {
        let has_part = |lease: &Lease| lease.graph.as_ref().is_some_and(|part| Rc::ptr_eq(&part.graph, graph));
        self.kept.values().filter(|lease| has_part(lease)).count()
    }

    /// Evicts graphs, least recently used first, until one of `bytes` fits the budget and the job's share of graphs.
    pub fn make_room(&mut self, job: JobId, bytes: usize) {
        loop {
            let total: usize = self.kept.values().map(|lease| lease.bytes).sum();
            let of_job = self.live().filter(|((of, _), _)| *of == job).count();
            let victim = if of_job >= self.limits.graphs_per_job.max(1) {
                oldest(self.live().filter(|((of, _), _)| *of == job))
            } else if total.saturating_add(bytes) > self.limits.graph_bytes {
                oldest(self.live())
            } else {
                None
            };
            match victim {
                Some(key) => self.evict(key),
                None => return,
            }
        }
    }

    /// Attaches the graph to a kept forward; call [`Leases::make_room`] before building it.
    pub fn attach(&mut self, job: JobId, id: ForwardId, graph: Part, bytes: usize) {
        let retains = self.limits.graphs_per_job > 0;
        if let Some(lease) = self.kept.get_mut(&(job, id)).filter(|_| retains) {
            (lease.graph, lease.bytes, lease.used) = (Some(graph), bytes, Instant::now());
        }
    }

    /// Evicts the graphs that went unused for the time to live.
    pub fn sweep(&mut self, now: Instant) {
        let ttl = self.limits.graph_ttl;
        let stale = self.live().filter(|(_, lease)| now.saturating_duration_since(lease.used) > ttl);
        for key in stale.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.evict(key);
        }
    }

    /// Evicts every graph: the device ran out of memory.
    pub fn evict_all(&mut self) {
        for lease in self.kept.values_mut() {
            (lease.graph, lease.bytes) = (None, 0);
        }
    }

    /// Forgets a job.
    pub fn forget(&mut self, job: JobId) {
        self.kept.retain(|(of, _), _| *of != job);
    }

    fn live(&self) -> impl Iterator<Item = (&(JobId, ForwardId), &Lease)> {
        self.kept.iter().filter(|(_, lease)| lease.graph.is_some())
    }

    fn evict(&mut self, key: (JobId, ForwardId)) {
        if let Some(lease) = self.kept.get_mut(&key) {
            (lease.graph, lease.bytes) = (None, 0);
        }
    }
}

fn oldest<'a>(leases: impl Iterator<Item = (&'a (JobId, ForwardId), &'a Lease)>) -> Option<(JobId, ForwardId)> {
    leases.min_by_key(|(_, lease)| lease.used).map(|(key, _)| *key)
}
