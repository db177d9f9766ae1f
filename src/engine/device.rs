//! The device thread. Owns every live tensor: they are made, used and dropped on this one thread, command by command. A full
//! queue is refused at once, a caller that left costs nothing, and a panic ends with its command and its session.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;

use crate::domain::ids::JobId;
use crate::engine::accelerator;
use crate::engine::backbones::Backbones;
use crate::engine::commands::Asked;
use crate::engine::commands::Command;
use crate::engine::commands::Queued;
use crate::engine::device_state::DeviceState;
use crate::engine::device_state::guarded;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::EngineError;
use crate::engine::interface::ForwardCall;
use crate::engine::interface::ForwardReply;
use crate::engine::interface::Metered;
use crate::engine::interface::Occupancy;
use crate::engine::meter::Meter;
use crate::engine::passes::BackwardCall;
use crate::engine::reply::Reply;
use crate::engine::retained_graphs::RetainedGraphs;
use crate::engine::scheduler::Scheduler;
use crate::engine::settings::DeviceSettings;

/// A handle on the device thread, which ends when the last handle is dropped.
#[derive(Clone)]
pub struct Device {
    commands: Sender<Queued<Asked>>,
    /// The length of the queue.
    permits: Arc<Semaphore>,
    /// Evaluations that wait for their turn have permits of their own: steps of jobs are never kept out by them.
    evaluation_permits: Arc<Semaphore>,
    queue_len: usize,
    graph_limit: usize,
    meter: Arc<Meter>,
}

/// Evaluations that may wait on the device; more wait before it.
const QUEUED_EVALUATIONS: usize = 64;

impl Device {
    /// Starts the thread.
    pub fn start(settings: DeviceSettings) -> Result<Self, EngineError> {
        let settings = accelerator::open_device(settings)?;
        let (commands, queue) = channel::<Queued<Asked>>();
        let (queue_len, graph_limit) = (settings.queue_len.max(1), settings.graphs.graph_bytes);
        let permits = Arc::new(Semaphore::new(queue_len));
        let meter = Arc::new(Meter::default());
        let of_thread = Arc::clone(&meter);
        let threads = i32::try_from(settings.threads.max(1)).unwrap_or(i32::MAX);
        thread::Builder::new()
            .name("blindtune-device".to_owned())
            .spawn(move || {
                tch::set_num_threads(threads);
                let state = DeviceState {
                    graphs: RetainedGraphs::new(settings.graphs, Arc::clone(&of_thread)),
                    sessions: HashMap::new(),
                    backbones: Backbones::new(settings.placement),
                };
                Scheduler::new(state, queue, settings, of_thread).serve();
            })
            .map_err(|e| EngineError::Internal(format!("the device thread did not start: {e}")))?;
        let evaluation_permits = Arc::new(Semaphore::new(QUEUED_EVALUATIONS));
        Ok(Self { commands, permits, evaluation_permits, queue_len, graph_limit, meter })
    }

    /// How it is at this moment. Asks the thread nothing.
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            waiting: self.queue_len.saturating_sub(self.permits.available_permits()),
            queue: self.queue_len,
            busy: self.meter.busy(),
            graph_bytes: self.meter.graph_bytes(),
            graph_limit: self.graph_limit,
        }
    }

    /// Runs `work` on the device; refused with [`EngineError::Busy`] when the queue is full. Work whose caller went away
    /// before its turn is skipped.
    pub async fn call<T, F>(&self, job: JobId, work: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(&mut DeviceState) -> Result<T, EngineError> + Send + 'static,
    {
        self.ask(job, |reply| {
            Command::Run(Box::new(move |state| {
                if !reply.is_closed() {
                    let _ = reply.send(guarded(state, job, work)); // the caller may have left meanwhile
                }
            }))
        })
        .await
    }

    /// Runs a forward, alone or with other jobs' in one pass.
    pub async fn forward(
        &self,
        job: JobId,
        call: ForwardCall<TokenBatch>,
    ) -> Result<Metered<ForwardReply>, EngineError> {
        self.ask(job, |reply| Command::Forward(call, reply)).await
    }

    /// Runs a backward, alone or with other jobs' in one pass.
    pub async fn backward(&self, job: JobId, call: BackwardCall) -> Result<Metered<BackwardReply>, EngineError> {
        self.ask(job, |reply| Command::Backward(call, reply)).await
    }

    /// Runs an evaluation, which waits up to `patience` for a permit.
    pub async fn evaluate(
        &self,
        job: JobId,
        call: ForwardCall<TokenBatch>,
        patience: Duration,
    ) -> Result<Metered<ForwardReply>, EngineError> {
        let permit = tokio::time::timeout(patience, Arc::clone(&self.evaluation_permits).acquire_owned()).await;
        let permit = permit.map_err(|_| EngineError::Busy)?.map_err(|_| gone())?;
        self.send(job, permit, |reply| Command::Forward(call, reply)).await
    }

    async fn ask<T>(&self, job: JobId, command: impl FnOnce(Reply<T>) -> Asked) -> Result<T, EngineError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| EngineError::Busy)?;
        self.send(job, permit, command).await
    }

    async fn send<T>(
        &self,
        job: JobId,
        permit: OwnedSemaphorePermit,
        command: impl FnOnce(Reply<T>) -> Asked,
    ) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        let queued = Queued { job, command: command(reply), since: Instant::now(), permit: Some(permit) };
        self.commands.send(queued).map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Forgets a session; needs no permit and is never refused.
    pub async fn discard(&self, job: JobId) {
        let (done, forgotten) = oneshot::channel();
        let work = move |state: &mut DeviceState| {
            state.discard(job);
            let _ = done.send(()); // whoever asked may have left
        };
        let command = Command::Run(Box::new(work));
        if self.commands.send(Queued { job, command, since: Instant::now(), permit: None }).is_ok() {
            let _ = forgotten.await; // an error: the thread is gone, and the session with it
        }
    }
}

fn gone() -> EngineError {
    EngineError::Internal("the device thread is gone".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limits::Limits;
    use crate::engine::retained_graphs::GraphLimits;
    use crate::model::Placement;
    use uuid::Uuid;

    fn device(queue_len: usize) -> Device {
        let settings = DeviceSettings {
            threads: 1,
            queue_len,
            placement: Placement::default(),
            graphs: GraphLimits { graph_bytes: 1, graphs_per_job: 1, graph_ttl: Duration::ZERO, held_bytes_per_job: 1 },
            stack_tokens: 0,
            stack_wait: Duration::ZERO,
            slice_tokens: 0,
            limits: Limits::default(),
        };
        Device::start(settings).expect("starts")
    }

    #[tokio::test]
    async fn a_panic_ends_with_its_command() {
        let device = device(4);
        let job = JobId(Uuid::nil());
        let broken = device.call::<(), _>(job, |_| panic!("on purpose")).await;
        assert_eq!(broken, Err(EngineError::Internal("panicked: on purpose".to_owned())));
        assert_eq!(device.call(job, |_| Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn a_failure_inside_libtorch_ends_with_its_command() {
        let device = device(4);
        let job = JobId(Uuid::nil());
        let square = || tch::Tensor::ones([2, 3], (tch::Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        // A forward whose shapes do not fit, and a backward from what has no one value.
        let forward = device.call(job, move |_| Ok(square().matmul(&square()).size())).await;
        let backward = device.call(job, move |_| {
            (square() * 2.0).backward();
            Ok(())
        });
        let backward = backward.await;
        for (failed, words) in [(forward.map(|_| ()), "mat1 and mat2"), (backward, "scalar outputs")] {
            let Err(EngineError::Internal(reason)) = failed else { panic!("{failed:?}") };
            assert!(reason.contains(words), "{reason}");
            assert_eq!(device.call(job, |_| Ok(7)).await, Ok(7));
        }
    }

    #[tokio::test]
    async fn a_full_queue_is_refused_and_a_caller_that_left_is_skipped() {
        let device = device(1);
        let job = JobId(Uuid::nil());
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        let first = device.clone();
        let first = tokio::spawn(async move {
            let work = move |_: &mut DeviceState| {
                let _ = started.send(());
                hold.recv().map_err(|_| EngineError::NoSession)
            };
            first.call(job, work).await
        });
        running.await.expect("runs");
        let (ran, skipped) = oneshot::channel::<()>();
        let second = device.clone();
        let second = tokio::spawn(async move { second.call(job, move |_| Ok(ran.send(()).is_ok())).await });
        tokio::task::yield_now().await; // the second hands its command in
        assert_eq!(device.call(job, |_| Ok(())).await, Err(EngineError::Busy));
        second.abort();
        let _ = second.await;
        release.send(()).expect("holds");
        assert_eq!(first.await.expect("joins"), Ok(()));
        assert!(skipped.await.is_err(), "the second command ran although its caller had left");
    }
}
