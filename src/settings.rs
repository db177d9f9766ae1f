//! How the configuration becomes each part's own settings. Owns units and shares; below `app` nobody reads the configuration.

use std::time::Duration;

use crate::api::Pace;
use crate::api::StackSettings;
use crate::api::WritePace;
use crate::api::server::ServerSettings;
use crate::config;
use crate::config::Config;
use crate::engine::EngineConfig;
use crate::service::DeliverySettings;
use crate::service::FeatureRules;
use crate::service::InferenceSettings;
use crate::service::JobSettings;
use crate::service::Retention;
use crate::service::StreamSettings;
use crate::telemetry::OtlpSettings;
use crate::telemetry::TelemetrySettings;

/// Share of `server.shutdown_secs` that requests in flight have.
const DRAIN_SHARE: f32 = 0.6;

/// Of the accept loop.
pub fn server_settings(config: &Config) -> ServerSettings {
    let server = &config.server;
    ServerSettings {
        max_connections: server.max_connections,
        per_address: server.connections_per_address,
        header_timeout: Duration::from_secs(server.header_timeout_secs),
        write_pace: WritePace {
            window: Duration::from_secs(server.write_timeout_secs),
            bytes_per_sec: server.write_bytes_per_sec,
        },
        drain: Duration::from_secs(server.shutdown_secs).mul_f32(DRAIN_SHARE),
    }
}

/// Where other nodes reach this host, which listens on that port. `None`: it is part of no fleet.
pub fn node_address(config: &Config, port: u16) -> Option<String> {
    let given = config.fleet.address.trim_end_matches('/');
    match given {
        "" => None,
        url if url.contains("://") => Some(url.to_owned()),
        name => Some(format!("http://{name}:{port}")),
    }
}

/// Of the port that Prometheus asks: a few sockets, and no patience.
pub fn metrics_server(config: &Config) -> ServerSettings {
    ServerSettings { max_connections: 16, per_address: 0, drain: Duration::ZERO, ..server_settings(config) }
}

/// Of the layers around the routes.
pub fn stack_settings(config: &Config) -> StackSettings {
    let server = &config.server;
    StackSettings {
        max_requests_in_flight: server.max_requests_in_flight,
        pace: Pace {
            window: Duration::from_secs(server.body_idle_timeout_secs),
            bytes_per_sec: server.body_bytes_per_sec,
            total: Duration::from_secs(server.body_total_secs),
        },
        control_timeout: Duration::from_secs(server.control_timeout_secs),
        console: server.console,
        docs: Some(server.docs.clone()).filter(|folder| !folder.as_os_str().is_empty()),
    }
}

/// Of event streams.
pub fn stream_settings(config: &Config) -> StreamSettings {
    StreamSettings {
        ping: Duration::from_secs(config.server.sse_ping_secs),
        most: config.server.max_event_streams,
        most_of_project: share_of_a_project(config, config.server.max_event_streams),
    }
}

/// At least one, however small the share is.
pub fn share_of_a_project(config: &Config, most: usize) -> usize {
    ((most as f64 * config.server.project_share) as usize).max(1)
}

/// Of the life of jobs.
pub fn job_settings(config: &Config) -> JobSettings {
    let jobs = &config.jobs;
    JobSettings {
        lease: Duration::from_secs(jobs.lease_secs),
        idle_pause: Duration::from_secs(jobs.idle_pause_secs),
        checkpoint_every_steps: jobs.checkpoint_every_steps,
        checkpoint_every: Duration::from_secs(jobs.checkpoint_every_secs),
        max_barren_attempts: jobs.max_barren_attempts,
    }
}

/// Of activations and embeddings.
pub fn inference_settings(config: &Config) -> InferenceSettings {
    let engine = &config.engine;
    InferenceSettings {
        sessions: engine.inference_sessions,
        idle: Duration::from_secs(engine.inference_idle_secs),
        patience: Duration::from_millis(engine.inference_wait_ms),
    }
}

/// Of feature jobs.
pub fn feature_rules(config: &Config) -> FeatureRules {
    FeatureRules {
        shard_bytes: config.features.shard_bytes,
        shard_rows: config.features.shard_rows,
        keep_seconds: i64::from(config.features.keep_days) * 86_400,
        batch_share: config.engine.batch_share,
    }
}

/// Of what is over.
pub fn retention(config: &Config) -> Retention {
    let config::Retention { jobs_days, audit_days, usage_days } = config.retention;
    Retention { jobs_days, audit_days, usage_days }
}

/// Processors that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Of the device.
pub fn engine_config(config: &Config) -> EngineConfig {
    let engine = &config.engine;
    EngineConfig {
        device: engine.device.clone(),
        onednn: engine.onednn,
        stack_tokens: engine.stack_tokens,
        stack_wait: Duration::from_millis(engine.stack_wait_ms),
        slice_tokens: engine.slice_tokens,
        threads: if engine.threads == 0 { cores() } else { engine.threads },
        queue_len: engine.queue,
        graph_bytes: engine.graph_bytes,
        graphs_per_job: engine.graphs_per_job,
        graph_ttl: Duration::from_secs(engine.graph_ttl_secs),
        limits: config.limits.clone(),
    }
}

/// For how long a webhook's old secret signs beside a new one.
pub fn overlap(config: &Config) -> Duration {
    Duration::from_secs(config.webhooks.secret_overlap_hours * 3600)
}

/// Of logs and traces. A command says what goes wrong alone, and tells no collector.
pub fn telemetry_settings(config: &Config, serves: bool) -> TelemetrySettings<'_> {
    let config::Otlp { endpoint, sample, logs } = &config.otlp;
    let otlp = OtlpSettings { endpoint, sample: *sample, logs: *logs };
    TelemetrySettings {
        format: &config.log.format,
        filter: if serves { &config.log.filter } else { "warn" },
        otlp: (serves && !endpoint.is_empty()).then_some(otlp),
    }
}

/// Of deliveries to webhooks.
pub fn delivery_settings(config: &Config) -> DeliverySettings {
    let webhooks = &config.webhooks;
    DeliverySettings {
        timeout: Duration::from_secs(webhooks.timeout_secs),
        backoff: webhooks.backoff_secs.iter().map(|secs| Duration::from_secs(*secs)).collect(),
        keep: Duration::from_secs(webhooks.keep_days * 86_400),
    }
}
