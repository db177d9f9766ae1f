//! Sockets that say nothing, little, or something for ever: they take neither all places nor the time of those who behave.

use std::net::IpAddr;
use std::time::Duration;
use std::time::Instant;

use futures::future::join_all;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::host::Host;
use crate::host::until;

/// Looks at the neighbour's latency.
const LOOKS: usize = 300;
/// The bar for the neighbour's p99 on a machine that does nothing else (RELIABILITY.md, L6).
const BAR: Duration = Duration::from_millis(100);
/// On a busy one the quiet host is as slow: this many times its p99 is allowed.
const TIMES_QUIET: u32 = 5;

/// Calls from an address of its own: 127.0.0.2.
fn neighbour() -> reqwest::Client {
    let address: IpAddr = "127.0.0.2".parse().expect("an address");
    let builder = reqwest::Client::builder().local_address(address).timeout(Duration::from_secs(60));
    builder.build().expect("a client")
}

/// How many silent sockets; a fifth as many send half a head, and as many a slow body. L6 is `SIEGE_SOCKETS=1000`.
fn silent_sockets() -> usize {
    std::env::var("SIEGE_SOCKETS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

async fn open(host: &Host, said: &str) -> TcpStream {
    let mut socket = TcpStream::connect(host.address()).await.expect("connects");
    socket.write_all(said.as_bytes()).await.expect("sends");
    socket
}

/// Waits for the host to close the socket; gives what it said.
async fn closed(mut socket: TcpStream) -> String {
    let mut said = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut said)).await;
    assert!(read.is_ok(), "a slow socket was left open");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn silent_sockets_that_are_opened_again_and_again_leave_room_for_others() {
    let host = Host::start(&[
        ("BLINDTUNE_SERVER__MAX_CONNECTIONS", "64"),
        ("BLINDTUNE_SERVER__MAX_EVENT_STREAMS", "32"),
        ("BLINDTUNE_SERVER__CONNECTIONS_PER_ADDRESS", "32"),
        ("BLINDTUNE_SERVER__HEADER_TIMEOUT_SECS", "600"),
    ])
    .await;
    let (neighbour, url) = (neighbour(), format!("{}/healthz", host.base()));
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(open(&host, "").await);
    }
    let answer = neighbour.get(&url).send().await.expect("the neighbour is answered");
    assert_eq!(answer.status(), 200);
    let refused = closed(silent.pop().expect("some")).await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("too_many_connections"), "{refused}");
    assert!(refused.contains("server.connections_per_address"), "{refused}");
    drop(silent);
    until("the places to be given back", async || {
        let mut socket = open(&host, "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let mut said = Vec::new();
        socket.read_to_end(&mut said).await.is_ok() && said.starts_with(b"HTTP/1.1 200 ")
    })
    .await;
}

/// The slowest but a hundredth.
async fn p99(client: &reqwest::Client, url: &str) -> Duration {
    let mut took = Vec::new();
    for _ in 0..LOOKS {
        let asked = Instant::now();
        assert_eq!(client.get(url).send().await.expect("an answer").status(), 200);
        took.push(asked.elapsed());
    }
    took.sort_unstable();
    took[LOOKS - 1 - LOOKS / 100]
}

#[tokio::test]
async fn a_neighbour_of_slow_sockets_is_answered_as_soon_as_ever_and_they_are_closed() {
    let host = Host::start(&[
        ("BLINDTUNE_SERVER__HEADER_TIMEOUT_SECS", "5"),
        ("BLINDTUNE_SERVER__BODY_IDLE_TIMEOUT_SECS", "5"),
    ])
    .await;
    let key = host.key("slow", &[]).await;
    let (neighbour, url) = (neighbour(), format!("{}/healthz", host.base()));
    let quiet = p99(&neighbour, &url).await;
    let body = format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: 100000\r\n\r\n{{"
    );
    let mut slow = Vec::new();
    for number in 0..silent_sockets() {
        slow.push(open(&host, "").await);
        if number % 5 == 0 {
            slow.push(open(&host, "GET /healthz HTTP/1.1\r\nho").await);
            slow.push(open(&host, &body).await);
        }
    }
    let besieged = p99(&neighbour, &url).await;
    let closing = Instant::now();
    join_all(slow.into_iter().map(closed)).await;
    eprintln!(
        "p99 {quiet:?} before, {besieged:?} beside the slow sockets, which were closed in {:?}",
        closing.elapsed()
    );
    let after = p99(&neighbour, &url).await;
    let allowed = BAR.max(quiet.max(after) * TIMES_QUIET);
    assert!(besieged <= allowed, "p99 {besieged:?} beside slow sockets, {quiet:?} before and {after:?} after");
}
