//! Traces and logs by OTLP, as a collector gets them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use parking_lot::Mutex;
use prost::Message;
use reqwest::Method;

use crate::client::Client;
use crate::client::pack;
use crate::host::Host;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::split_job;

/// A collector: what came so far.
#[derive(Default)]
struct Collected {
    spans: Vec<Span>,
    lines: Vec<(String, Vec<u8>)>,
}

type Collector = Arc<Mutex<Collected>>;

async fn take_spans(State(collector): State<Collector>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP");
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    collector.lock().spans.extend(scopes.flat_map(|scope| scope.spans));
}

async fn take_logs(State(collector): State<Collector>, body: Bytes) {
    let request = ExportLogsServiceRequest::decode(body).expect("OTLP");
    let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    let lines = scopes.flat_map(|scope| scope.log_records).filter_map(|record| match record.body?.value? {
        Value::StringValue(text) => Some((text, record.trace_id)),
        _ => None,
    });
    collector.lock().lines.extend(lines);
}

/// A collector, and its address.
async fn collector() -> (Collector, String) {
    let collector = Collector::default();
    let router = Router::new().route("/v1/traces", post(take_spans)).route("/v1/logs", post(take_logs));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let router = router.with_state(Arc::clone(&collector));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (collector, address)
}

const TRACE: [u8; 16] = [0xaa; 16];
const CALLER: [u8; 8] = [0xbb; 8];

fn traceparent(sampled: bool) -> String {
    format!("00-{}-{}-0{}", hex::encode(TRACE), hex::encode(CALLER), u8::from(sampled))
}

/// A host that tells `collector`, and a job on it; the caller's forward is the first call of the trace.
async fn forward(collector: &str, sampled: bool, logs: bool) -> Host {
    let logs = if logs { "true" } else { "false" };
    let sample = ("BLINDTUNE_OTLP__SAMPLE", "0.0");
    let host = Host::start(&[("BLINDTUNE_OTLP__ENDPOINT", collector), ("BLINDTUNE_OTLP__LOGS", logs), sample]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("clinic", &[]).await));
    let job = split_job(&client, serde_json::json!({"adapter_sets": 1})).await;
    let call = client.call(Method::POST, &job.path("/forward?seq=1")).header("traceparent", &traceparent(sampled));
    call.body("application/octet-stream", pack(&batch())).send().await.ok();
    host
}

/// Ends a host in good order: what it has not sent yet goes out.
async fn stop(mut host: Host) {
    host.signal("TERM");
    assert!(host.ended(Duration::from_secs(30)).await.success(), "{}", host.log());
}

#[tokio::test]
async fn a_callers_trace_goes_on_through_the_device_to_the_database() {
    let (collector, address) = collector().await;
    stop(forward(&address, true, true).await).await;
    let collected = std::mem::take(&mut *collector.lock());
    let spans: BTreeMap<&str, &Span> = collected.spans.iter().map(|span| (span.name.as_str(), span)).collect();
    assert_eq!(spans.len(), collected.spans.len(), "one call was to be traced: {spans:#?}");
    let request = spans["POST /v1/fine_tuning/jobs/{job_id}/forward"];
    assert_eq!((request.trace_id.as_slice(), request.parent_span_id.as_slice()), (&TRACE[..], &CALLER[..]));
    assert_eq!(request.kind, SpanKind::Server as i32);
    let status = request.attributes.iter().find(|pair| pair.key == "http.response.status_code");
    let status = status.and_then(|pair| pair.value.clone()?.value);
    assert_eq!(status, Some(Value::IntValue(200)));
    let phases = ["queue", "device", "commit", "encode"].map(|name| spans[name]);
    for phase in phases {
        assert_eq!((&phase.trace_id, &phase.parent_span_id), (&request.trace_id, &request.span_id), "{}", phase.name);
        let within = request.start_time_unix_nano <= phase.start_time_unix_nano
            && phase.start_time_unix_nano <= phase.end_time_unix_nano;
        assert!(within, "{phase:?} {request:?}");
    }
    assert_eq!(spans.len(), 1 + phases.len());
    let answered = collected.lines.iter().find(|(text, trace)| text.starts_with("answered 200") && trace == &TRACE);
    assert!(answered.is_some(), "{:?}", collected.lines);
}

#[tokio::test]
async fn a_trace_that_its_caller_does_not_keep_is_not_sent() {
    let (collector, address) = collector().await;
    stop(forward(&address, false, false).await).await;
    let collected = std::mem::take(&mut *collector.lock());
    assert_eq!((collected.spans.len(), collected.lines.len()), (0, 0));
}

#[tokio::test]
async fn a_collector_that_is_away_holds_nobody_up() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", unused.local_addr().expect("an address"));
    drop(unused);
    stop(forward(&address, true, true).await).await;
}
