//! Ten times what a host can do, in an open loop: whom it serves it serves well, the others are told at once and when to come again, and
//! when it is over everything is as before.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::Client;
use crate::client::Reply;
use crate::fair::BACKBONE;
use crate::figures::Times;
use crate::host::Host;

/// Requests begin in steps of this long.
const TICK: Duration = Duration::from_millis(20);
/// Enough callers to keep the device busy.
const CALLERS: usize = 8;

/// What came of it.
pub struct Overload {
    /// Answers a second to callers that wait for each.
    pub capacity: f64,
    /// Requests that were made.
    pub due: usize,
    /// Times of calls that were served, one caller alone.
    pub quiet: Times,
    /// Of those that were served amid the overload.
    pub served: Times,
    /// Of those that were refused.
    pub refused: Times,
    /// Answers by status and code.
    pub answers: BTreeMap<String, usize>,
    /// Refusals that do not say when to come again.
    pub mute: usize,
    /// Answers that differ from the one that a caller alone gets.
    pub wrong: usize,
    /// The first answer afterwards.
    pub after: Duration,
    /// By how many kB the host's memory grew.
    pub grown_kb: u64,
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "capacity {:.0}/s; {} requests at ten times that: {:?}", self.capacity, self.due, self.answers)?;
        writeln!(f, "quiet:   {}\nserved:  {}\nrefused: {}", self.quiet, self.served, self.refused)?;
        write!(f, "first answer afterwards after {:?}; memory grew by {} kB", self.after, self.grown_kb)
    }
}

/// Measures what the host can do, and asks for ten times as much for so long.
pub async fn measure(host: &Host, time: Duration) -> Overload {
    let client = Client::new(&host.base(), Some(&host.key("crowd", &[]).await));
    let expected = embedding(&ask(&client).await.0);
    let quiet = closed(&client, 1, time / 4).await;
    let busy = closed(&client, CALLERS, time / 2).await;
    let capacity = busy.len() as f64 / (time / 2).as_secs_f64();
    let before = host.memory_kb("VmRSS");
    let replies = open(&client, capacity * 10.0, time).await;
    let began = Instant::now();
    while ask(&client).await.0.status != 200 {
        tokio::time::sleep(TICK).await;
    }
    let mut found = Overload {
        capacity,
        due: replies.len(),
        quiet: Times::new(quiet),
        served: Times::default(),
        refused: Times::default(),
        answers: BTreeMap::new(),
        mute: 0,
        wrong: 0,
        after: began.elapsed(),
        grown_kb: host.memory_kb("VmRSS").saturating_sub(before),
    };
    found.sort(replies, &expected);
    found
}

impl Overload {
    fn sort(&mut self, replies: Vec<(Reply, Duration)>, expected: &[f64]) {
        let (mut served, mut refused) = (Vec::new(), Vec::new());
        for (reply, took) in replies {
            let code = if reply.status == 200 { String::new() } else { format!(" {}", reply.code()) };
            *self.answers.entry(format!("{}{code}", reply.status)).or_default() += 1;
            if reply.status == 200 {
                self.wrong += usize::from(!close(&embedding(&reply), expected));
                served.push(took);
            } else {
                self.mute += usize::from(reply.headers.get("retry-after").is_none());
                refused.push(took);
            }
        }
        (self.served, self.refused) = (Times::new(served), Times::new(refused));
    }
}

/// Calls that share a pass are added up in another order.
fn close(got: &[f64], expected: &[f64]) -> bool {
    got.len() == expected.len() && got.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 1e-4)
}

async fn ask(client: &Client) -> (Reply, Duration) {
    let body =
        json!({"model": BACKBONE, "input": "the patient was seen again in the morning and had no pain ".repeat(5)});
    let began = Instant::now();
    (client.post("/v1/embeddings", &body).await, began.elapsed())
}

fn embedding(reply: &Reply) -> Vec<f64> {
    let view = reply.json();
    let values = view["data"][0]["embedding"].as_array().unwrap_or_else(|| panic!("{view}"));
    values.iter().filter_map(Value::as_f64).collect()
}

/// Callers that wait for each answer before they ask again.
async fn closed(client: &Client, callers: usize, time: Duration) -> Vec<Duration> {
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let client = client.clone();
        tasks.spawn(async move {
            let (began, mut times) = (Instant::now(), Vec::new());
            while began.elapsed() < time {
                let (reply, took) = ask(&client).await;
                reply.ok();
                times.push(took);
            }
            times
        });
    }
    tasks.join_all().await.concat()
}

/// Callers that come whether or not those before them were answered.
async fn open(client: &Client, per_second: f64, time: Duration) -> Vec<(Reply, Duration)> {
    let (began, mut tasks) = (Instant::now(), JoinSet::new());
    while began.elapsed() < time {
        let due = (began.elapsed().as_secs_f64() * per_second) as usize;
        while tasks.len() < due {
            let client = client.clone();
            tasks.spawn(async move { ask(&client).await });
        }
        tokio::time::sleep(TICK).await;
    }
    tasks.join_all().await
}
