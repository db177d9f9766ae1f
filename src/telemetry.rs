//! Logs. Owns their format; must never be handed a body, a key, a tensor or a label.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// Starts logging to standard error. `format` is `text` or `json`; `filter` as in `RUST_LOG`, which wins where it is set.
pub fn start(format: &str, filter: &str) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(set) if !set.is_empty() => EnvFilter::try_new(set)?,
        _ => EnvFilter::try_new(filter)?,
    };
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = match format {
        "json" => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init(),
        _ => builder.compact().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot start: {error}"))
}
