//! `__metadata__` of safetensors that came from outside. Owns what it may say; must never keep any of it.

use std::collections::BTreeMap;

use crate::domain::error_code::ErrorCode;
use crate::domain::labels::is_label_name;
use crate::service::error::ServiceError;

/// What the libraries write by themselves: whose tensors these were.
const FORMAT: &str = "format";
const FORMATS: [&str; 6] = ["pt", "np", "numpy", "tf", "flax", "mlx"];

/// Refuses free words beside tensors: nobody reads them, and they would travel.
pub fn check_tensor_metadata(metadata: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    let wrong = metadata.iter().find(|(name, value)| *name != FORMAT || !FORMATS.contains(&value.as_str()));
    let Some((name, _)) = wrong else { return Ok(()) };
    let place = format!("__metadata__.{name}");
    if is_label_name(name) {
        return Err(ServiceError::label_present(name, place));
    }
    let message = format!(
        "{place}: the metadata of tensors may say format ({}) and nothing else; save them without it.",
        FORMATS.join(", ")
    );
    Err(ServiceError::new(ErrorCode::UnknownField, message).at(place))
}
