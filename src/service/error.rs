//! What a use case refuses, in words for the caller. Owns the mapping from store and engine errors; must never name HTTP.

use crate::domain::adapter_selection::BadSelection;
use crate::domain::expiry::BadExpiry;
use crate::domain::settings::BadSetting;
use crate::domain::steps::StepRefused;
use crate::engine::EngineError;
use crate::engine::codec::CodecError;
use crate::store::StoreError;

/// The kind of a refusal; `api` maps each to one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request is malformed.
    Invalid,
    /// The request is well formed, and its content cannot be used.
    Unprocessable,
    /// There is no such thing for this caller.
    NotFound,
    /// The state of the thing does not allow it.
    Conflict,
    /// The key may not do this.
    Forbidden,
    /// Over a limit on size.
    TooLarge,
    /// Over a limit on rate; try again.
    Busy,
    /// A part of the host is away; try again.
    Unavailable,
    /// The host failed; the text is for the log only.
    Internal,
}

/// A refused use case. Nothing of it has been done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// What kind of refusal.
    pub refusal: Refusal,
    /// Stable word for programs.
    pub code: &'static str,
    /// Sentence for people.
    pub message: String,
    /// The field, tensor or line at fault.
    pub param: Option<String>,
    /// For a step out of order: the seq that is next.
    pub expected_seq: Option<u64>,
}

impl ServiceError {
    fn new(refusal: Refusal, code: &'static str, message: impl Into<String>) -> Self {
        Self { refusal, code, message: message.into(), param: None, expected_seq: None }
    }

    /// Whether the host failed, rather than the caller.
    pub fn is_of_the_host(&self) -> bool {
        matches!(self.refusal, Refusal::Unavailable | Refusal::Internal)
    }

    /// Names the field, tensor or line at fault.
    #[must_use]
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// A malformed request.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Refusal::Invalid, code, message)
    }

    /// Content that cannot be used.
    pub fn unprocessable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Refusal::Unprocessable, code, message)
    }

    /// `what` with this id does not exist for the caller.
    pub fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(Refusal::NotFound, "not_found", format!("No such {what}: {id}"))
    }

    /// The state does not allow it.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Refusal::Conflict, code, message)
    }

    /// The key may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Refusal::Forbidden, "forbidden", message)
    }

    /// Over a limit on size.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(Refusal::TooLarge, "too_large", message)
    }

    /// Over a limit on rate.
    pub fn busy(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Refusal::Busy, code, message)
    }

    /// The host failed; `details` go to the log only.
    pub fn internal(details: impl std::fmt::Display) -> Self {
        tracing::error!(error = %details, "request failed: {details}");
        Self::new(Refusal::Internal, "internal_error", "The host could not complete the request.")
    }

    /// A part of the host is away.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Refusal::Unavailable, code, message)
    }

    /// A field that looks like a label.
    pub fn label_present(name: &str, place: impl Into<String>) -> Self {
        let message = format!(
            "'{name}' looks like a label. Labels stay with you: remove it and send it again. blindtune never needs labels."
        );
        Self::invalid("label_present", message).at(place)
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(details) => {
                tracing::warn!(error = %details, "the database cannot be reached: {details}");
                Self::unavailable("database_unavailable", "The host's database cannot be reached; try again.")
            }
            other => Self::internal(other),
        }
    }
}

impl From<BadSelection> for ServiceError {
    fn from(error: BadSelection) -> Self {
        Self::invalid("invalid_adapters", error.to_string()).at("adapters")
    }
}

impl From<BadSetting> for ServiceError {
    fn from(error: BadSetting) -> Self {
        Self::invalid("invalid_setting", error.to_string()).at(error.param)
    }
}

impl From<BadExpiry> for ServiceError {
    fn from(error: BadExpiry) -> Self {
        Self::invalid("invalid_expires_after", format!("{error}.")).at(format!("expires_after.{}", error.field))
    }
}

impl From<CodecError> for ServiceError {
    fn from(error: CodecError) -> Self {
        Self::unprocessable("tensor_invalid", error.to_string())
    }
}

impl From<EngineError> for ServiceError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Busy => Self::busy("engine_busy", "The device is busy; try again."),
            EngineError::Invalid { param, reason } => {
                Self::unprocessable("tensor_invalid", format!("{param}: {reason}")).at(param)
            }
            EngineError::TooLarge(reason) => Self::too_large(reason),
            EngineError::AdaptersLost { set } => {
                let message = format!(
                    "The host restarted and no longer holds adapter set {set}: send theta.{set} with a forward, or PUT it."
                );
                Self::conflict("adapters_needed", message).at(format!("theta.{set}"))
            }
            EngineError::NoForward => {
                Self::not_found("forward", "it was not made for this job, or a newer one replaced it")
            }
            EngineError::OutOfMemory => {
                Self::unavailable("out_of_memory", "The device ran out of memory; send a smaller batch.")
            }
            EngineError::Backbone(reason) => Self::unprocessable("backbone_unusable", reason),
            EngineError::NoSession => Self::unavailable("session_lost", "The job's session was lost; try again."),
            EngineError::Internal(details) => Self::internal(details),
        }
    }
}

impl From<StepRefused> for ServiceError {
    fn from(error: StepRefused) -> Self {
        match error {
            StepRefused::OutOfOrder { expected } => Self {
                expected_seq: Some(expected),
                ..Self::conflict("step_out_of_order", format!("{error}.")).at("seq")
            },
            StepRefused::Conflict => Self::unprocessable("step_conflict", format!("{error}.")).at("seq"),
            StepRefused::AnswerExpired => Self::conflict("answer_expired", format!("{error}.")).at("seq"),
        }
    }
}
