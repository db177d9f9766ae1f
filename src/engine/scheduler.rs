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

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::oneshot;

use crate::domain::ids::JobId;
use crate::engine::accelerator;
use crate::engine::device_state::Host;
use crate::engine::device_state::caught;
use crate::engine::device_state::guarded;
use crate::engine::device_state::settle;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardReply;
use crate::engine::passes;
use crate::engine::passes::BackwardCall;
use crate::engine::passes::ReadCall;
use crate::engine::passes::ReadyBackward;
use crate::engine::passes::ReadyForward;
use crate::engine::retained_graphs::Part;
use crate::engine::settings::DeviceSettings;
use crate::engine::stacking;

/// How often an idle device looks for graphs that outlived their time, and gives free memory back.
const SWEEP: Duration = Duration::from_secs(5);
/// Who has waited for this long goes next, however long the pass.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, EngineError>>;

/// What can be asked of the device.
pub enum Command {
    /// Anything short.
    Run(Box<dyn FnOnce(&mut Host) + Send>),
    /// A forward.
    Forward {
        /// The job.
        job: JobId,
        /// What to run.
        call: ReadCall,
        /// Where the answer goes.
        reply: Reply<ForwardReply>,
    },
    /// A backward.
    Backward {
        /// The job.
        job: JobId,
        /// What to run.
        call: BackwardCall,
        /// Where the answer goes.
        reply: Reply<BackwardReply>,
    },
}

/// A command on its way to the device.
pub struct Queued {
    /// What is asked.
    pub command: Command,
    /// Since when it waits.
    pub since: Instant,
    /// Its place in the queue, given up when its turn comes.
    pub _place: Option<OwnedSemaphorePermit>,
}

/// A checked command that waits for its turn.
struct Task {
    work: Work,
    since: Instant,
    place: Option<OwnedSemaphorePermit>,
}

enum Work {
    Run(Box<dyn FnOnce(&mut Host) + Send>),
    Forward(ReadyForward, Reply<ForwardReply>),
    Backward(ReadyBackward, Reply<BackwardReply>),
}

impl Work {
    /// Tokens that its pass reads.
    fn cost(&self) -> usize {
        match self {
            Self::Run(_) => 0,
            Self::Forward(call, _) => stacking::tokens(call),
            Self::Backward(call, _) => call.pinned.batch.tokens() * call.pinned.sets.len() * call.cotangents.len(),
        }
    }

    fn into_forward(self) -> Option<(ReadyForward, Reply<ForwardReply>)> {
        match self {
            Self::Forward(call, reply) => Some((call, reply)),
            _ => None,
        }
    }

    fn into_backward(self) -> Option<(ReadyBackward, Reply<BackwardReply>)> {
        match self {
            Self::Backward(call, reply) => Some((call, reply)),
            _ => None,
        }
    }

    fn has_left(&self) -> bool {
        match self {
            Self::Run(_) => false,
            Self::Forward(_, reply) => reply.is_closed(),
            Self::Backward(_, reply) => reply.is_closed(),
        }
    }
}

/// The device thread's loop.
pub struct Scheduler {
    host: Host,
    queue: Receiver<Queued>,
    waiting: VecDeque<Task>,
    settings: DeviceSettings,
    /// Whether memory was used since the last trim.
    used: bool,
}

impl Scheduler {
    /// Serves `queue`.
    pub fn new(host: Host, queue: Receiver<Queued>, settings: DeviceSettings) -> Self {
        Self { host, queue, waiting: VecDeque::new(), settings, used: false }
    }

    /// Works until every handle on the device is gone.
    pub fn serve(mut self) {
        loop {
            while let Ok(queued) = self.queue.try_recv() {
                self.admit(queued);
            }
            match self.next() {
                // Tasks guard themselves; this guard is for what their own cleaning up could throw.
                Some(task) => drop(catch_unwind(AssertUnwindSafe(|| self.run(task)))),
                None => match self.queue.recv_timeout(SWEEP) {
                    Ok(queued) => self.admit(queued),
                    Err(RecvTimeoutError::Timeout) => self.rest(),
                    Err(RecvTimeoutError::Disconnected) => return,
                },
            }
            self.host.leases.sweep(Instant::now());
        }
    }

    /// An idle device gives back what it does not need.
    fn rest(&mut self) {
        if std::mem::take(&mut self.used) {
            accelerator::trim(self.host.backbones.placement().device);
        }
    }

    /// Checks a command. What is refused is answered at once, and waits for nothing.
    fn admit(&mut self, Queued { command, since, _place: place }: Queued) {
        let host = &mut self.host;
        let work = match command {
            Command::Run(run) => Work::Run(run),
            Command::Forward { job, call, reply } => match guarded(host, job, |host| passes::ready(host, job, call)) {
                Ok(call) => Work::Forward(call, reply),
                Err(error) => return answer(reply, Err(error)),
            },
            Command::Backward { job, call, reply } => {
                let limits = &self.settings.limits;
                match guarded(host, job, |host| passes::ready_backward(host, job, call, limits)) {
                    Ok(call) => Work::Backward(call, reply),
                    Err(error) => return answer(reply, Err(error)),
                }
            }
        };
        self.waiting.push_back(Task { work, since, place });
    }

    /// The shortest pass, or whoever has waited for too long; among equals the first.
    fn next(&mut self) -> Option<Task> {
        let patient = self.waiting.front().is_none_or(|first| first.since.elapsed() < PATIENCE);
        let place = match patient {
            true => (0..self.waiting.len()).min_by_key(|&place| self.waiting[place].work.cost())?,
            false => 0,
        };
        self.waiting.remove(place)
    }

    fn run(&mut self, task: Task) {
        if task.work.has_left() {
            return;
        }
        self.used = true;
        drop(task.place);
        match task.work {
            Work::Run(run) => run(&mut self.host),
            Work::Forward(call, reply) => self.forward(call, reply),
            Work::Backward(call, reply) => self.backward(call, reply),
        }
    }

    fn forward(&mut self, call: ReadyForward, reply: Reply<ForwardReply>) {
        let mut group = vec![(call, reply)];
        let most = self.settings.stack_tokens;
        if let Some(key) = stacking::key(&self.host, &group[0].0, most / 2) {
            let mates = stacking::mates(&self.host, &key);
            let room = most.saturating_sub(stacking::tokens(&group[0].0));
            let more = self.gather(mates, room, |host, work| match work {
                Work::Forward(call, _) if stacking::key(host, call, most / 2).is_some_and(|own| key.takes(&own)) => {
                    Some(stacking::tokens(call))
                }
                _ => None,
            });
            group.extend(more.into_iter().filter_map(Work::into_forward));
        }
        let (calls, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let host = &mut self.host;
        let together = (calls.len() > 1).then(|| caught(|| stacking::forward(host, &calls)));
        let calls = calls.into_iter().map(|call| (call.job, call)).zip(replies);
        self.conclude(together, calls.collect(), passes::forward);
    }

    fn backward(&mut self, call: ReadyBackward, reply: Reply<BackwardReply>) {
        let mut group = vec![(call, reply)];
        let part = stacking::part(&mut self.host, &group[0].0);
        if let Some(part) = &part {
            let mates = self.host.leases.sharers(&part.graph);
            let more = self.gather(mates, usize::MAX, |host, work| match work {
                Work::Backward(call, _) => {
                    let other = stacking::part(host, call)?;
                    Rc::ptr_eq(&other.graph, &part.graph).then_some(0)
                }
                _ => None,
            });
            group.extend(more.into_iter().filter_map(Work::into_backward));
        }
        let (calls, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let host = &mut self.host;
        let together = part.filter(|part| stacking::pays(&calls, &part.graph)).map(|_| {
            let parts: Vec<Part> = calls.iter().filter_map(|call| stacking::part(host, call)).collect();
            caught(|| stacking::backward(host, &calls, &parts))
        });
        let calls = calls.into_iter().map(|call| (call.job, call)).zip(replies);
        self.conclude(together, calls.collect(), |host, call| passes::backward(host, &call));
    }

    /// Answers each request of a group with its result of the common pass. Where there was none, or it failed, each runs alone: whoever
    /// made it fail fails alone.
    fn conclude<C, T>(
        &mut self,
        together: Option<Result<Vec<Result<T, EngineError>>, EngineError>>,
        group: Vec<((JobId, C), Reply<T>)>,
        alone: impl Fn(&mut Host, C) -> Result<T, EngineError>,
    ) {
        match together {
            Some(Ok(results)) => {
                for (((job, _), reply), result) in group.into_iter().zip(results) {
                    settle(&mut self.host, job, &result);
                    answer(reply, result);
                }
            }
            _ => {
                for ((job, call), reply) in group {
                    answer(reply, guarded(&mut self.host, job, |host| alone(host, call)));
                }
            }
        }
    }

    /// Takes the waiting tasks that `fits` lets in (it says how much of `room` each takes), and waits a moment for more of them, until
    /// there are `mates` of them with the one that asks.
    fn gather(&mut self, mates: usize, mut room: usize, fits: impl Fn(&mut Host, &Work) -> Option<usize>) -> Vec<Work> {
        let deadline = Instant::now() + self.settings.stack_wait;
        let mut taken = Vec::new();
        while taken.len() + 1 < mates {
            let mut full = false;
            let found = (0..self.waiting.len()).find_map(|place| {
                let takes = fits(&mut self.host, &self.waiting[place].work)?;
                full |= takes > room;
                (takes <= room).then_some((place, takes))
            });
            if let Some((place, takes)) = found {
                room -= takes;
                taken.extend(self.waiting.remove(place).map(|task| task.work).filter(|work| !work.has_left()));
                continue;
            }
            if full {
                break;
            }
            match self.queue.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(queued) => self.admit(queued),
                Err(_) => break,
            }
        }
        taken
    }
}

fn answer<T>(reply: Reply<T>, result: Result<T, EngineError>) {
    let _ = reply.send(result); // the caller may have left meanwhile
}
