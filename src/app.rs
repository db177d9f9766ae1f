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
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::api;
use crate::api::App;
use crate::api::BatchEndpoints;
use crate::api::Readiness;
use crate::api::prometheus;
use crate::api::server::serve;
use crate::background::Background;
use crate::background::Loops;
use crate::config::Config;
use crate::database::make_state_folder;
use crate::domain::error_code::ErrorCode;
use crate::domain::held_bytes::HeldBytes;
use crate::engine::Engine;
use crate::engine::LocalEngine;
use crate::instruments;
use crate::service::Activity;
use crate::service::AuditLog;
use crate::service::Backbones;
use crate::service::BatchRules;
use crate::service::Batches;
use crate::service::Capabilities;
use crate::service::Context;
use crate::service::Delivery;
use crate::service::Estimates;
use crate::service::Events;
use crate::service::Features;
use crate::service::Files;
use crate::service::Fleet;
use crate::service::Governor;
use crate::service::Guard;
use crate::service::Idempotency;
use crate::service::Inference;
use crate::service::Jobs;
use crate::service::Keys;
use crate::service::Models;
use crate::service::Monitor;
use crate::service::Nodes;
use crate::service::Permits;
use crate::service::ProcessorTurns;
use crate::service::Projects;
use crate::service::Sessions;
use crate::service::SignsOfLife;
use crate::service::Steps;
use crate::service::Sweeper;
use crate::service::Tenants;
use crate::service::Tokens;
use crate::service::Uploads;
use crate::service::Usage;
use crate::service::Webhooks;
use crate::service::own_pair;
use crate::settings;
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
use crate::store::project_events;

pub use crate::database::Database;

/// Left-over blobs of a crash are removed when they are older than this.
const LEFTOVER_AGE: Duration = Duration::from_secs(3600);

/// Share of `server.shutdown_secs` for saving sessions, counting use and stopping Postgres, after the requests in flight (`settings`) had
/// theirs. The two add up to less than one, so that deliveries get their moment in between and the process is gone before whoever stops
/// it, with the same number of seconds in mind, kills it.
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
    project_events::adopt(&mut *pool.acquire().await?).await?;
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
        let engine: Arc<dyn Engine> = Arc::new(LocalEngine::start(settings::engine_config(&config))?);
        let context = Arc::new(context(&config, &database.pool, &blobs, &engine, owner));
        let inference = Arc::new(Inference::new(Arc::clone(&context)));
        let sessions = Arc::new(Sessions::new(Arc::clone(&context)));
        let features = Arc::new(Features::new(Arc::clone(&context)));
        let batches = batches(&context, &inference, &features);
        let guard = Guard { allow_private: config.webhooks.allow_private };
        let closing = CancellationToken::new();
        let outbox = Arc::new(Notify::new());
        let streams = settings::stream_settings(&config);
        let delivery =
            Delivery::new(Arc::clone(&context), guard, settings::delivery_settings(&config), Arc::clone(&outbox))?;
        let events = Arc::new(Events::new(Arc::clone(&context), streams, closing.clone(), outbox));
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
            monitor: Arc::new(Monitor::new(Arc::clone(&context), Arc::clone(&sessions), Arc::clone(&events))),
            fleet: Arc::new(Fleet::new(Arc::clone(&context), Arc::clone(&sessions))),
            tenants: Arc::new(Tenants(Arc::clone(&context))),
            backbones: Arc::new(backbones(&config, &database.pool)),
            events,
            webhooks: Arc::new(Webhooks::new(Arc::clone(&context), guard, settings::overlap(&config))),
            readiness: Arc::new(readiness(&database.pool)),
            places: Arc::new(Permits::new(settings::share_of_a_project(&config, config.server.max_requests_in_flight))),
            processor_turns: Arc::new(ProcessorTurns::new(settings::cores())),
            limits: Arc::new(config.limits.clone()),
        };
        let delivery = Arc::new(delivery);
        let sweeper = Sweeper { context, retention: settings::retention(&config) };
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
        let metrics = listen_for_metrics(&self.config, Arc::clone(&self.app.monitor)).await?;
        let router = api::router(self.app.clone(), &settings::stack_settings(&self.config))?;
        let address = listener.local_addr()?;
        if let Some(own) = settings::node_address(&self.config, address.port()) {
            self.app.fleet.join(own).await?;
        }
        ready(address);
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
        let draining = draining(shutdown, Arc::clone(&self.app.readiness), self.closing);
        serve(listener, router, settings::server_settings(&self.config), draining).await;
        let last_count = background.stop().await;
        metrics.iter().for_each(JoinHandle::abort);
        let rest = async {
            self.sessions.close_all().await;
            if let Err(error) = self.features.stop().await {
                tracing::error!(%error, "the lease of a features job could not be given back: {error}");
            }
            if let Err(error) = self.app.batches.stop().await {
                tracing::error!(%error, "the lease of a batch could not be given back: {error}");
            }
            self.app.fleet.leave().await?;
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

fn backbones(config: &Config, pool: &Pool) -> Backbones {
    let folder = &config.state.models_dir;
    Backbones { pool: pool.clone(), offered: (!folder.as_os_str().is_empty()).then(|| folder.clone()) }
}

/// What every use case works with.
fn context(config: &Config, pool: &Pool, blobs: &Blobs, engine: &Arc<dyn Engine>, owner: Uuid) -> Context {
    Context {
        pool: pool.clone(),
        blobs: blobs.clone(),
        engine: Arc::clone(engine),
        limits: config.limits.clone(),
        prices: config.prices.clone(),
        held: HeldBytes::new(&config.limits),
        jobs: settings::job_settings(config),
        inference: settings::inference_settings(config),
        features: settings::feature_rules(config),
        batches: BatchRules { piece_lines: config.batches.piece_lines },
        activity: Activity::default(),
        signs_of_life: SignsOfLife::default(),
        batch_turn: tokio::sync::Mutex::new(()),
        device: config.engine.device.clone(),
        owner,
    }
}

/// Batches, which the live endpoints answer.
fn batches(context: &Arc<Context>, inference: &Arc<Inference>, features: &Arc<Features>) -> Arc<Batches> {
    let endpoints = BatchEndpoints { inference: Arc::clone(inference), features: Arc::clone(features) };
    Arc::new(Batches::new(Arc::clone(context), Arc::new(endpoints)))
}

/// Counts, and shows Prometheus what was counted, where `metrics.listen` says; until the host is gone, so that a shutdown is seen.
async fn listen_for_metrics(config: &Config, monitor: Arc<Monitor>) -> anyhow::Result<Option<JoinHandle<()>>> {
    let address = &config.metrics.listen;
    if address.is_empty() {
        return Ok(None);
    }
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (metrics.listen)"))?;
    let address = listener.local_addr()?;
    tracing::info!("metrics for Prometheus are at http://{address}/metrics");
    instruments::start(ErrorCode::ALL.iter().map(|code| code.as_str()));
    let serving =
        serve(listener, prometheus::routes(monitor), settings::metrics_server(config), std::future::pending());
    Ok(Some(tokio::spawn(serving)))
}

/// Ends when `shutdown` does, and says so to whoever waits: load balancers by `/readyz`, streams and deliveries by `closing`.
async fn draining(shutdown: impl Future<Output = ()>, readiness: Arc<Readiness>, closing: CancellationToken) {
    shutdown.await;
    readiness.draining.store(true, Ordering::Release);
    closing.cancel();
    tracing::info!("shutting down: finishing what is in flight");
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
    /// The hosts of a fleet.
    pub nodes: Nodes,
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
        let backbones = backbones(config, &database.pool);
        let nodes = Nodes(database.pool.clone());
        Ok(Self { database, keys, backbones, nodes })
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
