//! What goes wrong around a job: hosts that are killed, stopped or doubled, a database that goes away. Afterwards the
//! adapters must be, bit for bit, those of a run that nothing disturbed.

mod client_custody;
mod crash_loop;
mod database;
mod driver;
mod host_custody;
mod idempotency;
mod memory;
mod shutdown;
mod streams;
mod two_hosts;
mod webhooks;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/desk.rs"]
mod desk;
#[path = "../support/host.rs"]
mod host;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/stream.rs"]
mod stream;
#[path = "../support/world.rs"]
mod world;

use std::time::Duration;

use host::Host;
use host::POLL;
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sqlx::Connection;
use sqlx::PgConnection;

/// Nothing that a test waits for takes longer.
const WITHIN: Duration = Duration::from_secs(60);

/// A seeded generator; `BLINDTUNE_TEST_SEED` repeats a run.
fn random(test: &str) -> StdRng {
    let given = std::env::var("BLINDTUNE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = given.unwrap_or_else(|| rand::rng().random());
    eprintln!("{test}: BLINDTUNE_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}

/// Lets time pass for the leases of a host that is gone.
async fn end_leases(database: &str) {
    let mut connection = PgConnection::connect(database).await.expect("connects");
    let end = "update jobs set lease_until = now() where lease_owner is not null";
    sqlx::raw_sql(end).execute(&mut connection).await.expect("ends");
    connection.close().await.expect("closes");
}

/// Kills the host and starts it again, as if its leases had ended meanwhile.
async fn crash(host: &mut Host) {
    host.kill9();
    end_leases(host.database()).await;
    host.restart().await;
}

/// Polls until `done` says so.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !done().await {
            tokio::time::sleep(POLL).await;
        }
    };
    assert!(tokio::time::timeout(WITHIN, polling).await.is_ok(), "waited in vain: {what}");
}
