//! Traces and logs by OTLP over HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>). Owns what is sent to a collector, and how long
//! anybody waits for it; what a trace of a request has in it is `instruments::traces`'. Must never hold a request up: what the collector does
//! not take in time is dropped.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_http::Bytes;
use opentelemetry_http::HttpClient;
use opentelemetry_http::HttpError;
use opentelemetry_http::Request;
use opentelemetry_http::Response;
use opentelemetry_otlp::LogExporter;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_otlp::WithHttpConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLogger;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::Sampler;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Event;
use tracing_subscriber::Layer;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::Context as LayerContext;

use crate::instruments::traces;
use crate::telemetry::Layers;

/// The filter of spans of requests, which are sent whatever the log says.
pub const REQUESTS: &str = "blindtune::instruments::traces=info";
/// For one batch of spans or log records.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where telemetry goes, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct OtlpSettings<'a> {
    /// The collector, `http://127.0.0.1:4318` for example.
    pub endpoint: &'a str,
    /// Share of the traces that begin here which are sent; those that a caller began are sent as the caller says.
    pub sample: f64,
    /// Whether the log's lines are sent as well.
    pub logs: bool,
}

/// The sending to a collector.
pub struct Otlp {
    spans: SdkTracerProvider,
    records: Option<SdkLoggerProvider>,
}

impl Otlp {
    /// Begins to send. A collector that is away is no error: the log says it.
    pub fn start(settings: &OtlpSettings<'_>, handle: Handle) -> anyhow::Result<Self> {
        let client = Collector { client: reqwest::Client::builder().timeout(PATIENCE).build()?, handle };
        let at = |signal: &str| format!("{}/v1/{signal}", settings.endpoint.trim_end_matches('/'));
        let resource = Resource::builder()
            .with_service_name("blindtuned")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let exporter = SpanExporter::builder().with_http().with_http_client(client.clone());
        let exporter = exporter.with_endpoint(at("traces")).build().context("otlp.endpoint")?;
        let spans = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sample))))
            .with_resource(resource.clone())
            .build();
        traces::start(spans.tracer("blindtuned"));
        let mut records = None;
        if settings.logs {
            let exporter = LogExporter::builder().with_http().with_http_client(client);
            let exporter = exporter.with_endpoint(at("logs")).build().context("otlp.endpoint")?;
            records = Some(SdkLoggerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build());
        }
        Ok(Self { spans, records })
    }

    /// What listens to the host.
    pub fn layers(&self) -> Layers {
        let spans = tracing_opentelemetry::layer().with_tracer(self.spans.tracer("blindtuned"));
        let mut layers: Layers =
            vec![spans.with_location(false).with_threads(false).with_tracked_inactivity(false).boxed()];
        if let Some(records) = &self.records {
            layers.push(Lines(OpenTelemetryTracingBridge::new(records)).boxed());
        }
        layers
    }

    /// Sends what is left.
    pub fn stop(self) {
        if let Err(error) = self.spans.shutdown_with_timeout(PATIENCE) {
            tracing::warn!(%error, "the last spans did not reach the collector: {error}");
        }
        if let Some(records) = self.records {
            let _ = records.shutdown_with_timeout(PATIENCE); // the log cannot say that it cannot be sent
        }
    }
}

/// The log's lines, but for those about the sending itself: each would be a reason to send another.
struct Lines(OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>);

impl Layer<Registry> for Lines {
    fn on_event(&self, event: &Event<'_>, context: LayerContext<'_, Registry>) {
        if !event.metadata().target().starts_with("opentelemetry") {
            self.0.on_event(event, context);
        }
    }
}

/// Asks the collector in the host's runtime: what sends has a thread of its own and no runtime.
#[derive(Clone)]
struct Collector {
    client: reqwest::Client,
    handle: Handle,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let answer = self.handle.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let mut kept = Response::builder().status(answer.status());
            if let Some(headers) = kept.headers_mut() {
                headers.clone_from(answer.headers());
            }
            Ok::<_, HttpError>(kept.body(answer.bytes().await?)?)
        });
        answer.await?
    }
}
