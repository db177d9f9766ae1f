//! The answers of a job's newest steps, kept for repeats, within the budgets of held bytes. Owns which of them make room: the oldest; one
//! that did is computed again where that gives the same bytes, and refused where it would not. Must never compute one.

use std::collections::BTreeMap;

use crate::domain::held_bytes::Budget;
use crate::domain::held_bytes::Exceeded;
use crate::domain::held_bytes::Held;
use crate::domain::steps::Digest;
use crate::service::accounting::holding::body_bytes;
use crate::service::accounting::holding::kept_bytes;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::training::answer::Answer;

const HINT: &str =
    "send fewer inputs or shares in a call, read the answers that are under way, or end another job of the project";

struct Kept {
    digest: Digest,
    answer: Answer,
    /// Given back with it.
    _held: Held,
}

/// An answer on its way out, with the bytes of its body.
pub struct Outgoing {
    /// The answer.
    pub answer: Answer,
    /// They go back when the body was read.
    pub body: Held,
}

/// Answers since the newest training forward, by seq.
pub struct KeptAnswers {
    /// What the job's session holds.
    session: Held,
    kept: BTreeMap<u64, Kept>,
    /// Those up to this seq made room.
    dropped: u64,
    /// The job's adapters when its newest forward was recorded here.
    forward_version: Option<i64>,
}

impl KeptAnswers {
    /// None yet, of a job whose session holds these bytes.
    pub fn new(session: Held) -> Self {
        Self { session, kept: BTreeMap::new(), dropped: 0, forward_version: None }
    }

    /// The digest and the answer of a call.
    pub fn get(&self, seq: u64) -> Option<(&Digest, &Answer)> {
        self.kept.get(&seq).map(|kept| (&kept.digest, &kept.answer))
    }

    /// A new forward has replaced them all.
    pub fn begin(&mut self, adapter_version: i64) {
        self.kept.clear();
        self.forward_version = Some(adapter_version);
    }

    /// Whether this forward's answer made room and would not be the same again: the adapters have changed since.
    pub fn is_lost(&self, forward: u64, adapter_version: i64) -> bool {
        forward <= self.dropped && self.forward_version.is_some_and(|version| version != adapter_version)
    }

    /// Bytes for a call whose answer has so many bytes of tensors, before it is made. Older answers make room.
    pub fn room_for_call(&mut self, tensors: u64) -> Result<Held> {
        self.room_for(kept_bytes(tensors).saturating_add(body_bytes(tensors)), [None; 2])
    }

    /// Bytes for a body alone. Older answers make room, but neither that of `repeated` nor the newest, whose client may not have it yet.
    pub fn room_for_body(&mut self, tensors: u64, repeated: Option<u64>) -> Result<Held> {
        let newest = self.kept.keys().next_back().copied();
        self.room_for(body_bytes(tensors), [repeated, newest])
    }

    fn room_for(&mut self, bytes: u64, spared: [Option<u64>; 2]) -> Result<Held> {
        loop {
            match self.session.beside(bytes) {
                Ok(held) => return Ok(held),
                Err(exceeded) if exceeded.is_final() || !self.drop_oldest(&spared) => {
                    return Err(self.refusal(exceeded));
                }
                Err(_) => {}
            }
        }
    }

    fn drop_oldest(&mut self, spared: &[Option<u64>]) -> bool {
        let Some(oldest) = self.kept.keys().copied().find(|seq| !spared.contains(&Some(*seq))) else { return false };
        self.kept.remove(&oldest);
        self.dropped = self.dropped.max(oldest);
        true
    }

    fn refusal(&self, exceeded: Exceeded) -> ServiceError {
        let own = if exceeded.budget == Budget::Job { self.session.bytes() } else { 0 };
        let with_session = Exceeded { asked: exceeded.asked.saturating_add(own), ..exceeded };
        // What does not fit beside the job's own session never will, however long the client waits.
        let exceeded = if with_session.is_final() { with_session } else { exceeded };
        ServiceError::too_much_held(exceeded, HINT)
    }

    /// Keeps an answer, of which `held` are the bytes of [`KeptAnswers::room_for_call`], and sends it out.
    pub fn keep(&mut self, seq: u64, digest: Digest, answer: Answer, mut held: Held) -> Outgoing {
        let tensors = answer.bytes();
        let kept = held.split_off(kept_bytes(tensors));
        held.shrink_to(body_bytes(tensors));
        self.kept.insert(seq, Kept { digest, answer: answer.clone(), _held: kept });
        Outgoing { answer, body: held }
    }
}
