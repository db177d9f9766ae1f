//! The composition root: the only place that constructs things, and the owner of the order of shutdown.
//!
//! On SIGTERM: readiness turns false, no connection is accepted, requests in flight finish, sessions are saved and their leases
//! given back, the private Postgres stops. Whatever sockets do, the process is gone within `server.shutdown_secs`.

use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::api;
use crate::api::App;
use crate::api::BatchEndpoints;
use crate::api::Pace;
use crate::api::Readiness;
use crate::api::StackSettings;
use crate::api::WritePace;
use crate::api::server::ServerSettings;
use crate::api::server::serve;
use crate::background::Background;
use crate::background::Loops;
use crate::config;
use crate::config::Config;
use crate::database::make_state_folder;
use crate::domain::held_bytes::HeldBytes;
use crate::engine::Engine;
use crate::engine::EngineConfig;
use crate::engine::LocalEngine;
use crate::service::Activity;
use crate::service::AuditLog;
use crate::service::Backbones;
use crate::service::BatchRules;
use crate::service::Batches;
use crate::service::Capabilities;
use crate::service::Context;
use crate::service::Delivery;
use crate::service::DeliverySettings;
use crate::service::Estimates;
use crate::service::Events;
use crate::service::FeatureRules;
use crate::service::Features;
use crate::service::Files;
use crate::service::Governor;
use crate::service::Guard;
use crate::service::Idempotency;
use crate::service::Inference;
use crate::service::InferenceSettings;
use crate::service::JobSettings;
use crate::service::Jobs;
use crate::service::Keys;
use crate::service::Models;
use crate::service::Permits;
use crate::service::ProcessorTurns;
use crate::service::Projects;
use crate::service::Retention;
use crate::service::Sessions;
use crate::service::Steps;
use crate::service::StreamSettings;
use crate::service::Sweeper;
use crate::service::Tokens;
use crate::service::Uploads;
use crate::service::Usage;
use crate::service::Webhooks;
use crate::service::own_pair;
use crate::store::Pool;
use crate::store::backup;
use crate::store::backup::Manifest;
use crate::store::backup::Places;
use crate::store::batches;
use crate::store::blob_keys;
use crate::store::blob_keys::BlobKeys;
use crate::store::blobs::Blobs;
use crate::store::host_lock::HostLock;
use crate::store::leases;
use crate::store::pool;

pub use crate::database::Database;

/// Left-over blobs of a crash are removed when they are older than this.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// Shares of `server.shutdown_secs`: for requests in flight, and then for saving sessions, counting use and stopping Postgres. They
/// add up to less than one, so that deliveries get their moment in between and the process is gone before whoever stops it, with the
/// same number of seconds in mind, kills it.
const DRAIN_SHARE: f32 = 0.6;
const SAVE_SHARE: f32 = 0.36;

/// This process as the owner of leases. Where the last host of the state folder is dead, its leases end: the machine that was killed
/// goes on with its jobs at once, and the token of the next attempt fences off what might be left of it.
async fn own_state(config: &Config, pool: &Pool) -> anyhow::Result<(HostLock, Uuid)> {
    let owner = Uuid::new_v4();
    let mut lock = HostLock::take(&config.state.dir).context("the state folder cannot be locked")?;
    if let Some(dead) = lock.dead_owner() {
        let mut connection = pool.acquire().await.context("the database cannot be reached")?;
        let jobs = leases::expire(&mut connection, dead).await?;
        let batches = batches::expire(&mut connection, dead).await?;
        tracing::info!(
            jobs,
            batches,
            "the last host of this state folder left {jobs} jobs and {batches} batches; they are free"
        );
    }
    lock.record(owner).context("the state folder's lock cannot be written")?;
    Ok((lock, owner))
}

/// The host, put together.
pub struct Host {
    config: Config,
    database: Database,
    engine: Arc<dyn Engine>,
    sessions: Arc<Sessions>,
    features: Arc<Features>,
    sweeper: Sweeper,
    blobs: Blobs,
    delivery: Arc<Delivery>,
    closing: CancellationToken,
    _lock: HostLock,
    /// The routes' state.
    pub app: App,
}

impl Host {
    /// Puts the host together: database, blobs, engine, use cases.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let blob_keys = read_blob_keys(&config)?;
        let database = Database::open(&config).await?;
        let keys = keys(&config, &database.pool)?;
        check_signing_key(&config, &keys).await?;
        let blobs = open_blobs(&config, blob_keys).await?;
        let (lock, owner) = own_state(&config, &database.pool).await?;
        let engine: Arc<dyn Engine> = Arc::new(LocalEngine::start(engine_config(&config))?);
        let context = Arc::new(Context {
            pool: database.pool.clone(),
            blobs: blobs.clone(),
            engine: Arc::clone(&engine),
            limits: config.limits.clone(),
            held: HeldBytes::new(&config.limits),
            jobs: job_settings(&config),
            inference: inference_settings(&config),
            features: feature_rules(&config),
            batches: BatchRules { piece_lines: config.batches.piece_lines },
            activity: Activity::default(),
            batch_turn: tokio::sync::Mutex::new(()),
            device: config.engine.device.clone(),
            owner,
        });
        let inference = Arc::new(Inference::new(Arc::clone(&context)));
        let sessions = Arc::new(Sessions::new(Arc::clone(&context)));
        let features = Arc::new(Features::new(Arc::clone(&context)));
        let endpoints = BatchEndpoints { inference: Arc::clone(&inference), features: Arc::clone(&features) };
        let batches = Arc::new(Batches::new(Arc::clone(&context), Arc::new(endpoints)));
        let guard = Guard { allow_private: config.webhooks.allow_private };
        let closing = CancellationToken::new();
        let outbox = Arc::new(Notify::new());
        let streams = stream_settings(&config);
        let delivery = Delivery::new(Arc::clone(&context), guard, delivery_settings(&config), Arc::clone(&outbox))?;
        let app = App {
            keys: Arc::new(keys),
            files: Arc::new(Files(Arc::clone(&context))),
            uploads: Arc::new(Uploads(Arc::clone(&context))),
            models: Arc::new(Models::new(Arc::clone(&context), Arc::clone(&inference))),
            features: Arc::clone(&features),
            batches,
            jobs: Arc::new(Jobs::new(Arc::clone(&context), Arc::clone(&sessions), Arc::clone(&features))),
            steps: Arc::new(Steps::new(Arc::clone(&context), Arc::clone(&sessions))),
            estimates: Arc::new(Estimates::new(Arc::clone(&context), Arc::clone(&features))),
            capabilities: Arc::new(Capabilities::new(Arc::clone(&context))),
            inference,
            governor: Arc::new(Governor::new(Arc::clone(&context))),
            usage: Arc::new(Usage(Arc::clone(&context))),
            audit_log: Arc::new(AuditLog(Arc::clone(&context))),
            idempotency: Arc::new(Idempotency::new(Arc::clone(&context))),
            events: Arc::new(Events::new(Arc::clone(&context), streams, closing.clone(), outbox)),
            webhooks: Arc::new(Webhooks::new(Arc::clone(&context), guard, overlap(&config))),
            readiness: Arc::new(readiness(&database.pool)),
            places: Arc::new(Permits::new(share_of_a_project(&config, config.server.max_requests_in_flight))),
            processor_turns: Arc::new(ProcessorTurns::new(cores())),
            limits: Arc::new(config.limits.clone()),
        };
        let delivery = Arc::new(delivery);
        let sweeper = Sweeper { context, retention: retention(&config) };
        Ok(Self { config, database, engine, sessions, features, sweeper, blobs, delivery, closing, _lock: lock, app })
    }

    /// Listens, and says where through `ready`, until `shutdown` resolves; then ends in order.
    pub async fn run(self, ready: impl FnOnce(SocketAddr), shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let server = &self.config.server;
        let listener = TcpListener::bind((server.host.as_str(), server.port))
            .await
            .with_context(|| format!("cannot listen on {}:{}", server.host, server.port))?;
        let swept = self.blobs.remove_leftovers(LEFTOVER_AGE).await?;
        tracing::debug!(swept, "removed {swept} left-over blobs");
        let router = api::router(self.app.clone(), &stack_settings(&self.config))?;
        ready(listener.local_addr()?);
        let background = Background::start(Loops {
            app: self.app.clone(),
            sessions: Arc::clone(&self.sessions),
            features: Arc::clone(&self.features),
            sweeper: self.sweeper,
            delivery: self.delivery,
            closing: self.closing.clone(),
            every: Duration::from_secs(self.config.jobs.lease_secs) / 3,
            remove_orphans: self.config.state.remove_orphans,
        });
        let budget = Duration::from_secs(server.shutdown_secs);
        let settings = ServerSettings {
            max_connections: server.max_connections,
            per_address: server.connections_per_address,
            header_timeout: Duration::from_secs(server.header_timeout_secs),
            write_pace: WritePace {
                window: Duration::from_secs(server.write_timeout_secs),
                bytes_per_sec: server.write_bytes_per_sec,
            },
            drain: budget.mul_f32(DRAIN_SHARE),
        };
        let draining = draining(shutdown, Arc::clone(&self.app.readiness), self.closing);
        serve(listener, router, settings, draining).await;
        let last_count = background.stop().await;
        let rest = async {
            self.sessions.close_all().await;
            if let Err(error) = self.features.stop().await {
                tracing::error!(%error, "the lease of a features job could not be given back: {error}");
            }
            if let Err(error) = self.app.batches.stop().await {
                tracing::error!(%error, "the lease of a batch could not be given back: {error}");
            }
            last_count.await?;
            let closed = self.database.close().await;
            self.engine.finish().await;
            closed
        };
        tokio::time::timeout(budget.mul_f32(SAVE_SHARE), rest)
            .await
            .context("the shutdown took too long and was cut")?
    }
}

/// Ends when `shutdown` does, and says so to whoever waits: load balancers by `/readyz`, streams and deliveries by `closing`.
async fn draining(shutdown: impl Future<Output = ()>, readiness: Arc<Readiness>, closing: CancellationToken) {
    shutdown.await;
    readiness.draining.store(true, Ordering::Release);
    closing.cancel();
    tracing::info!("shutting down: finishing what is in flight");
}

fn stack_settings(config: &Config) -> StackSettings {
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
    }
}

fn stream_settings(config: &Config) -> StreamSettings {
    StreamSettings {
        ping: Duration::from_secs(config.server.sse_ping_secs),
        most: config.server.max_event_streams,
        most_of_project: share_of_a_project(config, config.server.max_event_streams),
    }
}

/// At least one, however small the share is.
fn share_of_a_project(config: &Config, most: usize) -> usize {
    ((most as f64 * config.server.project_share) as usize).max(1)
}

fn job_settings(config: &Config) -> JobSettings {
    let jobs = &config.jobs;
    JobSettings {
        lease: Duration::from_secs(jobs.lease_secs),
        idle_pause: Duration::from_secs(jobs.idle_pause_secs),
        checkpoint_every_steps: jobs.checkpoint_every_steps,
        checkpoint_every: Duration::from_secs(jobs.checkpoint_every_secs),
        max_barren_attempts: jobs.max_barren_attempts,
    }
}

fn inference_settings(config: &Config) -> InferenceSettings {
    let engine = &config.engine;
    InferenceSettings {
        sessions: engine.inference_sessions,
        idle: Duration::from_secs(engine.inference_idle_secs),
        patience: Duration::from_millis(engine.inference_wait_ms),
    }
}

fn feature_rules(config: &Config) -> FeatureRules {
    FeatureRules {
        shard_bytes: config.features.shard_bytes,
        shard_rows: config.features.shard_rows,
        keep_seconds: i64::from(config.features.keep_days) * 86_400,
        batch_share: config.engine.batch_share,
    }
}

fn retention(config: &Config) -> Retention {
    let config::Retention { jobs_days, audit_days, usage_days } = config.retention;
    Retention { jobs_days, audit_days, usage_days }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn engine_config(config: &Config) -> EngineConfig {
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
fn overlap(config: &Config) -> Duration {
    Duration::from_secs(config.webhooks.secret_overlap_hours * 3600)
}

fn delivery_settings(config: &Config) -> DeliverySettings {
    let webhooks = &config.webhooks;
    DeliverySettings {
        timeout: Duration::from_secs(webhooks.timeout_secs),
        backoff: webhooks.backoff_secs.iter().map(|secs| Duration::from_secs(*secs)).collect(),
        keep: Duration::from_secs(webhooks.keep_days * 86_400),
    }
}

fn keys(config: &Config, pool: &Pool) -> anyhow::Result<Keys> {
    make_state_folder(config)?;
    let (issuer, audience) = (&config.keys.issuer, &config.keys.audience);
    let tokens = match config.keys.signing_keys.as_slice() {
        [] => Tokens::open(&key_folder(config), issuer, audience)?,
        named => Tokens::read_from(named, issuer, audience)?,
    };
    Ok(Keys::new(pool.clone(), tokens, Duration::from_secs(config.keys.cache_secs)))
}

fn key_folder(config: &Config) -> PathBuf {
    config.state.dir.join("keys")
}

/// Refuses to start beside hosts that sign with another key: each would answer 401 to the other's keys.
async fn check_signing_key(config: &Config, keys: &Keys) -> anyhow::Result<()> {
    let Some(foreign) = keys.foreign_signing_key().await? else { return Ok(()) };
    let path = config.keys.signing_keys.first().cloned().unwrap_or_else(|| own_pair(&key_folder(config)));
    anyhow::bail!(
        "the keys of this database are signed by another key pair ({foreign}) than {}: every key would be refused. Copy \
         keys/signing_key.pem there from the state folder of a host that works. Where it is lost, `blindtuned keys \
         adopt-signing-key` makes this host's the database's; every key made so far then stops working",
        path.display()
    )
}

fn readiness(pool: &Pool) -> Readiness {
    let pool = pool.clone();
    let probe = move || {
        let pool = pool.clone();
        async move { pool::ping(&pool).await.is_ok() }.boxed()
    };
    Readiness { probe: Arc::new(probe), draining: AtomicBool::new(false) }
}

/// What the command line administers: keys, projects and backbones. Needs the database alone, so that it works beside a running
/// host and touches no device.
pub struct AdminApp {
    database: Database,
    /// Use cases on keys.
    pub keys: Keys,
    /// Use cases on backbones.
    pub backbones: Backbones,
}

impl AdminApp {
    /// Opens the database, with the signing key that its hosts have.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let admin = Self::open_with_any_key(config).await?;
        match check_signing_key(config, &admin.keys).await {
            Ok(()) => Ok(admin),
            Err(refused) => {
                admin.close().await?;
                Err(refused)
            }
        }
    }

    /// Opens the database, to agree on a signing key.
    pub async fn open_with_any_key(config: &Config) -> anyhow::Result<Self> {
        let database = Database::open(config).await?;
        let keys = keys(config, &database.pool)?;
        let backbones = Backbones(database.pool.clone());
        Ok(Self { database, keys, backbones })
    }

    /// Use cases on whole projects, which need the blobs too.
    pub async fn projects(&self, config: &Config) -> anyhow::Result<Projects> {
        let blobs = open_blobs(config, read_blob_keys(config)?).await?;
        let remembered = Duration::from_secs(config.keys.cache_secs);
        Ok(Projects::new(self.database.pool.clone(), blobs, remembered))
    }

    /// Closes the database.
    pub async fn close(self) -> anyhow::Result<()> {
        self.database.close().await
    }
}

/// Makes a key for blobs in a file of its own, and gives its name.
pub fn new_blob_key(file: &Path) -> anyhow::Result<String> {
    blob_keys::create(file).with_context(|| format!("{} cannot be made", file.display()))
}

/// The keys for blobs, none of which may lie where blobs and state are copied from.
fn read_blob_keys(config: &Config) -> anyhow::Result<BlobKeys> {
    let keys = BlobKeys::read(&config.state.blob_keys, &[config.state.dir.clone(), PathBuf::from(config.blobs())])?;
    if let Some(first) = keys.first() {
        tracing::info!(key = first.id(), "new blobs are encrypted with key {}", first.id());
    }
    Ok(keys)
}

/// The blobs, with the keys for them; refused where a key is missing, for what is under it could not be read.
async fn open_blobs(config: &Config, keys: BlobKeys) -> anyhow::Result<Blobs> {
    let blobs = Blobs::open(&config.blobs()).await.context("the blob store cannot be opened")?.with_keys(keys);
    blobs.check_keys().await?;
    Ok(blobs)
}

/// Copies everything that the host remembers into a folder; works beside a running host.
pub async fn back_up(config: &Config, folder: &Path) -> anyhow::Result<Manifest> {
    let database = Database::open(config).await?;
    let blobs = Blobs::open(&config.blobs()).await.context("the blob store cannot be opened")?;
    let keys = key_folder(config);
    let places = Places { database_url: &database.url, pool: &database.pool, blobs: &blobs, keys: &keys };
    let done = backup::write(&places, folder).await;
    database.close().await?;
    Ok(done?)
}

/// Makes a new host's state of a backup, and brings its schema up to date.
pub async fn restore(config: &Config, folder: &Path) -> anyhow::Result<Manifest> {
    let database = Database::connect(config).await?;
    let blobs = Blobs::open(&config.blobs()).await.context("the blob store cannot be opened")?;
    let keys = key_folder(config);
    let places = Places { database_url: &database.url, pool: &database.pool, blobs: &blobs, keys: &keys };
    let done = async {
        let manifest = backup::restore(&places, folder).await?;
        database.migrate(config).await?;
        anyhow::Ok(manifest)
    };
    let done = done.await;
    database.close().await?;
    done
}

/// Where the hub's downloads are kept: beside the rest of the state.
pub fn hub_folder(config: &Config) -> PathBuf {
    config.state.dir.join("hub")
}
