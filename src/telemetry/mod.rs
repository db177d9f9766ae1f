//! Logs, and traces. Owns their forms and where they go; must never be handed a body, a key, a tensor or a label.

mod otlp;

use tokio::runtime::Handle;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use otlp::OtlpSettings;

type Layers = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// What is told to whom.
#[derive(Debug, Clone)]
pub struct TelemetrySettings<'a> {
    /// `text` or `json`.
    pub format: &'a str,
    /// As in `RUST_LOG`, which wins where it is set.
    pub filter: &'a str,
    /// The collector that gets traces, and logs; none is told where there is none.
    pub otlp: Option<OtlpSettings<'a>>,
}

/// Logging to standard error, and the sending to a collector, until [`Telemetry::stop`].
pub struct Telemetry(Option<otlp::Otlp>);

impl Telemetry {
    /// Starts both. `handle`: of the runtime in which a collector is asked.
    pub fn start(settings: &TelemetrySettings<'_>, handle: Handle) -> anyhow::Result<Self> {
        let otlp = settings.otlp.as_ref().map(|otlp| otlp::Otlp::start(otlp, handle)).transpose()?;
        let mut layers: Layers = vec![written(settings.format)];
        let mut filter = filter(settings.filter)?;
        if let Some(otlp) = &otlp {
            layers.extend(otlp.layers());
            filter = filter.add_directive(otlp::REQUESTS.parse()?);
        }
        // One filter for all: after a question whether something is logged (sqlx asks), a layer's own filter loses the next event.
        let started = tracing_subscriber::registry().with(layers).with(filter).try_init();
        started.map_err(|error| anyhow::anyhow!("logging cannot start: {error}"))?;
        Ok(Self(otlp))
    }

    /// Sends what the collector has not got yet, for a few seconds at most.
    pub fn stop(self) {
        if let Some(otlp) = self.0 {
            otlp.stop();
        }
    }
}

fn filter(given: &str) -> anyhow::Result<EnvFilter> {
    match std::env::var("RUST_LOG") {
        Ok(set) if !set.is_empty() => Ok(EnvFilter::try_new(set)?),
        _ => Ok(EnvFilter::try_new(given)?),
    }
}

fn written(format: &str) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(false);
    match format {
        "json" => layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        _ => layer.compact().boxed(),
    }
}
