//! Texts that are far longer than a model takes: what is read of them does not grow with them, and nobody else waits.

use std::time::Instant;

use serde_json::json;

use crate::client::Client;
use crate::host::Host;
use crate::world::MODEL;
use crate::world::add_tiny;
use crate::world::split_job;

/// Of a text.
const BYTES: usize = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_of_many_words_costs_what_the_model_takes_of_it() {
    let host = Host::start(&[]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    let short = json!({"model": MODEL, "input": "w5 ".repeat(500)});
    let refusal = client.post("/v1/embeddings", &short).await.refused(422, "invalid_input");
    let job = split_job(&client, json!({})).await;
    let cut = |text: &str| json!({"train": false, "base": true, "texts": [text]});
    let expected = client.post(&job.path("/forward"), &cut(&"w5 w6 ".repeat(200))).await.ok_json();
    let before = host.memory_kb("VmRSS");
    let begun = Instant::now();
    for unit in ["w5 ", "w5\n", "w5, "] {
        let long = json!({"model": MODEL, "input": unit.repeat(BYTES / unit.len())});
        let error = client.post("/v1/embeddings", &long).await.refused(422, "invalid_input");
        assert_eq!(error, refusal, "the true reason, in the same words");
    }
    let long = "w5 w6 ".repeat(BYTES / 6);
    let reply = client.post(&job.path("/forward"), &cut(&long)).await.ok_json();
    assert_eq!((&reply["activations"], &reply["tokens"]), (&expected["activations"], &expected["tokens"]));
    let grown = host.memory_kb("VmHWM").saturating_sub(before) * 1024;
    println!("{} MB in {:?}", grown >> 20, begun.elapsed());
    // The body itself, and the text of it; the tokens of all of it took 2.6 GB.
    assert!(grown < 12 * BYTES as u64, "{} MB for a text of {} MB", grown >> 20, BYTES >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_giant_word_is_refused_before_it_is_tokenized() {
    let host = Host::start(&[]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("mine", &[]).await));
    let job = split_job(&client, json!({})).await;
    let word = "w5".repeat(BYTES / 2);
    let before = host.memory_kb("VmRSS");
    let asked = [
        ("/v1/embeddings".to_owned(), "invalid_input", json!({"model": MODEL, "input": ["w5", word]})),
        (job.path("/forward"), "tensor_invalid", json!({"train": false, "base": true, "texts": ["w5", word]})),
    ];
    for (path, code, body) in asked {
        let error = client.post(&path, &body).await.refused(422, code);
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("cannot be cut before it is tokenized"), "{message}");
    }
    let grown = host.memory_kb("VmHWM").saturating_sub(before) * 1024;
    assert!(grown < 12 * BYTES as u64, "{} MB for a word of {} MB", grown >> 20, BYTES >> 20);
}
