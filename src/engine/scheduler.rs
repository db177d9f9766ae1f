//! Whose turn it is on the device. Owns the waiting commands: projects take turns by what they used (`fair_shares`); of one project's,
//! short passes go first as long as none waits for too long. Small requests of several jobs are put into one pass, and a long pass runs in
//! slices, between which others have their turns.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use std::time::Instant;

use crate::domain::ids::ProjectId;
use crate::engine::accelerator;
use crate::engine::commands::Asked;
use crate::engine::commands::Command;
use crate::engine::commands::Queued;
use crate::engine::commands::Ready;
use crate::engine::commands::Waiting;
use crate::engine::device_state::DeviceState;
use crate::engine::device_state::catch_panic;
use crate::engine::device_state::guarded;
use crate::engine::fair_shares::FairShares;
use crate::engine::fair_shares::NOBODY;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardReply;
use crate::engine::interface::Metered;
use crate::engine::meter::Meter;
use crate::engine::passes;
use crate::engine::passes::ReadyBackward;
use crate::engine::passes::ReadyForward;
use crate::engine::reply::Reply;
use crate::engine::reply::answer;
use crate::engine::retained_graphs::StackedGraph;
use crate::engine::settings::DeviceSettings;
use crate::engine::slices;
use crate::engine::slices::Sliceable;
use crate::engine::slices::Whole;
use crate::engine::stack_key::StackKey;
use crate::engine::stacking;
use crate::engine::stacking::Results;
use crate::instruments;
use crate::instruments::Pass;

/// How often an idle device looks for graphs that outlived their time, and gives free memory back.
const SWEEP: Duration = Duration::from_secs(5);
/// What has waited for this long goes next of its project's, however long the pass.
const PATIENCE: Duration = Duration::from_millis(500);

/// A checked request that can share its pass with others of its kind.
trait Shareable: Sliceable + Sized {
    /// Runs a group in one pass; `None` where it cannot share one, or had better not.
    fn run_together(state: &mut DeviceState, group: &[Self]) -> Result<Option<Results<Self::Answer>>, EngineError>;
}

impl Shareable for ReadyForward {
    fn run_together(state: &mut DeviceState, group: &[Self]) -> Result<Option<Results<ForwardReply>>, EngineError> {
        if group.len() < 2 {
            return Ok(None);
        }
        stacking::forward(state, group).map(Some)
    }
}

impl Shareable for ReadyBackward {
    fn run_together(state: &mut DeviceState, group: &[Self]) -> Result<Option<Results<BackwardReply>>, EngineError> {
        // One of them may have lost its graph while others were waited for: then there is no common one.
        let graphs =
            group.iter().map(|call| stacking::stacked_graph(state, call)).collect::<Option<Vec<StackedGraph>>>();
        match graphs {
            Some(graphs) if graphs.first().is_some_and(|first| stacking::pays(group, &first.graph)) => {
                stacking::backward(state, group, &graphs).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// A request of a group, with the way back to who asked.
struct Member<C: Shareable> {
    /// Whose share of the device it takes.
    project: ProjectId,
    call: C,
    reply: Reply<Metered<C::Answer>>,
}

/// What a look through the waiting commands found for a group.
enum Candidate {
    /// This one fits, and takes so much room.
    Fits { index: usize, takes: usize },
    /// Some would join, but none has room.
    TooLarge,
    /// None would join.
    Absent,
}

/// The device thread's loop.
pub struct Scheduler {
    state: DeviceState,
    queue: Receiver<Queued<Asked>>,
    /// In the order in which they came.
    waiting: VecDeque<Waiting>,
    shares: FairShares,
    settings: DeviceSettings,
    meter: Arc<Meter>,
    /// Whether memory was used since the last trim.
    used: bool,
}

impl Scheduler {
    /// Serves `queue`, and tells `meter` how long it worked.
    pub fn new(
        state: DeviceState,
        queue: Receiver<Queued<Asked>>,
        settings: DeviceSettings,
        meter: Arc<Meter>,
    ) -> Self {
        let (waiting, shares) = (VecDeque::new(), FairShares::default());
        Self { state, queue, waiting, shares, settings, meter, used: false }
    }

    /// Works until every handle on the device is gone.
    pub fn serve(mut self) {
        loop {
            while let Ok(queued) = self.queue.try_recv() {
                self.admit(queued);
            }
            instruments::waiting(self.waiting.len());
            match self.take_next() {
                // Commands guard themselves; this guard is for what their own cleaning up could throw.
                Some(next) => drop(catch_unwind(AssertUnwindSafe(|| self.run(next)))),
                None => match self.queue.recv_timeout(SWEEP) {
                    Ok(queued) => self.admit(queued),
                    Err(RecvTimeoutError::Timeout) => self.give_memory_back(),
                    Err(RecvTimeoutError::Disconnected) => return,
                },
            }
            self.state.graphs.evict_unused(Instant::now());
        }
    }

    fn give_memory_back(&mut self) {
        if std::mem::take(&mut self.used) {
            accelerator::trim(self.state.backbones.device());
        }
    }

    /// Checks a command. What is refused is answered at once, and waits for nothing.
    fn admit(&mut self, Queued { job, command, since, permit }: Queued<Asked>) {
        let most_tokens = self.settings.slice_tokens;
        let state = &mut self.state;
        let payer = match &command {
            Command::Forward(call, _) => call.payer,
            _ => None,
        };
        let project = payer.or_else(|| state.sessions.get(&job).map(|session| session.project)).unwrap_or(NOBODY);
        let command = match command {
            Command::Run(run) => Command::Run(run),
            Command::Forward(call, reply) => {
                match guarded(state, job, |state| passes::ready_forward(state, job, call)) {
                    Ok(call) => slices::cut(call, reply, most_tokens)
                        .map_or_else(|Whole { call, reply }| Command::Forward(call, reply), Command::Sliced),
                    Err(error) => return answer(reply, Err(error)),
                }
            }
            Command::Backward(call, reply) => {
                let limits = &self.settings.limits;
                match guarded(state, job, |state| passes::ready_backward(state, job, call, limits)) {
                    Ok(call) => slices::cut(call, reply, most_tokens)
                        .map_or_else(|Whole { call, reply }| Command::Backward(call, reply), Command::Sliced),
                    Err(error) => return answer(reply, Err(error)),
                }
            }
            Command::Sliced(never) => match never {},
        };
        self.waiting.push_back(Waiting { project, queued: Queued { job, command, since, permit } });
    }

    /// Of the project that used least, its shortest pass, or what has waited for too long; among equals the first. So a long pass is
    /// overtaken by short ones, but not for ever, and no project waits for all that another has queued.
    fn take_next(&mut self) -> Option<Waiting> {
        let project = self.waiting.iter().map(|next| next.project).min_by_key(|project| self.shares.used(*project))?;
        let own = || (0..self.waiting.len()).filter(|&index| self.waiting[index].project == project);
        let oldest = own().next()?;
        let index = if self.waiting[oldest].queued.since.elapsed() >= PATIENCE {
            oldest
        } else {
            own().min_by_key(|&index| self.waiting[index].queued.command.cost())?
        };
        self.waiting.remove(index)
    }

    fn run(&mut self, Waiting { project, queued }: Waiting) {
        let Queued { job, command, since, permit } = queued;
        if command.has_left() {
            return;
        }
        self.used = true;
        self.shares.begin(project);
        drop(permit); // its turn has come: the next may queue
        match command {
            Command::Run(run) => {
                let begun = Instant::now();
                run(&mut self.state);
                self.charge(Pass::Other, project, begun.elapsed());
            }
            Command::Forward(call, reply) => self.run_forward(Member { project, call, reply }),
            Command::Backward(call, reply) => self.run_backward(Member { project, call, reply }),
            Command::Sliced(mut pass) => {
                let begun = Instant::now();
                let goes_on = pass.step(&mut self.state);
                self.charge(Pass::Slice, project, begun.elapsed());
                if goes_on {
                    // Before what came later: among its own project's it is still the oldest.
                    let queued = Queued { job, command: Command::Sliced(pass), since, permit: None };
                    self.waiting.push_front(Waiting { project, queued });
                }
            }
        }
    }

    /// What ran for one project alone.
    fn charge(&mut self, pass: Pass, project: ProjectId, took: Duration) {
        instruments::ran(pass, 1, took);
        self.meter.worked(took);
        self.shares.charge(project, took);
    }

    /// Runs a forward with those that may share its pass.
    fn run_forward(&mut self, first: Member<ReadyForward>) {
        let mut group = vec![first];
        // One that takes more than half of a pass leaves no room for its like.
        let most_tokens = self.settings.stack_tokens / 2;
        if let Some(key) = StackKey::of(&self.state, &group[0].call, most_tokens) {
            let wanted = key.count_compatible(&self.state);
            let room = self.settings.stack_tokens.saturating_sub(group[0].call.tokens());
            let joins = |state: &mut DeviceState, command: &Ready| match command {
                Command::Forward(call, _) => {
                    StackKey::of(state, call, most_tokens).filter(|own| key.admits(own)).map(|_| call.tokens())
                }
                _ => None,
            };
            for Waiting { project, queued } in self.gather(wanted, room, joins) {
                if let Command::Forward(call, reply) = queued.command {
                    group.push(Member { project, call, reply });
                }
            }
        }
        self.run_group(group);
    }

    /// Runs a backward with those whose forwards shared its forward's pass.
    fn run_backward(&mut self, first: Member<ReadyBackward>) {
        let mut group = vec![first];
        if let Some(own) = stacking::stacked_graph(&mut self.state, &group[0].call) {
            let wanted = self.state.graphs.forwards_on(&own.graph);
            let joins = |state: &mut DeviceState, command: &Ready| match command {
                // The graph is there already: another backward on it takes no room.
                Command::Backward(call, _) => {
                    stacking::stacked_graph(state, call).filter(|other| Rc::ptr_eq(&other.graph, &own.graph)).map(|_| 0)
                }
                _ => None,
            };
            for Waiting { project, queued } in self.gather(wanted, usize::MAX, joins) {
                if let Command::Backward(call, reply) = queued.command {
                    group.push(Member { project, call, reply });
                }
            }
        }
        self.run_group(group);
    }

    /// Runs a group in one pass, and answers each with its own result. Where there is no such pass, or it failed, each runs alone:
    /// whoever made it fail fails alone.
    fn run_group<C: Shareable>(&mut self, group: Vec<Member<C>>) {
        let (calls, askers): (Vec<C>, Vec<_>) =
            group.into_iter().map(|Member { project, call, reply }| (call, (project, reply))).unzip();
        let most_tokens = self.settings.slice_tokens;
        let begun = Instant::now();
        match catch_panic(|| C::run_together(&mut self.state, &calls)) {
            Ok(Some(results)) => {
                let took = begun.elapsed();
                instruments::ran(C::PASS, calls.len(), took);
                self.meter.worked(took);
                let parts = parts_of(took, &calls);
                for (((call, (project, reply)), result), part) in calls.iter().zip(askers).zip(results).zip(parts) {
                    self.shares.charge(project, part);
                    self.state.contain_failure(call.job(), &result);
                    answer(reply, metered(call, result, part));
                }
            }
            Ok(None) | Err(_) => {
                for (call, (project, reply)) in calls.iter().zip(askers) {
                    let begun = Instant::now();
                    let result = guarded(&mut self.state, call.job(), |state| call.run_whole(state, most_tokens));
                    let took = begun.elapsed();
                    self.charge(C::PASS, project, took);
                    answer(reply, metered(call, result, took));
                }
            }
        }
    }

    /// Takes the waiting commands that `joins` lets into a group (it says how much of `room` each takes), and waits a moment for more
    /// of them, until there are `wanted` with the one that leads it. Who came but has no room ends the wait: the pass is full.
    fn gather(
        &mut self,
        wanted: usize,
        mut room: usize,
        joins: impl Fn(&mut DeviceState, &Ready) -> Option<usize>,
    ) -> Vec<Waiting> {
        let deadline = Instant::now() + self.settings.stack_wait;
        let mut taken = Vec::new();
        while taken.len() + 1 < wanted {
            match self.find_candidate(room, &joins) {
                Candidate::Fits { index, takes } => {
                    if let Some(next) = self.waiting.remove(index)
                        && !next.queued.command.has_left()
                    {
                        room -= takes;
                        taken.push(next);
                    }
                }
                Candidate::TooLarge => break,
                Candidate::Absent => {
                    match self.queue.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                        Ok(queued) => self.admit(queued),
                        Err(_) => break,
                    }
                }
            }
        }
        taken
    }

    /// The first waiting command that would join a group and has room in it.
    fn find_candidate(&mut self, room: usize, joins: &impl Fn(&mut DeviceState, &Ready) -> Option<usize>) -> Candidate {
        let mut is_any_too_large = false;
        for (index, next) in self.waiting.iter().enumerate() {
            match joins(&mut self.state, &next.queued.command) {
                Some(takes) if takes <= room => return Candidate::Fits { index, takes },
                Some(_) => is_any_too_large = true,
                None => {}
            }
        }
        if is_any_too_large { Candidate::TooLarge } else { Candidate::Absent }
    }
}

/// What a pass took, divided among those who shared it.
fn parts_of<C: Shareable>(took: Duration, calls: &[C]) -> Vec<Duration> {
    let all = calls.iter().map(Sliceable::tokens).sum::<usize>().max(1) as f64;
    calls.iter().map(|call| took.mul_f64(call.tokens() as f64 / all)).collect()
}

fn metered<C: Shareable>(
    call: &C,
    result: Result<C::Answer, EngineError>,
    device: Duration,
) -> Result<Metered<C::Answer>, EngineError> {
    result.map(|answer| Metered { answer, device, tokens: call.billed_tokens() })
}
#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::sync::mpsc::channel;

    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::JobId;
    use crate::domain::limits::Limits;
    use crate::engine::backbones::Backbones;
    use crate::engine::retained_graphs::GraphLimits;
    use crate::engine::retained_graphs::RetainedGraphs;
    use crate::model::Placement;

    const BUSY: ProjectId = ProjectId(Uuid::from_u128(1));
    const NEIGHBOUR: ProjectId = ProjectId(Uuid::from_u128(2));

    fn scheduler() -> Scheduler {
        let graphs =
            GraphLimits { graph_bytes: 1, graphs_per_job: 1, graph_ttl: Duration::ZERO, held_bytes_per_job: 1 };
        let settings = DeviceSettings {
            threads: 1,
            queue_len: 64,
            placement: Placement::default(),
            graphs,
            stack_tokens: 0,
            stack_wait: Duration::ZERO,
            slice_tokens: usize::MAX,
            limits: Limits::default(),
        };
        let state = DeviceState {
            graphs: RetainedGraphs::new(graphs, Arc::default()),
            sessions: HashMap::new(),
            backbones: Backbones::new(Placement::default()),
        };
        Scheduler::new(state, channel().1, settings, Arc::default())
    }

    fn wait_for_turn(scheduler: &mut Scheduler, project: ProjectId) {
        let command = Command::Run(Box::new(|_| {}));
        let queued = Queued { job: JobId(Uuid::nil()), command, since: Instant::now(), permit: None };
        scheduler.waiting.push_back(Waiting { project, queued });
    }

    /// Serves the next one, as if it had taken a second.
    fn serve(scheduler: &mut Scheduler) -> Option<ProjectId> {
        let project = scheduler.take_next()?.project;
        scheduler.shares.begin(project);
        scheduler.shares.charge(project, Duration::from_secs(1));
        Some(project)
    }

    #[test]
    fn a_neighbour_waits_for_the_pass_under_way_and_not_for_the_queue() {
        let mut scheduler = scheduler();
        (0..20).for_each(|_| wait_for_turn(&mut scheduler, BUSY));
        (0..5).for_each(|_| assert_eq!(serve(&mut scheduler), Some(BUSY)));
        wait_for_turn(&mut scheduler, NEIGHBOUR);
        wait_for_turn(&mut scheduler, NEIGHBOUR);
        let served: Vec<ProjectId> = std::iter::from_fn(|| serve(&mut scheduler)).collect();
        let turns: Vec<usize> = (0..served.len()).filter(|&turn| served[turn] == NEIGHBOUR).collect();
        assert!(turns[0] == 0 && turns[1] <= 2, "its turns among {}: {turns:?}", served.len());
        assert_eq!(served.len(), 17, "each once");
    }

    /// A long pass that says in `steps` when it runs.
    struct Long {
        slices: usize,
        steps: Rc<RefCell<Vec<&'static str>>>,
    }

    impl slices::UnderWay for Long {
        fn step(&mut self, _: &mut DeviceState) -> bool {
            std::thread::sleep(Duration::from_millis(2)); // used more than one that only writes its name
            self.steps.borrow_mut().push("slice");
            self.slices -= 1;
            self.slices > 0
        }

        fn tokens_left(&self) -> usize {
            self.slices
        }

        fn has_left(&self) -> bool {
            false
        }
    }

    #[test]
    fn a_neighbour_waits_for_a_slice_and_not_for_the_pass() {
        let mut scheduler = scheduler();
        let steps = Rc::new(RefCell::new(Vec::new()));
        let long = Command::Sliced(Box::new(Long { slices: 3, steps: Rc::clone(&steps) }) as Box<dyn slices::UnderWay>);
        let queued = Queued { job: JobId(Uuid::nil()), command: long, since: Instant::now(), permit: None };
        scheduler.waiting.push_back(Waiting { project: BUSY, queued });
        let first = scheduler.take_next().expect("the long pass waits");
        scheduler.run(first);
        wait_for_turn(&mut scheduler, NEIGHBOUR);
        let next = scheduler.take_next().expect("two wait");
        assert_eq!(next.project, NEIGHBOUR);
        scheduler.run(next);
        while let Some(next) = scheduler.take_next() {
            scheduler.run(next);
        }
        assert_eq!(*steps.borrow(), ["slice", "slice", "slice"], "it goes on where it was");
    }
}
