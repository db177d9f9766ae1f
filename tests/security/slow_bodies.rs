//! Bodies that come a byte now and then: they cost their own project its places, and nobody else anything.

use std::time::Duration;
use std::time::Instant;

use futures::StreamExt;
use futures::future::join_all;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::client::JSON;
use crate::host::Host;

/// Between two bytes of a slow body: below any pause that a host would end.
const BETWEEN: Duration = Duration::from_millis(500);

/// Sends a head and then a space now and then until the host answers; gives the answer and what it took.
async fn trickle(address: &str, head: String) -> (String, Duration) {
    let begun = Instant::now();
    let (mut reader, mut writer) = TcpStream::connect(address).await.expect("connects").into_split();
    writer.write_all(head.as_bytes()).await.expect("sends");
    let sending = tokio::spawn(async move {
        while writer.write_all(b" ").await.is_ok() {
            tokio::time::sleep(BETWEEN).await;
        }
    });
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(60), reader.read(&mut answer)).await;
    sending.abort();
    let read = read.unwrap_or_else(|_| panic!("a slow body holds its place for a minute")).unwrap_or(0);
    (String::from_utf8_lossy(&answer[..read]).into_owned(), begun.elapsed())
}

fn head(path: &str, key: &str, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{more}content-length: \
         100000\r\n\r\n"
    )
}

async fn host() -> Host {
    Host::start(&[
        ("BLINDTUNE_SERVER__MAX_REQUESTS_IN_FLIGHT", "16"),
        ("BLINDTUNE_SERVER__BODY_IDLE_TIMEOUT_SECS", "4"),
        ("BLINDTUNE_SERVER__BODY_BYTES_PER_SEC", "100"),
    ])
    .await
}

#[tokio::test]
async fn slow_bodies_of_one_project_leave_places_for_others_and_are_ended() {
    let host = host().await;
    let slow = host.key("slow", &[]).await;
    let other = Client::new(&host.base(), Some(&host.key("other", &[]).await));
    let address = host.address();
    let named = |number: usize| format!("idempotency-key: {number}\r\n");
    let heads = (0..12).map(|number| match number % 2 {
        0 => head("/v1/fine_tuning/jobs", &slow, &named(number)),
        _ => head("/v1/embeddings", &slow, ""),
    });
    let slow_bodies = join_all(heads.map(|head| trickle(&address, head)));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        other.get("/v1/models").await.ok_json();
        let mine = Client::new(&host.base(), Some(&slow)).get("/v1/models").await;
        let error = mine.refused(429, "too_many_calls");
        assert!(!mine.header("retry-after").is_empty());
        assert!(error["message"].as_str().is_some_and(|text| text.contains("8 requests in flight")), "{error}");
    };
    let (answers, ()) = tokio::join!(slow_bodies, meanwhile);
    let of = |code: &str| answers.iter().filter(|(answer, _)| answer.contains(code)).count();
    assert_eq!((of("too_many_calls"), of("body_timeout")), (4, 8), "{answers:#?}");
    let longest = answers.iter().map(|(_, took)| *took).max().expect("some");
    assert!(longest < Duration::from_secs(30), "ended after {longest:?}, 4 s are the bound");
    Client::new(&host.base(), Some(&slow)).get("/v1/models").await.ok_json();
}

#[tokio::test]
async fn nothing_of_a_body_is_read_for_a_key_that_may_not_send_it() {
    let host = host().await;
    let reader = host.key("reader", &["--scopes", "jobs:read"]).await;
    for (path, more) in [
        ("/v1/fine_tuning/jobs", "idempotency-key: a\r\n"),
        ("/v1/fine_tuning/jobs", "x-stainless-retry-count: 0\r\n"),
        ("/v1/embeddings", ""),
    ] {
        let (answer, took) = trickle(&host.address(), head(path, &reader, more)).await;
        assert!(answer.contains("missing_scope"), "{path}: {answer}");
        assert!(took < Duration::from_secs(4), "{path}: answered after {took:?}, as if the body had been waited for");
    }
    let (answer, _) = trickle(&host.address(), head("/v1/fine_tuning/jobs", "none", "idempotency-key: b\r\n")).await;
    assert!(answer.contains("invalid_api_key"), "{answer}");
}

/// Slow lines are no crime: what keeps the pace is taken, however long it takes.
#[tokio::test]
async fn a_body_that_keeps_the_pace_is_taken() {
    let host = host().await;
    let chunks = futures::stream::iter(0..12).then(|number| async move {
        tokio::time::sleep(BETWEEN).await;
        std::io::Result::Ok(if number == 11 { b"{}".to_vec() } else { vec![b' '; 500] })
    });
    let url = format!("{}/v1/fine_tuning/jobs", host.base());
    let request = reqwest::Client::new().post(url).header("content-type", JSON);
    let key = host.key("mine", &[]).await;
    let request = request.bearer_auth(key).body(reqwest::Body::wrap_stream(chunks));
    let reply = request.send().await.expect("an answer");
    assert_eq!(reply.status(), 400, "read to its end, and refused for what is in it");
}
