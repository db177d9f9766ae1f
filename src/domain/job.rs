//! The life cycle of a job: its states, what can happen to it, and the one function that says where that leads.
//! Must never know who asked or what is stored.

use std::fmt;
use std::str::FromStr;

/// Where a job stands, spelled as OpenAI spells it. OpenAI's `validating_files` is missing: a file is checked while it is
/// uploaded, so no job is ever in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Fit to run; waits for a slot.
    Queued,
    /// Takes step calls.
    Running,
    /// Holds no memory; resumes when asked.
    Paused,
    /// Final: completed by its owner.
    Succeeded,
    /// Final: cannot go on.
    Failed,
    /// Final: given up by its owner.
    Cancelled,
}

/// Something that happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobEvent {
    /// A slot to run became free.
    Admitted,
    /// The owner asked for a pause.
    PauseAsked,
    /// No step call came for too long.
    IdleTooLong,
    /// The host had no room to store its state.
    OutOfRoom,
    /// The owner asked to resume, or sent a step to a paused job. Leads to the queue: slots are given out there alone.
    Resumed,
    /// The owner declared the job done.
    Completed,
    /// The job cannot go on.
    Broke,
    /// The owner gave the job up.
    CancelAsked,
}

/// The text is not a state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a job state")]
pub struct BadJobState;

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Paused, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Where the event leads; `None` when it cannot happen to a job in this state.
    pub fn on(self, event: JobEvent) -> Option<Self> {
        use JobEvent::*;
        use JobState::*;
        Some(match (self, event) {
            (Queued, Admitted) => Running,
            (Queued | Running, PauseAsked) | (Running, IdleTooLong | OutOfRoom) => Paused,
            (Paused, Resumed) => Queued,
            (Running | Paused, Completed) => Succeeded,
            (Queued | Running | Paused, Broke) => Failed,
            (Queued | Running | Paused, CancelAsked) => Cancelled,
            _ => return None,
        })
    }

    /// Whether nothing can happen to the job any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// What a job in this state waits for, as a sentence; `None` when it is over. One with `client_trains` gets on by step
    /// calls, and who polls it as elsewhere would wait in vain.
    pub fn waits_for(self, client_trains: bool) -> Option<&'static str> {
        match (self, client_trains) {
            (Self::Queued, _) => Some("It runs as soon as one of the project's places for running jobs is free."),
            (Self::Running, true) => {
                Some("It trains by the calls of its client, which has the labels, and ends when that completes it.")
            }
            (Self::Running, false) => Some("The host works it off without its client."),
            (Self::Paused, true) => Some("It goes on when it is resumed, or with its next step call."),
            (Self::Paused, false) => Some("It goes on when it is resumed."),
            (Self::Succeeded | Self::Failed | Self::Cancelled, _) => None,
        }
    }

    /// The text that clients and the database see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl JobEvent {
    /// Every event.
    pub const ALL: [Self; 8] = [
        Self::Admitted,
        Self::PauseAsked,
        Self::IdleTooLong,
        Self::OutOfRoom,
        Self::Resumed,
        Self::Completed,
        Self::Broke,
        Self::CancelAsked,
    ];
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = BadJobState;
    fn from_str(text: &str) -> Result<Self, BadJobState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(BadJobState)
    }
}

#[cfg(test)]
mod tests {
    use super::JobEvent::*;
    use super::JobState::*;
    use super::*;

    /// Every pair that leads anywhere; all others must be refused.
    const LEADS: &[(JobState, JobEvent, JobState)] = &[
        (Queued, Admitted, Running),
        (Queued, PauseAsked, Paused),
        (Queued, Broke, Failed),
        (Queued, CancelAsked, Cancelled),
        (Running, PauseAsked, Paused),
        (Running, IdleTooLong, Paused),
        (Running, OutOfRoom, Paused),
        (Running, Completed, Succeeded),
        (Running, Broke, Failed),
        (Running, CancelAsked, Cancelled),
        (Paused, Resumed, Queued),
        (Paused, Completed, Succeeded),
        (Paused, Broke, Failed),
        (Paused, CancelAsked, Cancelled),
    ];

    #[test]
    fn every_state_and_event_leads_where_the_table_says() {
        for state in JobState::ALL {
            for event in JobEvent::ALL {
                let expected = LEADS.iter().find(|(s, e, _)| (*s, *e) == (state, event)).map(|(_, _, next)| *next);
                assert_eq!(state.on(event), expected, "{state} on {event:?}");
            }
        }
    }

    #[test]
    fn a_final_state_is_one_that_nothing_leaves() {
        for state in JobState::ALL {
            let stuck = JobEvent::ALL.into_iter().all(|event| state.on(event).is_none());
            assert_eq!(state.is_final(), stuck, "{state}");
        }
    }

    #[test]
    fn a_job_waits_for_something_until_it_is_over() {
        for state in JobState::ALL {
            for client_trains in [true, false] {
                assert_eq!(state.waits_for(client_trains).is_none(), state.is_final(), "{state}");
            }
        }
        assert_ne!(Running.waits_for(true), Running.waits_for(false));
    }

    #[test]
    fn states_read_back_from_their_text() {
        for state in JobState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!("Running".parse::<JobState>(), Err(BadJobState));
    }
}
