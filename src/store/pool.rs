//! Connections to Postgres. Owns their number, their time-outs and the migrations; nothing else opens a connection.

use std::str::FromStr;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::PgConnection;
use sqlx::PgPool;
use sqlx::Postgres;
use sqlx::migrate::MigrateError;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::postgres::PgPoolOptions;
use time::OffsetDateTime;

use crate::store::error::Result;
use crate::store::error::StoreError;

/// A set of connections; cheap to clone.
pub type Pool = PgPool;
/// One connection, inside a transaction or not.
pub type Connection = PgConnection;
/// A transaction; rolled back when dropped.
pub type Tx = sqlx::Transaction<'static, Postgres>;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Settings of every session. Postgres has the three time-outs off by default.
const SESSION: [(&str, &str); 5] = [
    ("statement_timeout", "5s"),
    ("lock_timeout", "2s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("synchronous_commit", "on"),
    ("timezone", "UTC"),
];

/// How many connections there are, and how long a call waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolSettings {
    pub max_connections: u32,
    /// After this long without a free connection the call fails with [`StoreError::Unavailable`].
    pub acquire_timeout: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { max_connections: 10, acquire_timeout: Duration::from_secs(2) }
    }
}

/// Makes a pool and waits for its first connection.
pub async fn connect(url: &str, settings: PoolSettings) -> Result<Pool> {
    let options = PgConnectOptions::from_str(url)?.application_name("blindtune").options(SESSION);
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(settings.acquire_timeout)
        .connect_with(options)
        .await?;
    Ok(pool)
}

/// All rows as they are at one moment, for as long as this lives.
pub struct Moment {
    /// What another session reads the same rows by (`pg_export_snapshot`).
    pub snapshot: String,
    /// When it is.
    pub at: OffsetDateTime,
    /// Reads them too.
    pub transaction: Tx,
}

/// Holds on to this moment; longer than other transactions may.
pub async fn moment(pool: &Pool) -> Result<Moment> {
    let mut transaction = pool.begin_with("begin isolation level repeatable read read only").await?;
    sqlx::raw_sql("set local idle_in_transaction_session_timeout = 0; set local statement_timeout = 0")
        .execute(&mut *transaction)
        .await?;
    let moment = sqlx::query!(r#"select pg_export_snapshot() as "snapshot!", now() as "at!""#);
    let moment = moment.fetch_one(&mut *transaction).await?;
    Ok(Moment { snapshot: moment.snapshot, at: moment.at, transaction })
}

/// Whether the database has any table.
pub async fn has_tables(pool: &Pool) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (select 1 from pg_tables where schemaname not in ('pg_catalog', 'information_schema')) as "found!""#
    );
    Ok(found.fetch_one(pool).await?)
}

/// The server's version, `15.18 (Debian 15.18-0+deb12u1)` for example.
pub async fn server_version(pool: &Pool) -> Result<String> {
    let version = sqlx::query_scalar!(r#"select current_setting('server_version') as "version!""#);
    Ok(version.fetch_one(pool).await?)
}

/// Brings the schema up to this release. Several hosts may do so at once: an advisory lock lets one go first.
pub async fn migrate(pool: &Pool) -> Result<()> {
    // A connection of its own: waiting for another host's migration is not bounded by a session's time-outs.
    let mut conn = pool.acquire().await?.detach();
    sqlx::raw_sql("set statement_timeout = 0; set lock_timeout = 0; set idle_in_transaction_session_timeout = 0")
        .execute(&mut conn)
        .await?;
    let done = MIGRATIONS.run_direct(&mut conn).await.map_err(migration_error);
    conn.close().await?;
    done
}

fn migration_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) => error.into(),
        MigrateError::VersionMissing(version) | MigrateError::VersionMismatch(version) => {
            StoreError::OtherVersion { version }
        }
        other => StoreError::broken(other),
    }
}

/// Asks the database for a sign of life.
pub async fn ping(pool: &Pool) -> Result<()> {
    sqlx::query_scalar!(r#"select 1 as "one!""#).fetch_one(pool).await?;
    Ok(())
}

/// What time it is, by the clock that all hosts share: the database's. In a transaction that is when it began, as its rows have it.
pub async fn clock(conn: &mut Connection) -> Result<OffsetDateTime> {
    Ok(sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(conn).await?)
}

/// Opens the transaction of a use case.
///
/// In a task of its own: where sqlx 0.8 is dropped between `BEGIN` and the server's answer, it has counted no transaction and rolls none
/// back, and whoever gets the connection next would write into one that nobody commits. What is begun here for nobody is dropped whole.
pub async fn begin(pool: &Pool) -> Result<Tx> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await });
    Ok(begun.await.map_err(StoreError::broken)??)
}

/// Makes a transaction durable. Until this returns `Ok`, nothing may be acknowledged.
pub async fn commit(tx: Tx) -> Result<()> {
    Ok(tx.commit().await?)
}

/// Commits a transaction of four statements that changes no table and is flushed like any other: what a step call costs in the
/// database, for estimates. It writes four empty messages into the write-ahead log, about 300 bytes: a commit that wrote nothing
/// would not be flushed, and the flush is what a commit costs (docs/adr/0004).
pub async fn probe(pool: &Pool) -> Result<()> {
    let mut transaction = begin(pool).await?;
    for _ in 0..4 {
        sqlx::query!("select pg_logical_emit_message(true, 'blindtune', '')::text as place")
            .fetch_one(&mut *transaction)
            .await?;
    }
    commit(transaction).await
}
