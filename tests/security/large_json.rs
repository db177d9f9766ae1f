//! Large JSON bodies that are cut up as finely as JSON allows: they take little more memory than they have bytes, and nobody else waits
//! for them.

use std::time::Duration;
use std::time::Instant;

use futures::future::join_all;
use serde_json::json;

use crate::client::Client;
use crate::client::JSON;
use crate::host::Host;
use crate::host::POLL;
use crate::world::MODEL;
use crate::world::add_tiny;
use crate::world::split_job;

/// Of a body.
const BYTES: usize = 12 << 20;

/// A list of one element over and over.
fn list(element: &str) -> String {
    let most = BYTES / (element.len() + 1);
    format!("[{}]", vec![element; most].join(","))
}

fn inputs(input: &str) -> String {
    format!("{{\"model\":\"{MODEL}\",\"input\":{input}}}")
}

struct Case {
    path: String,
    body: String,
    expected: (u16, &'static str),
}

fn cases(job: &str) -> Vec<Case> {
    let embeddings = |body, status, code| Case { path: "/v1/embeddings".into(), body, expected: (status, code) };
    let activations = |body, status, code| Case { path: "/v1/activations".into(), body, expected: (status, code) };
    let forward = |field: &str, element: &str| Case {
        path: job.to_owned(),
        body: format!("{{\"train\":false,\"{field}\":{}}}", list(element)),
        expected: (413, "too_large"),
    };
    let adapters = format!("{{\"model\":\"{MODEL}\",\"input\":\"w5\",\"adapters\":{}}}", list("0"));
    vec![
        embeddings(inputs(&list("[1]")), 400, "too_many_inputs"),
        embeddings(inputs(&list("[]")), 400, "too_many_inputs"),
        embeddings(inputs(&list("1")), 422, "invalid_input"),
        embeddings(inputs(&list("1.0")), 422, "invalid_input"),
        embeddings(inputs(&list("\"\"")), 400, "too_many_inputs"),
        embeddings(inputs(&list("[[1]]")), 400, "invalid_json"),
        embeddings(inputs(&format!("[{},\"\\u0000\"]", list("[1]"))), 400, "invalid_text"),
        activations(adapters, 400, "invalid_adapters"),
        forward("input_ids", "[1]"),
        forward("texts", "\"\""),
        forward("texts", "[\"\",\"\"]"),
    ]
}

/// Asks after the host's health until `over` is, and gives the longest answer.
async fn longest_probe(probe: &Client, over: &tokio::sync::Notify) -> Duration {
    let mut longest = Duration::ZERO;
    let asking = async {
        loop {
            let begun = Instant::now();
            assert_eq!(probe.get("/healthz").await.status, 200);
            longest = longest.max(begun.elapsed());
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = over.notified() => {}
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finely_cut_bodies_take_little_memory_and_nobody_waits_for_them() {
    let host = Host::start(&[]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    client.post("/v1/embeddings", &json!({"model": MODEL, "input": "w5"})).await.ok_json();
    let job = split_job(&client, json!({})).await;
    for Case { path, body, expected: (status, code) } in cases(&job.path("/forward")) {
        let (before, start) = (host.memory_kb("VmRSS"), body[..60].to_owned());
        client.call(reqwest::Method::POST, &path).body(JSON, body.into_bytes()).send().await.refused(status, code);
        let grown = host.memory_kb("VmHWM").saturating_sub(before) * 1024;
        println!("{path} {start}: {} MB", grown >> 20);
        assert!(grown < 10 * BYTES as u64, "{start}: {} MB for a body of {} MB", grown >> 20, BYTES >> 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_host_answers_others_while_it_reads_large_bodies() {
    let host = Host::start(&[]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    let body = inputs(&list("[1]")).into_bytes();
    let over = tokio::sync::Notify::new();
    let probe = Client::new(&host.base(), None);
    let reading = async {
        let begun = Instant::now();
        let call = || client.call(reqwest::Method::POST, "/v1/embeddings").body(JSON, body.clone()).send();
        for reply in join_all((0..4).map(|_| call())).await {
            reply.refused(400, "too_many_inputs");
        }
        over.notify_one();
        begun.elapsed()
    };
    let (took, longest) = tokio::join!(reading, longest_probe(&probe, &over));
    println!("the bodies took {took:?}, the longest look at the host's health {longest:?}");
    assert!(longest < took / 3, "/healthz took {longest:?} of the {took:?} in which four bodies were read");
}
