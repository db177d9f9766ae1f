//! Batches: their life cycle, the endpoints that they reach, and what a line of their input says. Must never know how a request is
//! answered, or who asked.

use std::fmt;

use serde_json::Map;
use serde_json::Value;

use crate::domain::labels::is_label_name;

/// Most requests in one batch, as in OpenAI's API.
pub const MOST_REQUESTS: u64 = 50_000;
/// Most characters of a `custom_id`.
pub const CUSTOM_ID_CHARS: usize = 256;
/// The one time frame in which a batch is worked off.
pub const WINDOW: &str = "24h";
/// The same in seconds.
pub const WINDOW_SECONDS: i64 = 24 * 3600;
/// How long the files of a batch are kept, where it does not say otherwise: 30 days.
pub const KEEP_SECONDS: i64 = 30 * 24 * 3600;

/// An endpoint that a batch can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchEndpoint {
    /// One vector an input.
    Embeddings,
    /// Activations, or hidden states.
    Activations,
}

impl BatchEndpoint {
    /// Every endpoint.
    pub const ALL: [Self; 2] = [Self::Embeddings, Self::Activations];

    /// Its URL, as clients and the database have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Embeddings => "/v1/embeddings",
            Self::Activations => "/v1/activations",
        }
    }

    /// The endpoint of this URL.
    pub fn of(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.as_str() == url)
    }
}

impl fmt::Display for BatchEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a batch stands, spelled as OpenAI spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchStatus {
    /// Its lines are checked.
    Validating,
    /// Its requests are answered.
    InProgress,
    /// All are; its files are written.
    Finalizing,
    /// Its owner gave it up; the files of what was done are written.
    Cancelling,
    /// Final: every request was answered.
    Completed,
    /// Final: its lines, or its host, were at fault.
    Failed,
    /// Final: its window passed before every request was answered.
    Expired,
    /// Final: given up by its owner.
    Cancelled,
}

/// Something that happens to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchEvent {
    /// Every line can be read.
    Checked,
    /// No line is left without an answer.
    Answered,
    /// The files are written.
    Written,
    /// The same, of a batch whose window passed before.
    WrittenLate,
    /// It cannot go on.
    Broke,
    /// The owner gave it up.
    CancelAsked,
}

impl BatchStatus {
    /// Every status, in the order of a batch's life.
    pub const ALL: [Self; 8] = [
        Self::Validating,
        Self::InProgress,
        Self::Finalizing,
        Self::Cancelling,
        Self::Completed,
        Self::Failed,
        Self::Expired,
        Self::Cancelled,
    ];

    /// Where the event leads; `None` when it cannot happen to a batch of this status.
    pub fn on(self, event: BatchEvent) -> Option<Self> {
        use BatchEvent::*;
        use BatchStatus::*;
        Some(match (self, event) {
            (Validating, Checked) => InProgress,
            (InProgress, Answered) => Finalizing,
            (Finalizing, Written) => Completed,
            (Finalizing, WrittenLate) => Expired,
            (Cancelling, Written | WrittenLate) => Cancelled,
            (Validating | InProgress | Finalizing | Cancelling, Broke) => Failed,
            (Validating | InProgress | Finalizing, CancelAsked) => Cancelling,
            _ => return None,
        })
    }

    /// Whether nothing can happen to the batch any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Expired | Self::Cancelled)
    }

    /// The text that clients and the database see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::InProgress => "in_progress",
            Self::Finalizing => "finalizing",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for BatchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestLine {
    /// The client's name for it; unique in its file.
    pub custom_id: String,
    /// The model that its body names.
    pub model: String,
    /// What the endpoint is sent.
    pub body: Value,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFault {
    /// A stable word for programs.
    pub code: &'static str,
    /// The field at fault.
    pub param: Option<&'static str>,
    /// A sentence for people.
    pub message: String,
}

impl LineFault {
    /// A fault of a field.
    pub fn at(param: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self { code, param: Some(param), message: message.into() }
    }
}

/// The fields of a line.
const FIELDS: [&str; 4] = ["custom_id", "method", "url", "body"];

/// Reads a line of a batch to `endpoint`.
pub fn read_line(line: &[u8], endpoint: BatchEndpoint) -> Result<RequestLine, LineFault> {
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    let mut fields = match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => fields,
        _ => return Err(LineFault { code: "invalid_json", param: None, message: "A line is one JSON object.".into() }),
    };
    if let Some(name) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let (code, what) =
            if is_label_name(name) { ("label_present", "looks like a label") } else { ("unknown_field", "is unknown") };
        let message = format!("'{name}' {what}; a line has custom_id, method, url and body.");
        return Err(LineFault { code, param: None, message });
    }
    let custom_id = text(&fields, "custom_id")?;
    if !(1..=CUSTOM_ID_CHARS).contains(&custom_id.chars().count()) {
        let message = format!("custom_id: must have 1 to {CUSTOM_ID_CHARS} characters.");
        return Err(LineFault::at("custom_id", "invalid_custom_id", message));
    }
    let method = text(&fields, "method")?;
    if method != "POST" {
        return Err(LineFault::at("method", "invalid_method", "method: must be POST."));
    }
    let url = text(&fields, "url")?;
    if url != endpoint.as_str() {
        let message = format!("url: must be the batch's endpoint, {endpoint}.");
        return Err(LineFault::at("url", "invalid_url", message));
    }
    let Some(Value::Object(body)) = fields.swap_remove("body") else {
        return Err(LineFault::at("body", "field_missing", "body: must be an object, as the endpoint takes it."));
    };
    let Some(Value::String(model)) = body.get("model") else {
        return Err(LineFault::at("body.model", "field_missing", "body.model: must be the name of a model."));
    };
    Ok(RequestLine { custom_id, model: model.clone(), body: Value::Object(body) })
}

fn text(fields: &Map<String, Value>, name: &'static str) -> Result<String, LineFault> {
    match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(LineFault::at(name, "field_missing", format!("{name}: must be a text."))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::BatchEvent::*;
    use super::BatchStatus::*;
    use super::*;

    const EVENTS: [BatchEvent; 6] = [Checked, Answered, Written, WrittenLate, Broke, CancelAsked];

    #[test]
    fn a_final_status_is_final_and_every_other_leads_somewhere() {
        for status in BatchStatus::ALL {
            let leads = EVENTS.iter().any(|event| status.on(*event).is_some());
            assert_eq!(leads, !status.is_final(), "{status}");
        }
    }

    #[test]
    fn a_batch_goes_its_way_and_a_cancelled_one_ends_cancelled() {
        let way = [Checked, Answered, Written].into_iter().try_fold(Validating, BatchStatus::on);
        assert_eq!(way, Some(Completed));
        assert_eq!(Finalizing.on(WrittenLate), Some(Expired));
        for status in [Validating, InProgress, Finalizing] {
            assert_eq!(status.on(CancelAsked).and_then(|status| status.on(Written)), Some(Cancelled));
        }
        assert_eq!((Cancelling.on(CancelAsked), Cancelling.on(Answered), Validating.on(Answered)), (None, None, None));
    }

    fn read(line: &Value) -> Result<RequestLine, LineFault> {
        read_line(line.to_string().as_bytes(), BatchEndpoint::Embeddings)
    }

    fn line() -> Value {
        json!({"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "x"}})
    }

    #[test]
    fn a_line_is_read_with_its_body_as_it_is() {
        let found = read(&line()).expect("a request");
        assert_eq!((&*found.custom_id, &*found.model), ("a", "m"));
        assert_eq!(found.body.to_string(), r#"{"model":"m","input":"x"}"#);
    }

    #[test]
    fn each_fault_of_a_line_has_its_word_and_its_place() {
        let cases = [
            ("custom_id", json!(null), "field_missing", Some("custom_id")),
            ("custom_id", json!(7), "field_missing", Some("custom_id")),
            ("custom_id", json!(""), "invalid_custom_id", Some("custom_id")),
            ("custom_id", json!("x".repeat(257)), "invalid_custom_id", Some("custom_id")),
            ("method", json!("GET"), "invalid_method", Some("method")),
            ("url", json!("/v1/activations"), "invalid_url", Some("url")),
            ("body", json!("x"), "field_missing", Some("body")),
            ("body", json!({"input": "x"}), "field_missing", Some("body.model")),
            ("more", json!(1), "unknown_field", None),
            ("label", json!(1), "label_present", None),
        ];
        for (name, value, code, param) in cases {
            let mut wrong = line();
            wrong[name] = value;
            let fault = read(&wrong).expect_err(name);
            assert_eq!((fault.code, fault.param), (code, param), "{name}: {}", fault.message);
        }
        for text in ["[]", "1", "{", ""] {
            let fault = read_line(text.as_bytes(), BatchEndpoint::Embeddings).expect_err(text);
            assert_eq!(fault.code, "invalid_json", "{text}");
        }
    }
}
