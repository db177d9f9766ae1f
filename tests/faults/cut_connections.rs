//! Connections that end amid a body, on its way in or on its way out, after every tenth of it.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::OCTETS;
use crate::client::Tensors;
use crate::client::pack;
use crate::client_custody::host_and_client;
use crate::host::Host;
use crate::host::until;
use crate::world::Job;
use crate::world::inputs;
use crate::world::make_job;
use crate::world::shares_like;

const TENTHS: usize = 10;
const WITHIN: Duration = Duration::from_secs(30);

/// The bytes of a request.
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn post(job: &Job, path: &str, tensors: &Tensors) -> Self {
        let body = pack(tensors);
        let (path, key, length) = (job.path(path), job.client.key(), body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {key}\r\ncontent-type: {OCTETS}\r\naccept: {OCTETS}\r\n\
             content-length: {length}\r\n\r\n"
        );
        Self { head, body }
    }

    /// Sends so many bytes of the body, and is gone.
    async fn cut_on_the_way_in(&self, host: &Host, bytes: usize) {
        let mut socket = TcpStream::connect(host.address()).await.expect("connects");
        socket.write_all(self.head.as_bytes()).await.expect("sends");
        socket.write_all(&self.body[..bytes]).await.expect("sends");
    }

    /// Sends all, reads so many bytes of the answer, and is gone.
    async fn cut_on_the_way_out(&self, host: &Host, bytes: usize) {
        let mut socket = TcpStream::connect(host.address()).await.expect("connects");
        socket.write_all(self.head.as_bytes()).await.expect("sends");
        socket.write_all(&self.body).await.expect("sends");
        let mut answer = vec![0; bytes];
        let read = tokio::time::timeout(WITHIN, socket.read_exact(&mut answer)).await;
        read.expect("an answer in time").expect("at least as many bytes");
    }
}

/// Enough rows for bodies of some kilobytes each way.
fn rows() -> Tensors {
    let input: Vec<i64> = (0..30).map(|token| 4 + token).collect();
    inputs(&vec![&input[..]; 64])
}

#[tokio::test]
async fn what_is_cut_on_its_way_in_was_never_there() {
    let (host, client) = host_and_client(&[]).await;
    let mut job = make_job(&client, json!({})).await;
    let forward = Request::post(&job, "/forward?seq=1", &rows());
    for tenth in 0..TENTHS {
        forward.cut_on_the_way_in(&host, forward.body.len() * tenth / TENTHS).await;
        assert_eq!(job.next_seq().await, 1, "after {tenth} tenths");
    }
    let (id, activations) = job.forward_ok(&rows()).await;
    let shares = shares_like(&activations, 3);
    let backward = Request::post(&job, &format!("/backward?seq=2&forward_id={id}"), &shares);
    for tenth in 0..TENTHS {
        backward.cut_on_the_way_in(&host, backward.body.len() * tenth / TENTHS).await;
        assert_eq!(job.next_seq().await, 2, "after {tenth} tenths");
    }
    job.backward(&id, &shares).await.ok();
    let ledger: Vec<String> = job.ledger().await.iter().map(|entry| entry["kind"].to_string()).collect();
    assert_eq!(ledger, ["\"forward\"", "\"backward\""], "what came whole, and nothing else");
}

#[tokio::test]
async fn what_is_cut_on_its_way_out_is_done_once_and_is_answered_again() {
    let (host, client) = host_and_client(&[]).await;
    let mut reference = make_job(&client, json!({})).await;
    let (_, expected) = reference.forward_ok(&rows()).await;
    let whole = pack(&expected).len();
    for tenth in 0..TENTHS {
        let mut job = make_job(&client, json!({})).await;
        let forward = Request::post(&job, "/forward?seq=1", &rows());
        forward.cut_on_the_way_out(&host, (whole * tenth / TENTHS).max(1)).await;
        until("the step is recorded", async || job.next_seq().await == 2).await;
        let (_, again) = job.forward_ok(&rows()).await;
        assert!(again == expected, "after {tenth} tenths");
        assert_eq!((job.next_seq().await, job.ledger().await.len()), (2, 1), "it was done once");
        job.verb("cancel").await.ok();
    }
}
