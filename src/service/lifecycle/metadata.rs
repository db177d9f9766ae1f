//! Pairs of text that a client ties to a job or a batch. Owns their bounds; must never read them.

use std::collections::BTreeMap;

use crate::domain::error_code::ErrorCode;
use crate::domain::labels::is_label_name;
use crate::service::context::Result;
use crate::service::error::ServiceError;

/// Refuses too many pairs, pairs that are too long, and those that look like a label.
pub fn check_metadata(metadata: Option<&BTreeMap<String, String>>) -> Result<()> {
    let Some(metadata) = metadata else { return Ok(()) };
    if metadata.len() > 16 {
        return Err(ServiceError::new(ErrorCode::InvalidMetadata, "metadata: at most 16 pairs.").at("metadata"));
    }
    for (key, value) in metadata {
        let place = format!("metadata.{key}");
        if is_label_name(key) {
            return Err(ServiceError::label_present(key, place));
        }
        if key.is_empty() || key.chars().count() > 64 || value.chars().count() > 512 {
            let message = format!("{place}: a key of 1 to 64 and a value of at most 512 characters.");
            return Err(ServiceError::new(ErrorCode::InvalidMetadata, message).at(place));
        }
    }
    Ok(())
}
