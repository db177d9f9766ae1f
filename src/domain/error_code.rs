//! What a refusal is called. Owns the one list of error codes, each with the kind of refusal that it stands for; must never
//! know a use case, or how a kind is written on the wire.

use std::fmt;

/// The kind of a refusal; `api` maps each to one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The request is malformed.
    Invalid,
    /// The caller is not known.
    Unauthenticated,
    /// The key may not do this.
    Forbidden,
    /// There is no such thing for this caller.
    NotFound,
    /// The thing is there, and this cannot be done with it at all.
    WrongMethod,
    /// The request did not come in time.
    TooSlow,
    /// The state of the thing does not allow it.
    Conflict,
    /// Over a limit on size.
    TooLarge,
    /// The thing has no such bytes.
    Unsatisfiable,
    /// The request is of a media type that is not taken.
    WrongMedia,
    /// The request is well formed, and its content cannot be used.
    Unprocessable,
    /// Over a limit on rate; try again.
    Busy,
    /// The host failed; the text is for the log only.
    Internal,
    /// A part of the host is away; try again.
    Unavailable,
}

macro_rules! error_codes {
    ($($name:ident = $word:literal: $refusal:ident,)*) => {
        /// Why a request was refused: the stable word for programs. When each is answered stands in `docs/api.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $word, "`.")] $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The kind of refusal, and so the status: a code has one.
            pub const fn refusal(self) -> Refusal {
                match self {
                    $(Self::$name => Refusal::$refusal,)*
                }
            }
        }
    };
}

// In the order of the table in docs/api.md, with which `scripts/error_codes.py` compares these lines.
error_codes! {
    InvalidApiKey = "invalid_api_key": Unauthenticated,
    MissingScope = "missing_scope": Forbidden,
    Forbidden = "forbidden": Forbidden,
    NotFound = "not_found": NotFound,
    UnknownUrl = "unknown_url": NotFound,
    MethodNotAllowed = "method_not_allowed": WrongMethod,
    LabelPresent = "label_present": Invalid,
    UnknownField = "unknown_field": Invalid,
    UnknownTensor = "unknown_tensor": Invalid,
    UnsupportedField = "unsupported_field": Invalid,
    UnsupportedMethod = "unsupported_method": Invalid,
    UnsupportedEndpoint = "unsupported_endpoint": Invalid,
    UnsupportedModel = "unsupported_model": Invalid,
    UnsupportedDimensions = "unsupported_dimensions": Invalid,
    InvalidJson = "invalid_json": Invalid,
    InvalidText = "invalid_text": Invalid,
    InvalidQuery = "invalid_query": Invalid,
    InvalidCursor = "invalid_cursor": Invalid,
    InvalidDates = "invalid_dates": Invalid,
    InvalidForm = "invalid_form": Invalid,
    BodyUnreadable = "body_unreadable": Invalid,
    FieldMissing = "field_missing": Invalid,
    FileMissing = "file_missing": Invalid,
    PurposeMissing = "purpose_missing": Invalid,
    InvalidPurpose = "invalid_purpose": Invalid,
    InvalidFilename = "invalid_filename": Invalid,
    InvalidMimeType = "invalid_mime_type": Invalid,
    UnknownFormat = "unknown_format": Invalid,
    MalformedRow = "malformed_row": Invalid,
    EmptyFile = "empty_file": Invalid,
    InvalidSize = "invalid_size": Invalid,
    SizeMismatch = "size_mismatch": Invalid,
    Md5Mismatch = "md5_mismatch": Invalid,
    ChecksumMismatch = "checksum_mismatch": Invalid,
    InvalidChecksum = "invalid_checksum": Invalid,
    EmptyPart = "empty_part": Invalid,
    PartsMissing = "parts_missing": Invalid,
    PartTwice = "part_twice": Invalid,
    InvalidExpiresAfter = "invalid_expires_after": Invalid,
    InvalidWindow = "invalid_completion_window": Invalid,
    TooManyRequests = "too_many_requests": Invalid,
    InvalidSeed = "invalid_seed": Invalid,
    InvalidSetting = "invalid_setting": Invalid,
    RowTooLong = "row_too_long": Invalid,
    SettingsDiffer = "settings_differ": Invalid,
    UnevenSets = "uneven_sets": Invalid,
    InvalidHyperparameter = "invalid_hyperparameter": Invalid,
    InvalidSuffix = "invalid_suffix": Invalid,
    InvalidMetadata = "invalid_metadata": Invalid,
    InvalidMetric = "invalid_metric": Invalid,
    TooManyMetrics = "too_many_metrics": Invalid,
    InputsMissing = "inputs_missing": Invalid,
    NoTrainingFile = "no_training_file": Invalid,
    SeqMissing = "seq_missing": Invalid,
    SeqUnexpected = "seq_unexpected": Invalid,
    SharesMissing = "shares_missing": Invalid,
    ThetaNotAccepted = "theta_not_accepted": Invalid,
    InvalidAdapters = "invalid_adapters": Invalid,
    InvalidInput = "invalid_input": Invalid,
    UnusableInput = "invalid_input": Unprocessable,
    TooManyInputs = "too_many_inputs": Invalid,
    NoEmbedding = "no_embedding": Invalid,
    InvalidEncodingFormat = "invalid_encoding_format": Invalid,
    NoAdapters = "no_adapters": Invalid,
    AdaptersMissing = "adapters_missing": Invalid,
    TooManySets = "too_many_sets": Invalid,
    InvalidAdapterConfig = "invalid_adapter_config": Invalid,
    PickleRefused = "pickle_refused": Invalid,
    InvalidUrl = "invalid_url": Invalid,
    InvalidEvents = "invalid_events": Invalid,
    InvalidName = "invalid_name": Invalid,
    InvalidScopes = "invalid_scopes": Invalid,
    InvalidDays = "invalid_days": Invalid,
    InvalidLimit = "invalid_limit": Invalid,
    InvalidIdempotencyKey = "invalid_idempotency_key": Invalid,
    BodyTimeout = "body_timeout": TooSlow,
    StepOutOfOrder = "step_out_of_order": Conflict,
    AnswerExpired = "answer_expired": Conflict,
    ForwardLost = "forward_lost": Conflict,
    AdaptersNeeded = "adapters_needed": Conflict,
    ClientCustody = "client_custody": Conflict,
    JobNotRunning = "job_not_running": Conflict,
    InvalidJobState = "invalid_job_state": Conflict,
    ProjectExists = "project_exists": Conflict,
    InvalidKeyState = "invalid_key_state": Conflict,
    InvalidBatchState = "invalid_batch_state": Conflict,
    CheckpointInUse = "checkpoint_in_use": Conflict,
    FileInUse = "file_in_use": Conflict,
    FileDeleted = "file_deleted": Conflict,
    FeaturesJob = "features_job": Conflict,
    UploadNotPending = "upload_not_pending": Conflict,
    SettingsUnknown = "settings_unknown": Conflict,
    TooManyWebhooks = "too_many_webhooks": Conflict,
    WebhookDisabled = "webhook_disabled": Conflict,
    AlreadyMade = "already_made": Conflict,
    BodyTooLarge = "body_too_large": TooLarge,
    TooLarge = "too_large": TooLarge,
    StorageExceeded = "storage_exceeded": TooLarge,
    RangeNotSatisfiable = "range_not_satisfiable": Unsatisfiable,
    UnsupportedMediaType = "unsupported_media_type": WrongMedia,
    TensorInvalid = "tensor_invalid": Unprocessable,
    RowOutOfRange = "row_out_of_range": Unprocessable,
    StepConflict = "step_conflict": Unprocessable,
    IdempotencyConflict = "idempotency_conflict": Unprocessable,
    BackboneUnusable = "backbone_unusable": Unprocessable,
    RateLimitExceeded = "rate_limit_exceeded": Busy,
    InsufficientQuota = "insufficient_quota": Busy,
    EngineBusy = "engine_busy": Busy,
    InferenceBusy = "inference_busy": Busy,
    EstimateBusy = "estimate_busy": Busy,
    JobQueued = "job_queued": Busy,
    TooManyJobs = "too_many_jobs": Busy,
    TooManyBatches = "too_many_batches": Busy,
    TooManySteps = "too_many_steps": Busy,
    TooManyInferenceCalls = "too_many_inference_calls": Busy,
    TooManyUploads = "too_many_uploads": Busy,
    TooManyCalls = "too_many_calls": Busy,
    TooMuchHeld = "too_much_held": Busy,
    TooManyConnections = "too_many_connections": Busy,
    TooManyProjectStreams = "too_many_project_streams": Busy,
    InternalError = "internal_error": Internal,
    Overloaded = "overloaded": Unavailable,
    Timeout = "timeout": Unavailable,
    ShuttingDown = "shutting_down": Unavailable,
    DatabaseUnavailable = "database_unavailable": Unavailable,
    OutOfMemory = "out_of_memory": Unavailable,
    StorageDamaged = "storage_damaged": Internal,
    StorageLocked = "storage_locked": Unavailable,
    StorageFull = "storage_full": Unavailable,
    SessionLost = "session_lost": Unavailable,
    LeaseLost = "lease_lost": Unavailable,
    JobElsewhere = "job_elsewhere": Unavailable,
    RequestInProgress = "request_in_progress": Unavailable,
    TooManyStreams = "too_many_streams": Unavailable,
    // Said by `blindtuned models`, never over HTTP.
    FolderMissing = "folder_missing": Invalid,
    FoldersNotOffered = "folders_not_offered": Forbidden,
    ModelInUse = "model_in_use": Conflict,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_one_code_but_for_that_of_inputs() {
        for (at, code) in ErrorCode::ALL.iter().enumerate() {
            let word = code.as_str();
            assert!(
                word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'),
                "{word}"
            );
            let earlier = ErrorCode::ALL[..at].iter().find(|other| other.as_str() == word);
            // An input can be malformed, or well formed and of no use to the model.
            let expected = (*code == ErrorCode::UnusableInput).then_some(&ErrorCode::InvalidInput);
            assert_eq!(earlier, expected, "{word}");
        }
    }
}
