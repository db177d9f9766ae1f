//! Configuration. Owns where settings come from and that every problem is reported at once; must never print a secret.
//!
//! `config/default.toml` is compiled in and documents every setting; a file, the environment and flags go over it.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;

use figment::Figment;
use figment::providers::Env;
use figment::providers::Format;
use figment::providers::Serialized;
use figment::providers::Toml;
use figment::value::Dict;
use figment::value::Value;
use serde::Deserialize;

use crate::domain::limits::Limits;
use crate::domain::limits::MOST_ROWS;
use crate::domain::prices::Prices;

/// The defaults, with a comment for each.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

/// A text that must not be printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself; only for the call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Everything that can be set. Units and meanings: `config/default.toml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Sockets and time-outs.
    pub server: Server,
    /// Where state lives on disk.
    pub state: State,
    /// Other hosts.
    pub fleet: Fleet,
    /// Postgres.
    pub database: Database,
    /// The device.
    pub engine: Engine,
    /// Life of jobs.
    pub jobs: Jobs,
    /// Feature jobs.
    pub features: Features,
    /// Requests in files.
    pub batches: Batches,
    /// Deliveries to webhooks.
    pub webhooks: Webhooks,
    /// API keys.
    pub keys: Keys,
    /// How long what is over is kept.
    pub retention: Retention,
    /// Logging.
    pub log: Log,
    /// What Prometheus asks.
    pub metrics: Metrics,
    /// Who is sent traces and logs.
    pub otlp: Otlp,
    /// What work costs.
    pub prices: Prices,
    /// Limits.
    pub limits: Limits,
}

/// Section `[server]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub max_connections: usize,
    pub connections_per_address: usize,
    pub header_timeout_secs: u64,
    pub body_idle_timeout_secs: u64,
    pub body_bytes_per_sec: u64,
    pub body_total_secs: u64,
    pub write_timeout_secs: u64,
    pub write_bytes_per_sec: u64,
    pub control_timeout_secs: u64,
    pub max_requests_in_flight: usize,
    pub project_share: f64,
    pub shutdown_secs: u64,
    pub sse_ping_secs: u64,
    pub max_event_streams: usize,
    pub public_url: String,
    pub console: bool,
    pub docs: PathBuf,
}

/// Section `[state]`.
#[derive(Debug, Clone, Deserialize)]
pub struct State {
    pub dir: PathBuf,
    pub blobs: String,
    pub blob_keys: Vec<String>,
    pub remove_orphans: bool,
    pub models_dir: PathBuf,
}

/// Section `[fleet]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Fleet {
    pub address: String,
}

/// Section `[database]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Database {
    pub url: Secret,
    pub max_connections: u32,
    pub acquire_timeout_ms: u64,
    pub durable: bool,
}

/// Section `[engine]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Engine {
    pub device: String,
    pub threads: usize,
    pub onednn: bool,
    pub queue: usize,
    pub graph_bytes: usize,
    pub graphs_per_job: usize,
    pub graph_ttl_secs: u64,
    pub stack_tokens: usize,
    pub stack_wait_ms: u64,
    pub slice_tokens: usize,
    pub inference_sessions: usize,
    pub inference_idle_secs: u64,
    pub inference_wait_ms: u64,
    pub batch_share: f64,
}

/// Section `[jobs]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Jobs {
    pub lease_secs: u64,
    pub idle_pause_secs: u64,
    pub checkpoint_every_steps: u64,
    pub checkpoint_every_secs: u64,
    pub max_barren_attempts: i32,
}

/// Section `[features]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Features {
    pub shard_bytes: u64,
    pub shard_rows: u64,
    pub keep_days: u32,
}

/// Section `[batches]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Batches {
    pub piece_lines: u64,
}

/// Section `[webhooks]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Webhooks {
    pub allow_private: bool,
    pub timeout_secs: u64,
    pub secret_overlap_hours: u64,
    pub backoff_secs: Vec<u64>,
    pub keep_days: u64,
}

/// Section `[keys]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Keys {
    pub issuer: String,
    pub audience: String,
    pub default_days: u32,
    pub signing_keys: Vec<PathBuf>,
    pub cache_secs: u64,
}

/// Section `[retention]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Retention {
    pub jobs_days: u32,
    pub audit_days: u32,
    pub usage_days: u32,
}

/// Section `[log]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Log {
    pub format: String,
    pub filter: String,
}

/// Section `[metrics]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Metrics {
    pub listen: String,
}

/// Section `[otlp]`.
#[derive(Debug, Clone, Deserialize)]
pub struct Otlp {
    pub endpoint: String,
    pub sample: f64,
    pub logs: bool,
}

/// Every problem of a configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadConfig(pub Vec<String>);

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration has {} problem(s):", self.0.len())?;
        self.0.iter().try_for_each(|problem| writeln!(f, "  - {problem}"))
    }
}

impl std::error::Error for BadConfig {}

impl Config {
    /// Reads the defaults, `file`, the environment and `flags` (pairs of `section.name` and value), in that order.
    pub fn load(file: Option<&Path>, flags: &[(&str, Value)]) -> Result<Self, BadConfig> {
        let mut figment = Figment::from(Toml::string(DEFAULT_TOML));
        if let Some(path) = file {
            if !path.is_file() {
                return Err(BadConfig(vec![format!("--config: there is no file {}", path.display())]));
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        figment = figment.merge(Env::prefixed("BLINDTUNE_").filter(|key| key.as_str().contains("__")).split("__"));
        for (key, value) in flags {
            figment = figment.merge(Serialized::default(key, value));
        }
        Self::from_figment(&figment)
    }

    fn from_figment(figment: &Figment) -> Result<Self, BadConfig> {
        let one = |error: figment::Error| BadConfig(vec![error.to_string()]);
        let given: Dict = figment.extract().map_err(one)?;
        let known: Dict = Figment::from(Toml::string(DEFAULT_TOML)).extract().map_err(one)?;
        let mut problems = Vec::new();
        compare(&known, &given, "", &mut problems);
        if !problems.is_empty() {
            return Err(BadConfig(problems));
        }
        let config: Self = figment.extract().map_err(one)?;
        config.check(&mut problems);
        if problems.is_empty() { Ok(config) } else { Err(BadConfig(problems)) }
    }

    fn check(&self, problems: &mut Vec<String>) {
        let mut positive = |name: &str, value: u64| {
            if value == 0 {
                problems.push(format!("{name}: must be at least 1"));
            }
        };
        positive("server.max_connections", self.server.max_connections as u64);
        positive("server.header_timeout_secs", self.server.header_timeout_secs);
        positive("server.max_requests_in_flight", self.server.max_requests_in_flight as u64);
        positive("server.body_idle_timeout_secs", self.server.body_idle_timeout_secs);
        positive("server.body_total_secs", self.server.body_total_secs);
        positive("server.write_timeout_secs", self.server.write_timeout_secs);
        positive("database.max_connections", u64::from(self.database.max_connections));
        positive("server.sse_ping_secs", self.server.sse_ping_secs);
        positive("server.max_event_streams", self.server.max_event_streams as u64);
        positive("webhooks.timeout_secs", self.webhooks.timeout_secs);
        positive("webhooks.keep_days", self.webhooks.keep_days);
        positive("engine.queue", self.engine.queue as u64);
        positive("engine.inference_sessions", self.engine.inference_sessions as u64);
        positive("jobs.checkpoint_every_steps", self.jobs.checkpoint_every_steps);
        positive("limits.page_rows", u64::from(self.limits.page_rows));
        if self.jobs.lease_secs < 3 {
            problems.push("jobs.lease_secs: must be at least 3 (the heartbeat is a third of it)".into());
        }
        if self.server.max_event_streams > self.server.max_connections {
            problems.push("server.max_event_streams: must be at most server.max_connections".into());
        }
        if !(self.server.project_share > 0.0 && self.server.project_share <= 1.0) {
            problems.push("server.project_share: must be above 0 and at most 1".into());
        }
        if self.webhooks.backoff_secs.len() > 100 {
            problems.push("webhooks.backoff_secs: must be at most 100 pauses".into());
        }
        if !(1..=366).contains(&self.keys.default_days) {
            problems.push("keys.default_days: must be from 1 to 366".into());
        }
        if !self.database.url.expose().is_empty() && !self.database.url.expose().starts_with("postgres") {
            problems.push("database.url: must begin with postgres:// or postgresql://".into());
        }
        if self.limits.batch_rows > MOST_ROWS {
            problems.push(format!("limits.batch_rows: must be at most {MOST_ROWS}"));
        }
        let held = [self.limits.held_bytes_per_job, self.limits.held_bytes_per_project, self.limits.held_bytes];
        if held[0] == 0 || !held.is_sorted() {
            problems.push(
                "limits.held_bytes_per_job, held_bytes_per_project, held_bytes: each at least 1 and at most the next"
                    .into(),
            );
        }
        if self.limits.share_norm <= 0.0 {
            problems.push("limits.share_norm: must be positive".into());
        }
        problems.extend(self.prices.problems());
        self.check_watching(problems);
        self.check_engine(problems);
        self.check_features(problems);
        self.check_retention(problems);
    }

    fn check_watching(&self, problems: &mut Vec<String>) {
        if !["text", "json"].contains(&self.log.format.as_str()) {
            problems.push(format!("log.format: must be text or json, not '{}'", self.log.format));
        }
        let docs = &self.server.docs;
        if !docs.as_os_str().is_empty() && !docs.join("index.html").is_file() {
            problems.push(format!(
                "server.docs: there is no index.html in {}; `make docs-site` builds one",
                docs.display()
            ));
        }
        let models = &self.state.models_dir;
        if !models.as_os_str().is_empty() && !models.is_dir() {
            problems.push(format!("state.models_dir: there is no folder {}", models.display()));
        }
        if !self.metrics.listen.is_empty() && self.metrics.listen.parse::<SocketAddr>().is_err() {
            problems.push("metrics.listen: must be an address with a port (127.0.0.1:9464), or empty".into());
        }
        let Otlp { endpoint, sample, .. } = &self.otlp;
        let is_url =
            url::Url::parse(endpoint).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        if !endpoint.is_empty() && !is_url {
            problems.push("otlp.endpoint: must be a URL (http://127.0.0.1:4318), or empty".into());
        }
        if !(0.0..=1.0).contains(sample) {
            problems.push("otlp.sample: must be from 0 to 1".into());
        }
    }

    fn check_retention(&self, problems: &mut Vec<String>) {
        const MOST_DAYS: u32 = 36_500;
        let Retention { jobs_days, audit_days, usage_days } = self.retention;
        if [jobs_days, audit_days, usage_days].into_iter().any(|days| days > MOST_DAYS) {
            problems.push(format!("retention.*_days: must be from 0 (for ever) to {MOST_DAYS}"));
        }
        // Budgets add up a calendar month.
        if (1..32).contains(&usage_days) {
            problems.push("retention.usage_days: must be 0 (for ever) or at least 32".into());
        }
    }

    fn check_engine(&self, problems: &mut Vec<String>) {
        if self.engine.stack_wait_ms > 1000 {
            problems.push("engine.stack_wait_ms: must be at most 1000".into());
        }
        if (1..self.engine.stack_tokens).contains(&self.engine.slice_tokens) {
            problems.push("engine.slice_tokens: must be 0 or at least engine.stack_tokens".into());
        }
    }

    fn check_features(&self, problems: &mut Vec<String>) {
        if self.features.shard_bytes == 0 || self.features.shard_rows == 0 {
            problems.push("features.shard_bytes, features.shard_rows: must be at least 1".into());
        }
        if self.batches.piece_lines == 0 {
            problems.push("batches.piece_lines: must be at least 1".into());
        }
        if !(1..=30).contains(&self.features.keep_days) {
            problems.push("features.keep_days: must be from 1 to 30".into());
        }
        if !(self.engine.batch_share > 0.0 && self.engine.batch_share <= 1.0) {
            problems.push("engine.batch_share: must be above 0 and at most 1".into());
        }
    }

    /// Where blobs go: the setting, or a folder beside the rest of the state.
    pub fn blobs(&self) -> String {
        match self.state.blobs.as_str() {
            "" => self.state.dir.join("blobs").to_string_lossy().into_owned(),
            set => set.to_owned(),
        }
    }
}

/// Lists unknown names and values of another type than the default's.
fn compare(known: &Dict, given: &Dict, path: &str, problems: &mut Vec<String>) {
    for (name, value) in given {
        let full = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match (known.get(name), value) {
            (None, _) => problems.push(format!("{full}: there is no such setting")),
            (Some(Value::Dict(_, known)), Value::Dict(_, given)) => compare(known, given, &full, problems),
            (Some(default), value) if !same_type(default, value) => {
                problems.push(format!("{full}: expected {}, got {}", type_name(default), value.to_actual()));
            }
            _ => {}
        }
    }
}

fn same_type(default: &Value, value: &Value) -> bool {
    match (default, value) {
        (Value::String(..), Value::String(..) | Value::Num(..)) | (Value::Bool(..), Value::Bool(..)) => true,
        (Value::Num(_, default), Value::Num(_, value)) => {
            let whole = default.to_f64().is_none();
            !whole || value.to_u128().is_some() || value.to_i128().is_some_and(|value| value >= 0)
        }
        (Value::Array(_, default), Value::Array(_, values)) => {
            values.iter().all(|value| default.first().is_none_or(|default| same_type(default, value)))
        }
        _ => false,
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(..) => "a text",
        Value::Bool(..) => "true or false",
        Value::Num(_, number) if number.to_f64().is_none() => "a whole number, zero or more",
        Value::Num(..) => "a number",
        Value::Array(..) => "a list",
        _ => "a section",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_load_and_agree_with_the_code() {
        let config = Config::load(None, &[]).expect("defaults are valid");
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.server.port, 8080);
        assert_eq!(config.blobs(), "var/host/blobs");
    }

    #[test]
    fn a_folder_that_is_no_site_is_named() {
        let figment = Figment::from(Toml::string(DEFAULT_TOML)).merge(Toml::string("[server]\ndocs = \"nowhere\"\n"));
        let BadConfig(problems) = Config::from_figment(&figment).expect_err("there is no site");
        assert!(problems.iter().any(|problem| problem.contains("nowhere") && problem.contains("make docs-site")));
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let toml = "[server]\nport = \"x\"\nprot = 1\n[engine]\nqueue = -1\n[nothing]\na = 1\n";
        let figment = Figment::from(Toml::string(DEFAULT_TOML)).merge(Toml::string(toml));
        let BadConfig(problems) = Config::from_figment(&figment).expect_err("four problems");
        for name in ["server.port", "server.prot", "engine.queue", "nothing"] {
            assert!(problems.iter().any(|problem| problem.starts_with(name)), "{name} in {problems:?}");
        }
        assert_eq!(problems.len(), 4);
    }

    #[test]
    fn values_that_cannot_work_are_named_together() {
        let toml =
            "[jobs]\nlease_secs = 1\n[log]\nformat = \"xml\"\n[engine]\nqueue = 0\n[metrics]\nlisten = \"9464\"\n";
        let figment = Figment::from(Toml::string(DEFAULT_TOML)).merge(Toml::string(toml));
        assert_eq!(Config::from_figment(&figment).expect_err("four problems").0.len(), 4);
    }

    #[test]
    fn a_secret_is_not_printed() {
        let toml = "[database]\nurl = \"postgres://me:hunter2@db/x\"\n";
        let figment = Figment::from(Toml::string(DEFAULT_TOML)).merge(Toml::string(toml));
        let config = Config::from_figment(&figment).expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
