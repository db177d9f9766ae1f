//! SIGTERM: the host is gone in time whatever sockets do, and nothing that it acknowledged is lost.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use crate::client_custody::host_and_client;
use crate::driver::ClientRun;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::host::until;

/// A header may take longer than the whole shutdown.
const SETTINGS: [(&str, &str); 2] =
    [("BLINDTUNE_SERVER__HEADER_TIMEOUT_SECS", "60"), ("BLINDTUNE_SERVER__SHUTDOWN_SECS", "5")];

#[tokio::test]
async fn a_shutdown_amid_steps_and_half_sent_requests_loses_nothing() {
    const STEPS: u64 = 40;
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let expected = ClientRun::new(&client, 3, STEPS, &Count::default()).await.run().await;
    let expected_host = HostRun::new(&client, 4, STEPS, &Count::default()).await.run().await.0;
    let mut half_sent = TcpStream::connect(host.address()).expect("connects");
    half_sent.write_all(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-").expect("sends");
    let done = Count::default();
    let run = tokio::spawn(ClientRun::new(&client, 3, STEPS, &done).await.run());
    let host_run = tokio::spawn(HostRun::new(&client, 4, STEPS, &done).await.run());
    until("progress", async || done.load(Ordering::SeqCst) >= STEPS / 2).await;
    host.signal("TERM");
    let status = host.ended(Duration::from_secs(25)).await;
    assert!(status.success(), "{status}:\n{}", host.log());
    drop(half_sent);
    assert!(done.load(Ordering::SeqCst) < 2 * STEPS, "the shutdown came too late to be amid steps");
    host.restart().await;
    assert!(run.await.expect("the run ends") == expected, "the adapters differ");
    let (theta, replays) = host_run.await.expect("the run ends");
    assert!(theta == expected_host, "the adapters differ");
    assert_eq!(replays, 0, "a shutdown in good order undoes no step");
}

#[tokio::test]
async fn an_idle_host_ends_at_once() {
    let (mut host, client) = host_and_client(&[]).await;
    client.get("/readyz").await.ok();
    let asked = Instant::now();
    host.signal("TERM");
    assert!(host.ended(Duration::from_secs(60)).await.success());
    // Held, it would take all of server.shutdown_secs, which is 25.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}: a kept-alive connection held it", asked.elapsed());
}
