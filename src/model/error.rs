//! What the mathematics refuses or could not do. Owns the two kinds of a failure: of LibTorch, and of what was asked.

use tch::TchError;

/// What LibTorch calls return.
pub type TchResult<T> = Result<T, TchError>;

/// What the mathematics refuses or could not do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The backbone's folder cannot be used.
    #[error("{0}")]
    Folder(String),
    /// A setting does not fit the backbone.
    #[error("{setting}: {reason}")]
    Setting {
        /// Its path among the settings, `lora.target_modules` for example.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// LibTorch failed.
    #[error(transparent)]
    Torch(#[from] TchError),
}

impl ModelError {
    /// A folder that cannot be used.
    pub fn folder(text: impl Into<String>) -> Self {
        Self::Folder(text.into())
    }

    /// A setting that cannot be used.
    pub fn setting(setting: &str, reason: impl Into<String>) -> Self {
        Self::Setting { setting: setting.to_owned(), reason: reason.into() }
    }
}
