//! What a use case refuses, in words for the caller. Owns the mapping from store and engine errors, and where the settings of a
//! method stand in a request; must never name HTTP.

use crate::domain::adapter_selection::BadSelection;
use crate::domain::error_code::ErrorCode;
use crate::domain::error_code::Refusal;
use crate::domain::expiry::BadExpiry;
use crate::domain::feature_choice::BadTaps;
use crate::domain::held_bytes::Exceeded;
use crate::domain::settings::BadSetting;
use crate::domain::steps::StepRefused;
use crate::engine::EngineError;
use crate::engine::Place;
use crate::engine::codec::CodecError;
use crate::store::StoreError;

/// A refused use case. Nothing of it has been done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// Why, for programs; says the kind of refusal as well.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
    /// The field, tensor or line at fault.
    pub param: Option<String>,
    /// For a step out of order: the seq that is next.
    pub expected_seq: Option<u64>,
}

impl ServiceError {
    /// A refusal of the kind that the code stands for.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None, expected_seq: None }
    }

    /// Whether the host failed, rather than the caller.
    pub fn is_of_the_host(&self) -> bool {
        matches!(self.code.refusal(), Refusal::Unavailable | Refusal::Internal)
    }

    /// Names the field, tensor or line at fault.
    #[must_use]
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// `what` with this id does not exist for the caller.
    pub fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::NotFound, format!("No such {what}: {id}"))
    }

    /// The host failed; `details` go to the log only.
    pub fn internal(details: impl std::fmt::Display) -> Self {
        tracing::error!(error = %details, "request failed: {details}");
        Self::new(ErrorCode::InternalError, "The host could not complete the request.")
    }

    /// Bytes that would be held have no room in a budget; `hint` says what takes less, or gives room.
    pub fn too_much_held(exceeded: Exceeded, hint: &str) -> Self {
        let code = if exceeded.is_final() { ErrorCode::TooLarge } else { ErrorCode::TooMuchHeld };
        Self::new(code, format!("The host would hold {exceeded}: {hint}."))
    }

    /// A field that looks like a label.
    pub fn label_present(name: &str, place: impl Into<String>) -> Self {
        // What OpenAI's fine-tuning takes: people come with such files.
        let hint = match name {
            "messages" | "completion" => {
                " A file of chats or completions has its answers in it: `blindtune train --data FILE` reads it and sends the texts alone."
            }
            _ => "",
        };
        let message = format!(
            "'{name}' looks like a label. Labels stay with you: remove it and send it again. blindtune never needs labels.{hint}"
        );
        Self::new(ErrorCode::LabelPresent, message).at(place)
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(details) => {
                tracing::warn!(error = %details, "the database cannot be reached: {details}");
                Self::new(ErrorCode::DatabaseUnavailable, "The host's database cannot be reached; try again.")
            }
            StoreError::Full(details) => {
                tracing::error!(error = %details, "the store is full: {details}");
                Self::new(ErrorCode::StorageFull, "The host's storage is full; try again later.")
            }
            StoreError::Damaged(path) => {
                tracing::error!(path, "the blob {path} is damaged");
                let message = "What the host stored of this is damaged: its bytes are not those that were written. Its operator has a backup, or has lost it.";
                Self::new(ErrorCode::StorageDamaged, message)
            }
            StoreError::Locked { .. } => {
                tracing::error!(%error, "{error}");
                let message = "What the host stored of this is encrypted, and the host was not given the key. Its operator must name it in state.blob_keys.";
                Self::new(ErrorCode::StorageLocked, message)
            }
            other => Self::internal(other),
        }
    }
}

impl From<BadSelection> for ServiceError {
    fn from(error: BadSelection) -> Self {
        Self::new(ErrorCode::InvalidAdapters, error.to_string()).at("adapters")
    }
}

impl From<BadSetting> for ServiceError {
    fn from(error: BadSetting) -> Self {
        let path = setting_path(&error.setting);
        Self::new(ErrorCode::InvalidSetting, format!("{path}: {}", error.reason)).at(path)
    }
}

impl From<BadTaps> for ServiceError {
    fn from(error: BadTaps) -> Self {
        Self::new(ErrorCode::InvalidSetting, format!("{error}.")).at(error.field)
    }
}

impl From<BadExpiry> for ServiceError {
    fn from(error: BadExpiry) -> Self {
        Self::new(ErrorCode::InvalidExpiresAfter, format!("{error}.")).at(format!("expires_after.{}", error.field))
    }
}

impl From<CodecError> for ServiceError {
    fn from(error: CodecError) -> Self {
        let code = match error {
            CodecError::TooLarge(_) => ErrorCode::TooLarge,
            CodecError::Malformed(_) | CodecError::Tensor { .. } => ErrorCode::TensorInvalid,
        };
        Self::new(code, error.to_string())
    }
}

impl From<EngineError> for ServiceError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Busy => Self::new(ErrorCode::EngineBusy, "The device is busy; try again."),
            EngineError::Invalid { place, reason } => {
                let param = match place {
                    Place::Setting(setting) => setting_path(&setting),
                    other => other.to_string(),
                };
                Self::new(ErrorCode::TensorInvalid, format!("{param}: {reason}")).at(param)
            }
            EngineError::TooLarge(reason) => Self::new(ErrorCode::TooLarge, reason),
            EngineError::AdaptersLost { set } => {
                let message = format!(
                    "The host restarted and no longer holds adapter set {set}: send theta.{set} with a forward, or PUT it."
                );
                Self::new(ErrorCode::AdaptersNeeded, message).at(format!("theta.{set}"))
            }
            EngineError::NoForward => {
                Self::not_found("forward", "it was not made for this job, or a newer one replaced it")
            }
            EngineError::OutOfMemory => {
                Self::new(ErrorCode::OutOfMemory, "The device ran out of memory; send a smaller batch.")
            }
            EngineError::Backbone(reason) => Self::new(ErrorCode::BackboneUnusable, reason),
            EngineError::NoSession => Self::new(ErrorCode::SessionLost, "The job's session was lost; try again."),
            EngineError::Internal(details) => Self::internal(details),
        }
    }
}

/// Where a setting of method `split` stands in a request.
pub fn setting_path(setting: &str) -> String {
    format!("method.split.{setting}")
}

impl From<StepRefused> for ServiceError {
    fn from(error: StepRefused) -> Self {
        match error {
            StepRefused::OutOfOrder { expected } => Self {
                expected_seq: Some(expected),
                ..Self::new(ErrorCode::StepOutOfOrder, format!("{error}.")).at("seq")
            },
            StepRefused::Conflict => Self::new(ErrorCode::StepConflict, format!("{error}.")).at("seq"),
            StepRefused::AnswerExpired => Self::new(ErrorCode::AnswerExpired, format!("{error}.")).at("seq"),
        }
    }
}
