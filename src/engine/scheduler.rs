//! Whose turn it is on the device. Owns the waiting commands: short passes go first as long as nobody waits for too long, and small
//! requests of several jobs are put into one pass.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use std::time::Instant;

use crate::domain::ids::JobId;
use crate::engine::accelerator;
use crate::engine::commands::Asked;
use crate::engine::commands::Command;
use crate::engine::commands::Queued;
use crate::engine::commands::Ready;
use crate::engine::commands::Reply;
use crate::engine::device_state::DeviceState;
use crate::engine::device_state::catch_panic;
use crate::engine::device_state::guarded;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardReply;
use crate::engine::interface::Metered;
use crate::engine::passes;
use crate::engine::passes::ReadyBackward;
use crate::engine::passes::ReadyForward;
use crate::engine::retained_graphs::StackedGraph;
use crate::engine::settings::DeviceSettings;
use crate::engine::stack_key::StackKey;
use crate::engine::stacking;
use crate::engine::stacking::Results;

/// How often an idle device looks for graphs that outlived their time, and gives free memory back.
const SWEEP: Duration = Duration::from_secs(5);
/// Who has waited for this long goes next, however long the pass.
const PATIENCE: Duration = Duration::from_millis(500);

/// A checked request that can share its pass with others of its kind.
trait Shareable: Sized {
    /// What its caller gets.
    type Answer;

    /// Whose it is.
    fn job(&self) -> JobId;

    /// Its part of a pass that others share: tokens, by set and share number.
    fn weight(&self) -> usize;

    /// Tokens that it is billed for.
    fn billed_tokens(&self) -> usize;

    /// Runs a group in one pass; `None` where it cannot share one, or had better not.
    fn run_together(state: &mut DeviceState, group: &[Self]) -> Result<Option<Results<Self::Answer>>, EngineError>;

    /// Runs it alone.
    fn run_alone(&self, state: &mut DeviceState) -> Result<Self::Answer, EngineError>;
}

impl Shareable for ReadyForward {
    type Answer = ForwardReply;

    fn job(&self) -> JobId {
        self.job
    }

    fn weight(&self) -> usize {
        self.tokens()
    }

    fn billed_tokens(&self) -> usize {
        self.inputs.batch.tokens()
    }

    fn run_together(state: &mut DeviceState, group: &[Self]) -> Result<Option<Results<ForwardReply>>, EngineError> {
        if group.len() < 2 {
            return Ok(None);
        }
        stacking::forward(state, group).map(Some)
    }

    fn run_alone(&self, state: &mut DeviceState) -> Result<ForwardReply, EngineError> {
        passes::forward(state, self)
    }
}

impl Shareable for ReadyBackward {
    type Answer = BackwardReply;

    fn job(&self) -> JobId {
        self.job
    }

    fn weight(&self) -> usize {
        self.tokens()
    }

    fn billed_tokens(&self) -> usize {
        self.inputs.batch.tokens() * self.cotangents.len()
    }

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

    fn run_alone(&self, state: &mut DeviceState) -> Result<BackwardReply, EngineError> {
        passes::backward(state, self)
    }
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
    waiting: VecDeque<Queued<Ready>>,
    settings: DeviceSettings,
    /// Whether memory was used since the last trim.
    used: bool,
}

impl Scheduler {
    /// Serves `queue`.
    pub fn new(state: DeviceState, queue: Receiver<Queued<Asked>>, settings: DeviceSettings) -> Self {
        Self { state, queue, waiting: VecDeque::new(), settings, used: false }
    }

    /// Works until every handle on the device is gone.
    pub fn serve(mut self) {
        loop {
            while let Ok(queued) = self.queue.try_recv() {
                self.admit(queued);
            }
            match self.take_next() {
                // Commands guard themselves; this guard is for what their own cleaning up could throw.
                Some(queued) => drop(catch_unwind(AssertUnwindSafe(|| self.run(queued)))),
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
        let state = &mut self.state;
        let command = match command {
            Command::Run(run) => Command::Run(run),
            Command::Forward(call, reply) => {
                match guarded(state, job, |state| passes::ready_forward(state, job, call)) {
                    Ok(call) => Command::Forward(call, reply),
                    Err(error) => return answer(reply, Err(error)),
                }
            }
            Command::Backward(call, reply) => {
                let limits = &self.settings.limits;
                match guarded(state, job, |state| passes::ready_backward(state, job, call, limits)) {
                    Ok(call) => Command::Backward(call, reply),
                    Err(error) => return answer(reply, Err(error)),
                }
            }
        };
        self.waiting.push_back(Queued { job, command, since, permit });
    }

    /// The shortest pass, or whoever has waited for too long; among equals the first. So a long pass is overtaken by short ones, but
    /// not for ever.
    fn take_next(&mut self) -> Option<Queued<Ready>> {
        let first_waited_long = self.waiting.front().is_some_and(|first| first.since.elapsed() >= PATIENCE);
        let index = if first_waited_long {
            0
        } else {
            (0..self.waiting.len()).min_by_key(|&index| self.waiting[index].command.cost())?
        };
        self.waiting.remove(index)
    }

    fn run(&mut self, queued: Queued<Ready>) {
        if queued.command.has_left() {
            return;
        }
        self.used = true;
        drop(queued.permit); // its turn has come: the next may queue
        match queued.command {
            Command::Run(run) => run(&mut self.state),
            Command::Forward(call, reply) => self.run_forward(call, reply),
            Command::Backward(call, reply) => self.run_backward(call, reply),
        }
    }

    /// Runs a forward with those that may share its pass.
    fn run_forward(&mut self, call: ReadyForward, reply: Reply<Metered<ForwardReply>>) {
        let mut group = vec![(call, reply)];
        // One that takes more than half of a pass leaves no room for its like.
        let most_tokens = self.settings.stack_tokens / 2;
        if let Some(key) = StackKey::of(&self.state, &group[0].0, most_tokens) {
            let wanted = key.count_compatible(&self.state);
            let room = self.settings.stack_tokens.saturating_sub(group[0].0.tokens());
            let joins = |state: &mut DeviceState, command: &Ready| match command {
                Command::Forward(call, _) => {
                    StackKey::of(state, call, most_tokens).filter(|own| key.admits(own)).map(|_| call.tokens())
                }
                _ => None,
            };
            for command in self.gather(wanted, room, joins) {
                if let Command::Forward(call, reply) = command {
                    group.push((call, reply));
                }
            }
        }
        self.run_group(group);
    }

    /// Runs a backward with those whose forwards shared its forward's pass.
    fn run_backward(&mut self, call: ReadyBackward, reply: Reply<Metered<BackwardReply>>) {
        let mut group = vec![(call, reply)];
        if let Some(own) = stacking::stacked_graph(&mut self.state, &group[0].0) {
            let wanted = self.state.graphs.forwards_on(&own.graph);
            let joins = |state: &mut DeviceState, command: &Ready| match command {
                // The graph is there already: another backward on it takes no room.
                Command::Backward(call, _) => {
                    stacking::stacked_graph(state, call).filter(|other| Rc::ptr_eq(&other.graph, &own.graph)).map(|_| 0)
                }
                _ => None,
            };
            for command in self.gather(wanted, usize::MAX, joins) {
                if let Command::Backward(call, reply) = command {
                    group.push((call, reply));
                }
            }
        }
        self.run_group(group);
    }

    /// Runs a group in one pass, and answers each with its own result. Where there is no such pass, or it failed, each runs alone:
    /// whoever made it fail fails alone.
    fn run_group<C: Shareable>(&mut self, group: Vec<(C, Reply<Metered<C::Answer>>)>) {
        let (calls, replies): (Vec<C>, Vec<_>) = group.into_iter().unzip();
        let begun = Instant::now();
        match catch_panic(|| C::run_together(&mut self.state, &calls)) {
            Ok(Some(results)) => {
                let parts = parts_of(begun.elapsed(), &calls);
                for (((call, reply), result), part) in calls.iter().zip(replies).zip(results).zip(parts) {
                    self.state.contain_failure(call.job(), &result);
                    answer(reply, metered(call, result, part));
                }
            }
            Ok(None) | Err(_) => {
                for (call, reply) in calls.iter().zip(replies) {
                    let begun = Instant::now();
                    let result = guarded(&mut self.state, call.job(), |state| call.run_alone(state));
                    answer(reply, metered(call, result, begun.elapsed()));
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
    ) -> Vec<Ready> {
        let deadline = Instant::now() + self.settings.stack_wait;
        let mut taken = Vec::new();
        while taken.len() + 1 < wanted {
            match self.find_candidate(room, &joins) {
                Candidate::Fits { index, takes } => {
                    if let Some(queued) = self.waiting.remove(index)
                        && !queued.command.has_left()
                    {
                        room -= takes;
                        taken.push(queued.command);
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
        for (index, queued) in self.waiting.iter().enumerate() {
            match joins(&mut self.state, &queued.command) {
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
    let all = calls.iter().map(Shareable::weight).sum::<usize>().max(1) as f64;
    calls.iter().map(|call| took.mul_f64(call.weight() as f64 / all)).collect()
}

fn metered<C: Shareable>(
    call: &C,
    result: Result<C::Answer, EngineError>,
    device: Duration,
) -> Result<Metered<C::Answer>, EngineError> {
    result.map(|answer| Metered { answer, device, tokens: call.billed_tokens() })
}

fn answer<T>(reply: Reply<T>, result: Result<T, EngineError>) {
    let _ = reply.send(result); // the caller may have left meanwhile
}
