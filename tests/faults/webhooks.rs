//! Webhooks to a receiver that checks signatures by itself, answers badly, hangs or is gone, and a host that is killed.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;
use sqlx::Connection;
use tokio::net::TcpListener;

use crate::batch::EMBEDDINGS;
use crate::batch::batch_of;
use crate::batch::completed;
use crate::batch::ended;
use crate::batch::lines;
use crate::client::Client;
use crate::client_custody::host_and_client;
use crate::features::features_job;
use crate::features::jsonl;
use crate::host::until;
use crate::world::id;
use crate::world::split_job;

const PATH: &str = "/v1/webhooks";
const OPEN: [(&str, &str); 3] = [
    ("BLINDTUNE_WEBHOOKS__ALLOW_PRIVATE", "true"),
    ("BLINDTUNE_WEBHOOKS__BACKOFF_SECS", "[1, 1]"),
    ("BLINDTUNE_WEBHOOKS__TIMEOUT_SECS", "2"),
];

#[derive(Clone)]
struct Got {
    id: String,
    timestamp: String,
    signature: String,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// HMAC-SHA256 by its definition (RFC 2104), and not by the crate that the host uses.
    fn signed_with(&self, secret: &str) -> String {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a prefix")).expect("base64");
        let pad = |byte: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ byte).collect() };
        let hash =
            |parts: [&[u8]; 2]| parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize();
        let text = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        let mac = hash([&pad(0x5c), &hash([&pad(0x36), text.as_bytes()])]);
        format!("v1,{}", STANDARD.encode(mac))
    }

    fn is_signed_with(&self, secret: &str) -> bool {
        self.signature == self.signed_with(secret)
    }
}

/// Answers with the given statuses in turn, then 204; 0 hangs.
#[derive(Clone)]
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        let receiver = Self { url, got: Arc::default() };
        let (got, answers) = (Arc::clone(&receiver.got), Arc::new(Mutex::new(VecDeque::from(answers.to_vec()))));
        let take = move |headers: HeaderMap, body: Bytes| {
            let header =
                |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            got.lock().expect("lock").push(Got {
                id: header("webhook-id"),
                timestamp: header("webhook-timestamp"),
                signature: header("webhook-signature"),
                body: String::from_utf8(body.to_vec()).expect("UTF-8"),
            });
            let status = answers.lock().expect("lock").pop_front().unwrap_or(204);
            async move {
                if status == 0 {
                    std::future::pending::<()>().await;
                }
                (StatusCode::from_u16(status).expect("a status"), [("location", "/elsewhere")])
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(axum::routing::any(take))).await });
        receiver
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().expect("lock").clone()
    }

    async fn has(&self, count: usize) -> Vec<Got> {
        until("messages", async || self.got().len() >= count).await;
        self.got()
    }
}

struct Hook {
    client: Client,
    path: String,
    secret: String,
}

impl Hook {
    async fn new(client: &Client, url: &str, events: &[&str]) -> Self {
        let made = client.post(PATH, &json!({"url": url, "events": events})).await.ok_json();
        let secret = made["secret"].as_str().expect("a secret").to_owned();
        Self { client: client.clone(), path: format!("{PATH}/{}", id(&made)), secret }
    }

    async fn deliveries(&self) -> Vec<Value> {
        let list = self.client.get(&format!("{}/deliveries", self.path)).await.ok_json();
        list["data"].as_array().expect("a list").clone()
    }

    /// Waits until the newest message stands so, and gives it.
    async fn newest(&self, state: &str) -> Value {
        until(state, async || self.deliveries().await.first().is_some_and(|newest| newest["state"] == state)).await;
        self.deliveries().await.swap_remove(0)
    }

    async fn test(&self) -> Value {
        self.client.verb(&format!("{}/test", self.path)).await.ok_json()
    }
}

#[tokio::test]
async fn a_jobs_life_is_told_in_signed_messages() {
    let (_host, client) = host_and_client(&OPEN).await;
    let (all, some) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let hook = Hook::new(
        &client,
        &all.url,
        &[
            "fine_tuning.job.running",
            "fine_tuning.job.paused",
            "fine_tuning.job.succeeded",
            "fine_tuning.checkpoint.created",
        ],
    )
    .await;
    Hook::new(&client, &some.url, &["fine_tuning.job.succeeded"]).await;
    let mut job = split_job(&client, json!({"custody": "host"})).await;
    job.step_ok().await;
    let checkpoint = id(&client.verb(&job.path("/checkpoints")).await.ok_json());
    job.verb("pause").await.ok();
    job.verb("resume").await.ok();
    job.verb("complete").await.ok();
    // Running, checkpoint, paused, running, the checkpoint of completion, succeeded.
    let told = all.has(6).await;
    let mut kinds: HashMap<String, usize> = HashMap::new();
    for message in &told {
        assert!(message.is_signed_with(&hook.secret), "{}", message.body);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
        assert!(now.abs_diff(message.timestamp.parse().expect("seconds")) < 60);
        let body = message.json();
        assert_eq!((&body["object"], &body["data"]["id"]), (&json!("event"), &json!(job.id)));
        assert!(body["id"].as_str().is_some_and(|id| id.starts_with("evt_")) && message.id.starts_with("msg_"));
        *kinds.entry(body["type"].as_str().expect("a type").to_owned()).or_default() += 1;
    }
    let told_of = |kind: &str| kinds.get(kind).copied().unwrap_or_default();
    assert_eq!(told_of("fine_tuning.job.running"), 2, "{kinds:?}");
    assert_eq!((told_of("fine_tuning.job.paused"), told_of("fine_tuning.job.succeeded")), (1, 1), "{kinds:?}");
    assert!(told.iter().any(|message| message.json()["data"]["checkpoint"] == json!(checkpoint)), "{kinds:?}");
    assert_eq!(some.has(1).await[0].json()["type"], "fine_tuning.job.succeeded");
    hook.newest("delivered").await;
    assert_eq!((all.got().len(), some.got().len()), (6, 1), "each once");
}

#[tokio::test]
async fn a_features_job_tells_that_it_runs_and_how_it_ended() {
    let (_host, client) = host_and_client(&OPEN).await;
    let receiver = Receiver::start(&[]).await;
    Hook::new(&client, &receiver.url, &["fine_tuning.job.running", "fine_tuning.job.succeeded"]).await;
    let file = id(&client.upload("rows.jsonl", jsonl(10)).await.ok_json());
    let job = features_job(&client, &file, &json!({"tokens": "cls"})).await;
    let mut kinds: Vec<_> = receiver.has(2).await.iter().map(|told| told.json()["type"].clone()).collect();
    kinds.sort_by_key(ToString::to_string);
    assert_eq!(kinds, ["fine_tuning.job.running", "fine_tuning.job.succeeded"]);
    assert!(receiver.got().iter().all(|told| told.json()["data"]["id"] == json!(job.id)));
}

#[tokio::test]
async fn a_failed_attempt_is_made_again_and_a_message_can_be_replayed() {
    let (_host, client) = host_and_client(&OPEN).await;
    let receiver = Receiver::start(&[500, 302]).await;
    let hook = Hook::new(&client, &receiver.url, &["webhook.test"]).await;
    let sent = hook.test().await;
    assert_eq!((&sent["state"], &sent["type"]), (&json!("pending"), &json!("webhook.test")));
    let done = hook.newest("delivered").await;
    assert_eq!((&done["attempts"], &done["last_status"], &done["id"]), (&json!(3), &json!(204), &sent["id"]));
    let got = receiver.got();
    assert_eq!(got.len(), 3, "a redirect is not followed");
    for message in &got {
        assert_eq!((&json!(message.id), &message.body), (&sent["id"], &got[0].body), "the same over all attempts");
        assert!(message.is_signed_with(&hook.secret));
    }
    let path = format!("{}/deliveries/{}/replay", hook.path, id(&sent));
    let replayed = client.verb(&path).await.ok_json();
    assert_eq!((&replayed["state"], &replayed["attempts"]), (&json!("pending"), &json!(0)));
    let again = receiver.has(4).await;
    assert_eq!((&again[3].id, &again[3].body), (&got[0].id, &got[0].body));
    hook.newest("delivered").await;
}

#[tokio::test]
async fn attempts_end_and_a_receiver_that_is_gone_turns_its_webhook_off() {
    let (_host, client) = host_and_client(&OPEN).await;
    let broken = Receiver::start(&[0, 500, 503]).await;
    let hook = Hook::new(&client, &broken.url, &["webhook.test"]).await;
    hook.test().await;
    let quick = Receiver::start(&[]).await;
    let other = Hook::new(&client, &quick.url, &["webhook.test"]).await;
    broken.has(1).await;
    other.test().await;
    other.newest("delivered").await;
    assert_eq!(broken.got().len(), 1, "who hangs holds nobody up");
    let failed = hook.newest("failed").await;
    assert_eq!((&failed["attempts"], &failed["last_status"]), (&json!(3), &json!(503)));
    assert!(failed["next_attempt_at"].is_null() && failed["last_error"].is_string(), "{failed}");

    let gone = Receiver::start(&[410]).await;
    let hook = Hook::new(&client, &gone.url, &["webhook.test", "fine_tuning.job.running"]).await;
    hook.test().await;
    let failed = hook.newest("failed").await;
    assert_eq!((&failed["attempts"], &failed["last_status"]), (&json!(1), &json!(410)));
    assert_eq!(client.get(&hook.path).await.ok_json()["enabled"], false);
    split_job(&client, json!({})).await;
    assert_eq!(hook.deliveries().await.len(), 1, "nothing is written for a webhook that is off");
}

#[tokio::test]
async fn one_projects_hanging_receivers_hold_up_nobody_elses_messages() {
    const HANG: Duration = Duration::from_secs(30);
    let (host, tenant) = host_and_client(&[OPEN[0], ("BLINDTUNE_WEBHOOKS__TIMEOUT_SECS", "30")]).await;
    let hanging = Receiver::start(&[0; 200]).await;
    for _ in 0..20 {
        let hook = Hook::new(&tenant, &hanging.url, &["webhook.test"]).await;
        for _ in 0..4 {
            hook.test().await;
        }
    }
    hanging.has(20).await;
    let neighbour = tenant.with_key(Some(&host.key("neighbour", &[]).await));
    let quick = Receiver::start(&[]).await;
    let hook = Hook::new(&neighbour, &quick.url, &["webhook.test"]).await;
    let mut slowest = Duration::ZERO;
    for count in 1..=20 {
        let begun = Instant::now();
        hook.test().await;
        quick.has(count).await;
        slowest = slowest.max(begun.elapsed());
        assert!(slowest < HANG / 6, "message {count} waited {slowest:?}");
    }
    eprintln!("the slowest of 20 messages arrived after {slowest:?}");
    let before = hanging.got().len();
    assert!(before < 80, "{before}: a project has a share of the attempts, and not all of them");
}

#[tokio::test]
async fn a_message_outlives_the_host_that_wrote_it_and_the_one_that_was_sending_it() {
    let (mut host, client) = host_and_client(&OPEN).await;
    let receiver = Receiver::start(&[0]).await;
    let hook = Hook::new(&client, &receiver.url, &["fine_tuning.job.running"]).await;
    let job = split_job(&client, json!({})).await;
    receiver.has(1).await;
    host.kill9();
    assert_eq!(receiver.got().len(), 1);
    host.restart().await;
    let hook = Hook { client: client.at(&host.base()), ..hook };
    let done = hook.newest("delivered").await;
    let got = receiver.got();
    assert_eq!((got.len(), &got[1].id, &got[1].body), (2, &got[0].id, &got[0].body), "{done}");
    assert_eq!(got[1].json()["data"]["id"], json!(job.id));
}

#[tokio::test]
async fn hosts_that_share_a_database_share_the_outbox() {
    const MESSAGES: usize = 40;
    let (first, client) = host_and_client(&OPEN).await;
    let _second = first.start_beside(&OPEN).await;
    let receiver = Receiver::start(&[]).await;
    let hook = Hook::new(&client, &receiver.url, &["webhook.test"]).await;
    for _ in 0..MESSAGES {
        hook.test().await;
    }
    let all = async || hook.client.get(&format!("{}/deliveries?limit=100", hook.path)).await.ok_json();
    until("all delivered", async || {
        all().await["data"].as_array().is_some_and(|rows| rows.iter().all(|row| row["state"] == "delivered"))
    })
    .await;
    let mut ids: Vec<String> = receiver.got().into_iter().map(|message| message.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), receiver.got().len()), (MESSAGES, MESSAGES), "each once");
}

#[tokio::test]
async fn the_end_of_a_batch_is_told() {
    let (_host, client) = host_and_client(&OPEN).await;
    let receiver = Receiver::start(&[]).await;
    let events = ["batch.completed", "batch.failed", "batch.cancelled", "batch.expired"];
    let hook = Hook::new(&client, &receiver.url, &events).await;
    let good = batch_of(&client, EMBEDDINGS, &lines(3)).await;
    completed(&client, &good).await;
    let bad = batch_of(&client, EMBEDDINGS, &[lines(1), lines(1)].concat()).await;
    assert_eq!(ended(&client, &bad).await["status"], "failed");
    let given_up = batch_of(&client, EMBEDDINGS, &lines(3000)).await;
    client.verb(&format!("/v1/batches/{given_up}/cancel")).await.ok();
    assert_eq!(ended(&client, &given_up).await["status"], "cancelled");
    let mut told = Vec::new();
    for message in receiver.has(3).await {
        assert!(message.is_signed_with(&hook.secret));
        let event = message.json();
        assert_eq!(event["object"], "event");
        told.push((event["type"].as_str().expect("a type").to_owned(), id(&event["data"])));
    }
    told.sort();
    let expected = [("batch.cancelled", given_up), ("batch.completed", good), ("batch.failed", bad)];
    assert_eq!(told, expected.map(|(event, batch)| (event.to_owned(), batch)));
}

#[tokio::test]
async fn a_secret_that_is_replaced_signs_beside_the_new_one_for_a_while() {
    let (host, client) = host_and_client(&OPEN).await;
    let receiver = Receiver::start(&[]).await;
    let made = client.post(PATH, &json!({"url": receiver.url})).await.ok_json();
    let secret = |webhook: &Value| webhook["secret"].as_str().expect("a secret").to_owned();
    let (path, old) = (format!("{PATH}/{}", id(&made)), secret(&made));
    let rotated = client.verb(&format!("{path}/rotate_secret")).await.ok_json();
    let new = secret(&rotated);
    assert!(new != old && rotated["id"] == made["id"]);
    assert!(client.get(&path).await.ok_json().get("secret").is_none(), "it is shown once");

    client.verb(&format!("{path}/test")).await.ok();
    let got = receiver.has(1).await;
    assert_eq!(got[0].signature, format!("{} {}", got[0].signed_with(&new), got[0].signed_with(&old)));

    let mut connection = sqlx::PgConnection::connect(host.database()).await.expect("connects");
    let over = "update webhooks set previous_until = now()";
    sqlx::raw_sql(over).execute(&mut connection).await.expect("ends");
    client.verb(&format!("{path}/test")).await.ok();
    assert!(receiver.has(2).await[1].is_signed_with(&new), "the old secret signs no more");
    client.verb(&format!("{PATH}/wh_{}/rotate_secret", uuid::Uuid::now_v7().simple())).await.refused(404, "not_found");
}
