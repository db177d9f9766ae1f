//! What a call for activations asks of a model. Owns which requests a model cannot serve; must never run one.

use crate::domain::adapter_selection::AdapterSelection;
use crate::domain::error_code::ErrorCode;
use crate::domain::ids::JobId;
use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::domain::taps::TapChoice;
use crate::engine::Inputs;
use crate::service::context::Result;
use crate::service::error::ServiceError;
use crate::service::inference::runnable::Runnable;

/// A call for activations.
#[derive(Debug, Clone)]
pub struct ActivationsRequest {
    /// A backbone, or a fine-tuned model of the project.
    pub model: String,
    /// The inputs.
    pub inputs: Inputs,
    /// Adapter sets of a fine-tuned model; all when absent.
    pub adapters: Option<AdapterSelection>,
    /// Whether the bare backbone's activations are asked for; for a backbone they always are.
    pub base: Option<bool>,
    /// Another cut than the model's own.
    pub pooling: Option<Pooling>,
    /// Hidden states of a backbone, in place of its activations; none of the three fields above is then set.
    pub taps: Option<TapChoice>,
    /// The features job whose features are asked for; what it stands for are taps and a precision.
    pub like: Option<JobId>,
    /// Another precision than the model's own.
    pub precision: Option<Precision>,
}

impl ActivationsRequest {
    /// For what the model gives by itself.
    pub fn plain(model: String, inputs: Inputs) -> Self {
        Self { model, inputs, adapters: None, base: None, pooling: None, taps: None, like: None, precision: None }
    }
}

/// What a call runs.
pub struct Call<'a> {
    /// All of them.
    pub inputs: &'a Inputs,
    /// Adapter sets.
    pub adapters: Vec<usize>,
    /// Whether the bare backbone is asked for.
    pub base: bool,
    /// Hidden states, in place of both.
    pub taps: Option<&'a TapChoice>,
}

/// What a request asks of a model; refuses sets that the model does not have, and a request for nothing.
pub fn asked_of<'a>(model: &Runnable, request: &'a ActivationsRequest) -> Result<Call<'a>> {
    let inputs = &request.inputs;
    if let Some(taps) = &request.taps {
        if !model.adapters.0.is_empty() {
            let message = format!("{} is fine-tuned: hidden states are given of backbones alone.", model.name);
            return Err(ServiceError::new(ErrorCode::UnsupportedModel, message).at("model"));
        }
        return Ok(Call { inputs, adapters: Vec::new(), base: false, taps: Some(taps) });
    }
    if model.adapters.0.is_empty() {
        let none = matches!(&request.adapters, None | Some(AdapterSelection::All))
            || request.adapters == Some(AdapterSelection::Some(vec![]));
        if !none || request.base == Some(false) {
            let message = "A backbone has no adapter sets: it gives h.base alone.";
            let param = if none { "base" } else { "adapters" };
            return Err(ServiceError::new(ErrorCode::InvalidAdapters, message).at(param));
        }
        return Ok(Call { inputs, adapters: Vec::new(), base: true, taps: None });
    }
    let adapters = request.adapters.as_ref().unwrap_or(&AdapterSelection::All).resolve(model.settings.adapter_sets)?;
    let base = request.base.unwrap_or(false);
    if adapters.is_empty() && !base {
        let message = "Nothing is asked for: name adapter sets or base.";
        return Err(ServiceError::new(ErrorCode::InvalidAdapters, message).at("adapters"));
    }
    Ok(Call { inputs, adapters, base, taps: None })
}
