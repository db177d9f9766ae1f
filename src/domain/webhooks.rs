//! What webhooks are told, and where a message stands. Owns the names that clients see; must never know how one is sent.

use std::fmt;
use std::str::FromStr;

use crate::domain::batch::BatchStatus;
use crate::domain::job::JobState;

/// An event that a webhook can receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WebhookEvent {
    /// A job runs.
    JobRunning,
    /// A job paused.
    JobPaused,
    /// A job ended with a model.
    JobSucceeded,
    /// A job cannot go on.
    JobFailed,
    /// A job was given up.
    JobCancelled,
    /// A checkpoint that was asked for is there.
    CheckpointCreated,
    /// Every request of a batch was answered.
    BatchCompleted,
    /// A batch cannot go on.
    BatchFailed,
    /// The window of a batch passed before every request was answered.
    BatchExpired,
    /// A batch was given up.
    BatchCancelled,
    /// Nothing happened; the owner tries a webhook out.
    Test,
}

/// The text is not an event of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a webhook event")]
pub struct BadWebhookEvent;

impl WebhookEvent {
    /// Every event.
    pub const ALL: [Self; 11] = [
        Self::JobRunning,
        Self::JobPaused,
        Self::JobSucceeded,
        Self::JobFailed,
        Self::JobCancelled,
        Self::CheckpointCreated,
        Self::BatchCompleted,
        Self::BatchFailed,
        Self::BatchExpired,
        Self::BatchCancelled,
        Self::Test,
    ];

    /// What is told of a job that came to this state; nothing of states that only wait.
    pub fn of(state: JobState) -> Option<Self> {
        match state {
            JobState::Queued => None,
            JobState::Running => Some(Self::JobRunning),
            JobState::Paused => Some(Self::JobPaused),
            JobState::Succeeded => Some(Self::JobSucceeded),
            JobState::Failed => Some(Self::JobFailed),
            JobState::Cancelled => Some(Self::JobCancelled),
        }
    }

    /// What is told of a batch that came to this status; nothing of those on the way.
    pub fn of_batch(status: BatchStatus) -> Option<Self> {
        match status {
            BatchStatus::Completed => Some(Self::BatchCompleted),
            BatchStatus::Failed => Some(Self::BatchFailed),
            BatchStatus::Expired => Some(Self::BatchExpired),
            BatchStatus::Cancelled => Some(Self::BatchCancelled),
            BatchStatus::Validating | BatchStatus::InProgress | BatchStatus::Finalizing | BatchStatus::Cancelling => {
                None
            }
        }
    }

    /// The text that clients and the database see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JobRunning => "fine_tuning.job.running",
            Self::JobPaused => "fine_tuning.job.paused",
            Self::JobSucceeded => "fine_tuning.job.succeeded",
            Self::JobFailed => "fine_tuning.job.failed",
            Self::JobCancelled => "fine_tuning.job.cancelled",
            Self::CheckpointCreated => "fine_tuning.checkpoint.created",
            Self::BatchCompleted => "batch.completed",
            Self::BatchFailed => "batch.failed",
            Self::BatchExpired => "batch.expired",
            Self::BatchCancelled => "batch.cancelled",
            Self::Test => "webhook.test",
        }
    }
}

impl fmt::Display for WebhookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WebhookEvent {
    type Err = BadWebhookEvent;
    fn from_str(text: &str) -> Result<Self, BadWebhookEvent> {
        Self::ALL.into_iter().find(|event| event.as_str() == text).ok_or(BadWebhookEvent)
    }
}

/// State of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// Waits for its first or next attempt.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// Every attempt failed; it can be replayed.
    Failed,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Failed];

    /// The text that clients and the database see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_back_from_their_text() {
        for event in WebhookEvent::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
        }
        assert_eq!("fine_tuning.job.queued".parse::<WebhookEvent>(), Err(BadWebhookEvent));
    }

    #[test]
    fn every_final_state_is_told() {
        for state in JobState::ALL.into_iter().filter(|state| state.is_final()) {
            assert!(WebhookEvent::of(state).is_some(), "{state}");
        }
        for status in BatchStatus::ALL {
            assert_eq!(WebhookEvent::of_batch(status).is_some(), status.is_final(), "{status}");
        }
    }
}
