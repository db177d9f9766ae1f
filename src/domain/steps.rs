//! The order of step calls. Owns the rule that makes `(job, seq, digest)` idempotent; must never know what a step computes.
//!
//! `seq` numbers a job's step calls from 1: training forwards, backwards and optimizer steps alike.

use std::fmt;

/// SHA-256 over the parameters and the body of a call.
pub type Digest = [u8; 32];

/// What a numbered call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// Activations for a batch, with a graph kept.
    Forward,
    /// Shares in, adapter gradients out (or accumulated, in host custody).
    Backward,
    /// One AdamW step of the host (host custody).
    OptimStep,
}

impl StepKind {
    /// The name in tables and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::OptimStep => "optim_step",
        }
    }
}

impl fmt::Display for StepKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The seq that the next new call must carry.
    pub next_seq: u64,
    /// The seq of the newest training forward; 0 before the first.
    pub forward_seq: u64,
}

/// What to do with a call that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one: do it.
    Apply,
    /// It was done before: give the same answer again.
    Repeat,
}

/// Why a call is refused. Nothing has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StepRefused {
    /// A call is missing before this one, or `seq` is zero.
    #[error("seq is out of order: expected {expected}")]
    OutOfOrder {
        /// The seq that is next.
        expected: u64,
    },
    /// The seq was used with other bytes.
    #[error("this seq was used by another request")]
    Conflict,
    /// The call was done, but its answer is no longer kept.
    #[error("this step is done, and a newer forward has replaced its answer")]
    AnswerExpired,
}

/// Judges a call. `known` is the digest recorded under `seq`, for a seq that was used.
pub fn judge(progress: Progress, seq: u64, digest: &Digest, known: Option<&Digest>) -> Result<Verdict, StepRefused> {
    if seq == progress.next_seq {
        return Ok(Verdict::Apply);
    }
    match known {
        None => Err(StepRefused::OutOfOrder { expected: progress.next_seq }),
        Some(known) if known != digest => Err(StepRefused::Conflict),
        Some(_) if seq < progress.forward_seq => Err(StepRefused::AnswerExpired),
        Some(_) => Ok(Verdict::Repeat),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const A: Digest = [1; 32];
    const B: Digest = [2; 32];

    #[test]
    fn each_case_has_its_verdict() {
        let progress = Progress { next_seq: 5, forward_seq: 3 };
        assert_eq!(judge(progress, 5, &A, None), Ok(Verdict::Apply));
        assert_eq!(judge(progress, 4, &A, Some(&A)), Ok(Verdict::Repeat));
        assert_eq!(judge(progress, 3, &A, Some(&A)), Ok(Verdict::Repeat));
        assert_eq!(judge(progress, 3, &B, Some(&A)), Err(StepRefused::Conflict));
        assert_eq!(judge(progress, 2, &A, Some(&A)), Err(StepRefused::AnswerExpired));
        assert_eq!(judge(progress, 6, &A, None), Err(StepRefused::OutOfOrder { expected: 5 }));
        assert_eq!(judge(progress, 0, &A, None), Err(StepRefused::OutOfOrder { expected: 5 }));
    }

    proptest! {
        /// Whatever order requests come in, each seq is applied once, in order, and never with other bytes.
        #[test]
        fn only_in_order_calls_are_applied(calls in prop::collection::vec((0u64..8, 0u8..2), 0..60)) {
            let mut done: BTreeMap<u64, Digest> = BTreeMap::new();
            for (seq, byte) in calls {
                let progress = Progress { next_seq: done.len() as u64 + 1, forward_seq: 1 };
                let digest = [byte; 32];
                match judge(progress, seq, &digest, done.get(&seq)) {
                    Ok(Verdict::Apply) => prop_assert!(done.insert(seq, digest).is_none()),
                    Ok(Verdict::Repeat) => prop_assert_eq!(done.get(&seq), Some(&digest)),
                    Err(StepRefused::Conflict) => prop_assert_ne!(done.get(&seq), Some(&digest)),
                    Err(StepRefused::OutOfOrder { expected }) => prop_assert_eq!(expected, done.len() as u64 + 1),
                    Err(StepRefused::AnswerExpired) => prop_assert!(false, "the forward is the first call"),
                }
                prop_assert!(done.keys().copied().eq(1..=done.len() as u64));
            }
        }
    }
}
