//! What lies between a host and its Postgres goes wrong while jobs step.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng;

use crate::client::Client;
use crate::driver::ClientRun;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::host::Host;
use crate::host::until;
use crate::postgres;
use crate::proxy::Proxy;
use crate::proxy::Weather;
use crate::random::random;
use crate::world::add_tiny;

/// Leases that end in a hole of ten seconds, and crashes that are none: the host stays.
const SETTINGS: [(&str, &str); 2] =
    [("BLINDTUNE_JOBS__LEASE_SECS", "3"), ("BLINDTUNE_JOBS__MAX_BARREN_ATTEMPTS", "1000")];

/// A host behind a network of its own.
async fn host_behind_a_network() -> (Host, Client, Proxy) {
    let database = postgres::database().await;
    database.pool.close().await;
    let proxy = Proxy::before(&database.url);
    let host = Host::start_on(&proxy.url(&database.url), &SETTINGS).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("acme", &[]).await));
    (host, client, proxy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_network_to_postgres_does_the_adapters_are_those_of_a_calm_run() {
    const STEPS: u64 = 30;
    let mut random = random("network");
    let (host, client, proxy) = host_behind_a_network().await;
    let (first, second) = (random.random(), random.random());
    let calm = ClientRun::new(&client, first, STEPS, &Count::default()).await.run().await;
    let calm_host = HostRun::new(&client, second, STEPS, &Count::default()).await.run().await.0;

    let done = Count::default();
    let run = tokio::spawn(ClientRun::new(&client, first, STEPS, &done).await.run());
    let host_run = tokio::spawn(HostRun::new(&client, second, STEPS, &done).await.run());
    let spells = [
        (Weather::Resets, Duration::from_millis(500)),
        (Weather::Slices, Duration::from_secs(2)),
        (Weather::Slow(Duration::from_millis(100)), Duration::from_secs(3)),
        (Weather::BlackHole, Duration::from_secs(1)),
        (Weather::BlackHole, Duration::from_secs(10)),
    ];
    for (spell, (weather, time)) in spells.into_iter().enumerate() {
        let at = 2 * STEPS * (spell as u64 + 1) / (spells.len() as u64 + 1);
        until("progress", async || done.load(Ordering::SeqCst) >= at).await;
        proxy.set(weather);
        tokio::time::sleep(time).await; // how long it lasts
        proxy.set(Weather::Fair);
    }
    assert!(run.await.expect("the run ends") == calm, "client custody: the adapters differ");
    assert!(host_run.await.expect("the run ends").0 == calm_host, "host custody: the adapters differ");
    drop(host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_is_answered_with_when_to_try_again_while_it_is_there() {
    let (_host, client, proxy) = host_behind_a_network().await;
    client.get("/v1/files").await.ok();
    proxy.set(Weather::BlackHole);
    let reply = client.get("/v1/files").await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(!reply.header("retry-after").is_empty());
    proxy.set(Weather::Fair);
    until("it goes on", async || client.get("/v1/files").await.status == 200).await;
}
