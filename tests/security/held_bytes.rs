//! What a host holds for others between their calls has a budget in bytes, by job, project and host: a loop of steps, many jobs and
//! readers that do not read come up against it, each with a clear answer, and cost nobody else anything.

use std::time::Duration;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::client::Tensors;
use crate::client::pack;
use crate::host::Host;
use crate::host::until;
use crate::world::Job;
use crate::world::MODEL;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::shares_like;
use crate::world::split_job;

const MB: u64 = 1 << 20;

/// The largest adapters that the tiny backbone takes: 2.4 MB a set.
fn large(sets: usize) -> Value {
    json!({"adapter_sets": sets, "lora": {"rank": 1024, "target_modules": ["all-linear"]}})
}

async fn host(settings: &[(&str, &str)]) -> (Host, Client) {
    let host = Host::start(settings).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    (host, client)
}

/// Eight shares a set: an answer of 38 MB for two sets.
fn many_shares(activations: &Tensors, seed: u64) -> Tensors {
    let numbered = |number: u64| {
        let shares = shares_like(activations, seed * 8 + number);
        let named = move |name: String| format!("{}.{number}", name.strip_suffix(".0").expect("the first share"));
        shares.into_iter().map(move |(name, tensor)| (named(name), tensor))
    };
    (0..8).flat_map(numbered).collect()
}

fn backward_path(job: &Job, seq: u64, forward: &str) -> String {
    job.path(&format!("/backward?seq={seq}&forward_id={forward}"))
}

#[tokio::test]
async fn a_job_in_a_loop_holds_no_more_than_its_budget() {
    const TURNS: u64 = 16;
    let (host, client) = host(&[("BLINDTUNE_LIMITS__HELD_BYTES_PER_JOB", "167772160")]).await;
    let mut job = split_job(&client, large(2)).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    let first = job.backward(&forward, &many_shares(&activations, 1)).await.ok();
    assert!(first.body.len() as u64 > 35 * MB, "{} bytes", first.body.len());
    let before = host.memory_kb("VmRSS") << 10;
    let mut newest = None;
    for turn in 2..=TURNS {
        newest = Some(job.backward(&forward, &many_shares(&activations, turn)).await.ok());
    }
    let grown = (host.memory_kb("VmRSS") << 10).saturating_sub(before);
    assert!(grown < 300 * MB, "{} MB more for a job that may hold 160 MB", grown / MB);

    // The newest answer is kept; the first made room, and is computed again to the bit.
    let again = client.post_tensors(&backward_path(&job, TURNS + 1, &forward), &many_shares(&activations, TURNS)).await;
    assert!(again.ok().body == newest.expect("some").body, "the newest answer again");
    let again = client.post_tensors(&backward_path(&job, 2, &forward), &many_shares(&activations, 1)).await.ok();
    assert!(again.body == first.body, "the first answer again");
    assert_eq!(job.next_seq().await, TURNS + 2);
}

#[tokio::test]
async fn an_answer_that_made_room_is_never_another() {
    let (_host, client) = host(&[("BLINDTUNE_LIMITS__HELD_BYTES_PER_JOB", "167772160")]).await;
    let mut job = split_job(&client, large(2)).await;
    let first = job.forward(&batch()).await.ok();
    let (forward, activations) = (first.scalars()["forward_id"].clone(), first.tensors());
    for turn in 1..=2 {
        job.backward(&forward, &many_shares(&activations, turn)).await.ok();
    }
    let path = job.path("/forward?seq=1");
    assert!(client.post_tensors(&path, &batch()).await.ok().body == first.body, "computed again");
    job.backward(&forward, &many_shares(&activations, 3)).await.ok();
    job.backward(&forward, &many_shares(&activations, 4)).await.ok();
    let theta = Tensors::from([("theta.0".to_owned(), job.theta(1).await)]);
    client.put_tensors(&job.path("/adapters/0"), &theta).await.ok();
    client.post_tensors(&path, &batch()).await.refused(409, "answer_expired");
}

#[tokio::test]
async fn adapters_that_do_not_fit_are_refused_before_they_are_loaded() {
    let settings = [
        ("BLINDTUNE_LIMITS__HELD_BYTES_PER_JOB", "41943040"),
        ("BLINDTUNE_LIMITS__HELD_BYTES_PER_PROJECT", "41943040"),
    ];
    let (host, client) = host(&settings).await;
    let mut too_large = split_job(&client, large(8)).await;
    let error = too_large.forward(&batch()).await.refused(413, "too_large");
    let says = |error: &Value, text: &str| error["message"].as_str().is_some_and(|message| message.contains(text));
    assert!(says(&error, "limits.held_bytes_per_job") && says(&error, "fewer adapter sets"), "{error}");

    let mut first = split_job(&client, large(2)).await;
    first.forward_ok(&batch()).await;
    let mut second = split_job(&client, json!({"custody": "host", "adapter_sets": 1, "lora": large(1)["lora"]})).await;
    let reply = second.forward(&batch()).await;
    let error = reply.refused(429, "too_much_held");
    assert!(says(&error, "limits.held_bytes_per_project"), "{error}");
    assert!(!reply.header("retry-after").is_empty());
    let other = Client::new(&host.base(), Some(&host.key("other", &[]).await));
    split_job(&other, large(2)).await.forward_ok(&batch()).await;

    first.forward_ok(&batch()).await;
    first.verb("pause").await.ok();
    second.forward_ok(&batch()).await;
}

/// Sends a call by hand, and reads nothing of its answer.
async fn call_without_reading(host: &Host, client: &Client, path: &str, tensors: &Tensors) -> TcpStream {
    let body = pack(tensors);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/octet-stream\r\n\
         accept: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        client.key(),
        body.len()
    );
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("is taken"); // the system would read tens of megabytes for us
    let mut stream = socket.connect(host.address().parse().expect("an address")).await.expect("connects");
    stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("sends");
    stream
}

#[tokio::test]
async fn an_answer_that_nobody_reads_counts_until_its_connection_is_ended() {
    let settings =
        [("BLINDTUNE_LIMITS__HELD_BYTES_PER_JOB", "150994944"), ("BLINDTUNE_SERVER__WRITE_TIMEOUT_SECS", "3")];
    let (host, client) = host(&settings).await;
    let mut job = split_job(&client, large(2)).await;
    let (forward, activations) = job.forward_ok(&batch()).await;
    let path = backward_path(&job, job.seq, &forward);
    let mut unread = call_without_reading(&host, &client, &path, &many_shares(&activations, 1)).await;
    until("the step is done", async || job.next_seq().await == 3).await;
    job.seq = 3;
    let shares = many_shares(&activations, 2);
    let begun = Instant::now();
    job.backward(&forward, &shares).await.refused(429, "too_much_held");
    until("the bytes are given back", async || job.backward(&forward, &shares).await.status == 200).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "after {:?}, 3 s are the bound", begun.elapsed());
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), unread.read_to_end(&mut rest)).await;
    read.expect("the connection is ended").ok(); // by a reset, or by its end
    assert!((rest.len() as u64) < 30 * MB, "{} bytes of a connection that was ended", rest.len());
}

#[tokio::test]
async fn capabilities_and_estimate_name_the_budget() {
    let (_host, client) = host(&[("BLINDTUNE_LIMITS__HELD_BYTES_PER_JOB", "67108864")]).await;
    let limits = client.get("/v1/fine_tuning/capabilities").await.ok_json()["limits"].clone();
    assert_eq!(limits["held_bytes_per_job"], 67_108_864);
    assert!(limits["held_bytes_per_project"].is_u64() && limits["held_bytes"].is_u64(), "{limits}");
    let estimate = async |split: Value| {
        let method = json!({"type": "split", "split": split});
        let body = json!({"model": MODEL, "rows": 64, "tokens_per_row": 5, "batch_size": 8, "method": method});
        client.post("/v1/fine_tuning/estimate", &body).await
    };
    let held = async |split: Value| estimate(split).await.ok_json()["held_bytes"].as_u64().expect("a number");
    let (client_held, host_held) = (held(json!({})).await, held(json!({"custody": "host"})).await);
    let values = 2 * 4 * 1024; // two sets of rank 8 on four linear layers of 16 by 16
    assert!(client_held > 11 * values && client_held < 67_108_864, "{client_held}");
    assert!(host_held > 17 * values && host_held < 67_108_864, "{host_held}");
    estimate(large(8)).await.refused(413, "too_large");
}
