//! The device thread. Owns every live tensor: they are made, used and dropped on this one thread, command by command. A full
//! queue is refused at once, a caller that left costs nothing, and a panic ends with its command and its session.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::TrySendError;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::domain::ids::JobId;
use crate::engine::EngineError;
use crate::engine::leases::LeaseLimits;
use crate::engine::leases::Leases;
use crate::engine::loading::Backbones;
use crate::engine::session::Session;

/// How often an idle device looks for graphs that outlived their time.
const SWEEP: Duration = Duration::from_secs(5);
/// Between two attempts to hand in a command that must not be refused.
const RETRY: Duration = Duration::from_millis(2);

type Command = Box<dyn FnOnce(&mut Host) + Send>;

/// What lives on the device thread. Leases stand first: graphs are dropped before the sessions' backbones.
pub struct Host {
    /// Kept forwards.
    pub leases: Leases,
    /// Open sessions.
    pub sessions: HashMap<JobId, Session>,
    /// Backbones that sessions share.
    pub backbones: Backbones,
}

impl Host {
    /// Forgets a session and what was kept for it.
    pub fn discard(&mut self, job: JobId) {
        self.leases.forget(job);
        self.sessions.remove(&job);
    }
}

/// A handle on the device thread, which ends when the last handle is dropped.
#[derive(Clone)]
pub struct Device {
    commands: SyncSender<Command>,
}

impl Device {
    /// Starts the thread with `threads` LibTorch threads and room for `queue_len` waiting commands.
    pub fn start(threads: usize, queue_len: usize, limits: LeaseLimits) -> Result<Self, EngineError> {
        let (commands, queue) = sync_channel::<Command>(queue_len.max(1));
        let threads = i32::try_from(threads.max(1)).unwrap_or(i32::MAX);
        thread::Builder::new()
            .name("blindtune-device".to_owned())
            .spawn(move || {
                tch::set_num_threads(threads);
                serve(&queue, limits);
            })
            .map_err(|e| EngineError::Internal(format!("the device thread did not start: {e}")))?;
        Ok(Self { commands })
    }

    /// Runs `work` on the device; refused with [`EngineError::Busy`] when the queue is full. Work whose caller went away
    /// before its turn is skipped.
    pub async fn call<T, F>(&self, job: JobId, work: F) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Host) -> Result<T, EngineError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let command: Command = Box::new(move |host| {
            if !reply.is_closed() {
                let _ = reply.send(guarded(host, job, work)); // the caller may have left meanwhile
            }
        });
        self.commands.try_send(command).map_err(refused)?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Forgets a session; waits for room in the queue instead of being refused.
    pub async fn discard(&self, job: JobId) {
        loop {
            let command: Command = Box::new(move |host| host.discard(job));
            match self.commands.try_send(command) {
                Err(TrySendError::Full(_)) => tokio::time::sleep(RETRY).await,
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }
}

fn refused(error: TrySendError<Command>) -> EngineError {
    match error {
        TrySendError::Full(_) => EngineError::Busy,
        TrySendError::Disconnected(_) => gone(),
    }
}

fn gone() -> EngineError {
    EngineError::Internal("the device thread is gone".to_owned())
}

fn serve(queue: &Receiver<Command>, limits: LeaseLimits) {
    let mut host = Host { leases: Leases::new(limits), sessions: HashMap::new(), backbones: Backbones::default() };
    loop {
        match queue.recv_timeout(SWEEP) {
            // Commands guard themselves; this guard is for what their own cleaning up could throw.
            Ok(command) => drop(catch_unwind(AssertUnwindSafe(|| command(&mut host)))),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        host.leases.sweep(Instant::now());
    }
}

/// Runs work so that a panic or a failure of LibTorch costs no more than the session.
fn guarded<T>(
    host: &mut Host,
    job: JobId,
    work: impl FnOnce(&mut Host) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let result = catch_unwind(AssertUnwindSafe(|| work(host)))
        .unwrap_or_else(|panic| Err(EngineError::Internal(format!("panicked: {}", text(panic.as_ref())))));
    match &result {
        Err(EngineError::Internal(details)) => {
            tracing::error!(job.id = %job, "the engine discards the session of {job}: {details}");
            host.discard(job);
        }
        Err(EngineError::OutOfMemory) => host.leases.evict_all(),
        _ => {}
    }
    result
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn device(queue_len: usize) -> Device {
        let limits = LeaseLimits { graph_bytes: 0, graphs_per_job: 1, graph_ttl: Duration::ZERO };
        Device::start(1, queue_len, limits).expect("starts")
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
    async fn a_full_queue_is_refused_and_a_caller_that_left_is_skipped() {
        let device = device(1);
        let job = JobId(Uuid::nil());
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        let first = device.clone();
        let first = tokio::spawn(async move {
            let work = move |_: &mut Host| {
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
