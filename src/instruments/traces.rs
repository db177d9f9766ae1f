//! A request as a trace: a span for all of it, which continues the caller's trace (<https://www.w3.org/TR/trace-context/>), and one for each
//! phase of a step call. Owns their names and attributes; must never put into one what was sent.
//!
//! Until [`start`] is called nothing is traced.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::Span as _;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::trace::Tracer;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::instruments::Phase;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Begins to trace.
pub fn start(tracer: SdkTracer) {
    let _ = TRACER.set(tracer); // once in a process
}

/// Headers in which a caller says what trace its request is part of.
const CALLERS_TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// The span of a request, for log and trace. `header` reads one of the request's.
pub fn request<'a>(id: &str, method: &str, path: &str, header: impl Fn(&str) -> Option<&'a str>) -> Span {
    if TRACER.get().is_none() {
        return tracing::info_span!("request", id, method, path);
    }
    let span = tracing::info_span!("request", id, method, path, otel.kind = "server");
    let said = |name: &str| Some((name.to_owned(), header(name)?.to_owned()));
    let said: HashMap<String, String> = CALLERS_TRACE.into_iter().filter_map(said).collect();
    let caller = TraceContextPropagator::new().extract(&said);
    if caller.span().span_context().is_valid() {
        let _ = span.set_parent(caller); // it was made a moment ago
    }
    span
}

/// The request of this moment was answered so, by this route.
pub fn answered(method: &str, route: &str, status: u16) {
    if TRACER.get().is_some() {
        let request = Span::current().context();
        request.span().update_name(format!("{method} {route}"));
        request.span().set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
    }
}

/// A phase of this moment's call ended `ago`, and took so long.
pub(super) fn phase(kind: &'static str, phase: Phase, took: Duration, ago: Duration) {
    let Some(tracer) = TRACER.get() else { return };
    let request = Span::current().context();
    if !request.span().span_context().is_sampled() {
        return;
    }
    let ended = SystemTime::now() - ago;
    let builder = tracer
        .span_builder(phase.as_str())
        .with_start_time(ended - took)
        .with_attributes([KeyValue::new("blindtune.call", kind)]);
    tracer.build_with_context(builder, &request).end_with_timestamp(ended);
}
