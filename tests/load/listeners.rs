//! Open event streams: plain sockets that look for the steps which a writer reports.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::Client;
use crate::figures::Times;
use crate::host::Host;
use crate::world::Job;

/// Streams that are being opened at once.
const OPENING: usize = 16;

/// When each step was reported, by its number.
type Sent = Arc<Mutex<Vec<Instant>>>;

pub struct Listeners {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    jobs: Vec<Job>,
    sent: Sent,
    heard: Arc<Mutex<Vec<Duration>>>,
    open: Arc<AtomicUsize>,
}

impl Listeners {
    /// Opens streams, spread evenly over the jobs, and waits until each has heard of its job's creation.
    pub async fn open(host: &Host, client: &Client, jobs: &[Job], count: usize) -> Self {
        let listeners = Self {
            tasks: Vec::new(),
            jobs: jobs.to_vec(),
            sent: Arc::default(),
            heard: Arc::default(),
            open: Arc::default(),
        };
        let mut tasks = Vec::new();
        for number in 0..count {
            let head = format!(
                "GET {} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: text/event-stream\r\n\r\n",
                jobs[number % jobs.len()].path("/events"),
                host.address(),
                client.key(),
            );
            let socket = TcpStream::connect(host.address()).await.expect("connects");
            let (sent, heard) = (Arc::clone(&listeners.sent), Arc::clone(&listeners.heard));
            tasks.push(tokio::spawn(listen(socket, head, sent, heard, Arc::clone(&listeners.open))));
            // Opening is a request: more than `max_requests_in_flight` at once would be answered 503.
            while number >= listeners.open.load(Ordering::SeqCst) + OPENING {
                assert!(!tasks.iter().any(tokio::task::JoinHandle::is_finished), "a stream was refused");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while listeners.open.load(Ordering::SeqCst) < count {
            assert!(Instant::now() < deadline, "{:?} of {count} streams opened", listeners.open);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { tasks, ..listeners }
    }

    /// Reports a step to each job in turn, so many times, and gives how long each listener took to hear of it.
    pub async fn wake(&self, times: usize, pause: Duration) -> Times {
        self.heard.lock().expect("lock").clear();
        let mut expected = 0;
        for round in 0..times {
            let Some(job) = self.jobs.get(round % self.jobs.len().max(1)) else { return Times::default() };
            let step = {
                let mut sent = self.sent.lock().expect("lock");
                sent.push(Instant::now());
                sent.len() - 1
            };
            job.client.post(&job.path("/metrics"), &json!({"step": step, "metrics": {"loss": 0.5}})).await.ok();
            let place = round % self.jobs.len();
            expected += (place..self.tasks.len()).step_by(self.jobs.len()).count();
            tokio::time::sleep(pause).await;
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.heard.lock().expect("lock").len() < expected && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let heard = Times::new(self.heard.lock().expect("lock").clone());
        assert_eq!(heard.len(), expected, "every listener hears of every step");
        heard
    }

    /// Ends the jobs, and with them the streams.
    pub async fn close(self, jobs: Vec<Job>) {
        for job in jobs {
            job.verb("cancel").await.ok();
        }
        for task in self.tasks {
            tokio::time::timeout(Duration::from_secs(10), task).await.expect("a stream ends").expect("in good order");
        }
    }
}

async fn listen(
    mut socket: TcpStream,
    head: String,
    sent: Sent,
    heard: Arc<Mutex<Vec<Duration>>>,
    open: Arc<AtomicUsize>,
) {
    socket.write_all(head.as_bytes()).await.expect("sends");
    let (mut buffer, mut text) = ([0; 4096], String::new());
    let mut is_open = false;
    loop {
        let count = socket.read(&mut buffer).await.expect("reads");
        assert!(count > 0, "the stream broke off: {text}");
        text.push_str(std::str::from_utf8(&buffer[..count]).expect("UTF-8"));
        while let Some((frame, rest)) = text.split_once("\n\n") {
            let now = Instant::now();
            if frame.contains("data: [DONE]") {
                return;
            }
            if !is_open {
                assert!(frame.starts_with("HTTP/1.1 200"), "{frame}");
                is_open = true;
                open.fetch_add(1, Ordering::SeqCst);
            }
            let step = frame.split("\"step\":").nth(1).and_then(|rest| {
                rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<usize>().ok()
            });
            if let Some(at) = step.and_then(|step| sent.lock().expect("lock").get(step).copied()) {
                heard.lock().expect("lock").push(now - at);
            }
            text = rest.to_owned();
        }
    }
}
