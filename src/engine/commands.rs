//! What waits for the device: commands, with the way back to their callers. Owns their one shape at its two stages, as asked and
//! checked; must never run one.

use std::convert::Infallible;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::domain::ids::JobId;
use crate::domain::ids::ProjectId;
use crate::engine::device_state::DeviceState;
use crate::engine::inputs::TokenBatch;
use crate::engine::interface::BackwardReply;
use crate::engine::interface::ForwardCall;
use crate::engine::interface::ForwardReply;
use crate::engine::interface::Metered;
use crate::engine::passes::BackwardCall;
use crate::engine::passes::ReadyBackward;
use crate::engine::passes::ReadyForward;
use crate::engine::reply::Reply;
use crate::engine::slices::Sliceable;
use crate::engine::slices::UnderWay;

/// What can be asked of the device. `F` is a forward and `B` a backward, as asked or checked against their session; `S` is one that
/// runs in slices.
pub enum Command<F, B, S> {
    /// Anything short. It guards itself, and answers by itself.
    Run(Box<dyn FnOnce(&mut DeviceState) + Send>),
    /// A forward.
    Forward(F, Reply<Metered<ForwardReply>>),
    /// A backward.
    Backward(B, Reply<Metered<BackwardReply>>),
    /// A forward or a backward that is longer than one slice, as far as it has come. It answers by itself.
    Sliced(S),
}

/// A command on its way to the device.
pub struct Queued<C> {
    /// Whose it is.
    pub job: JobId,
    /// What is asked.
    pub command: C,
    /// Since when it waits.
    pub since: Instant,
    /// Counts it against the length of the queue until its turn comes.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// A command that was checked, and waits for its turn.
pub struct Waiting {
    /// Whose share of the device it takes.
    pub project: ProjectId,
    /// The command.
    pub queued: Queued<Ready>,
}

/// As a caller asks.
pub type Asked = Command<ForwardCall<TokenBatch>, BackwardCall, Infallible>;

/// Checked against its session: what it refuses was refused, and it can run.
pub type Ready = Command<ReadyForward, ReadyBackward, Box<dyn UnderWay>>;

impl Ready {
    /// Tokens that its pass reads.
    pub fn cost(&self) -> usize {
        match self {
            Self::Run(_) => 0,
            Self::Forward(call, _) => call.tokens(),
            Self::Backward(call, _) => call.tokens(),
            Self::Sliced(pass) => pass.tokens_left(),
        }
    }

    /// Whether nobody waits for its answer any more.
    pub fn has_left(&self) -> bool {
        match self {
            Self::Run(_) => false,
            Self::Forward(_, reply) => reply.is_closed(),
            Self::Backward(_, reply) => reply.is_closed(),
            Self::Sliced(pass) => pass.has_left(),
        }
    }
}
