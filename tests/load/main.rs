//! Control requests at a fixed rate, with and without open event streams. Open loop: a request's time counts from when it was
//! due, so that a host that stalls cannot slow its own measurement down. `make load` runs the long form.

mod fair;
mod figures;
mod listeners;
mod overload;
mod requests;
mod watching;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/desk.rs"]
mod desk;
#[path = "../support/host.rs"]
mod host;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/world.rs"]
mod world;

use std::time::Duration;

use client::Client;
use fair::Heavy;
use figures::Load;
use figures::Times;
use host::Host;
use listeners::Listeners;
use world::add_tiny;
use world::split_job;

/// Limits are not what is measured.
const SETTINGS: [(&str, &str); 2] =
    [("BLINDTUNE_LIMITS__JOBS_PER_PROJECT", "100000"), ("BLINDTUNE_LIMITS__RUNNING_PER_PROJECT", "1000")];

/// The default of `engine.slice_tokens` on the processor.
const SLICE_TOKENS: usize = 2048;

/// Turns of each of two hosts that are compared.
const ROUNDS: u32 = 6;

/// What is asked of a host.
struct Plan {
    title: &'static str,
    per_second: u32,
    time: Duration,
    listeners: usize,
    /// Jobs that these are spread over.
    jobs: usize,
}

impl Plan {
    /// Runs to the end and prints; the figures are judged by the caller, so that all are printed first.
    async fn run(&self, host: &Host, client: &Client) -> Load {
        let before = host.memory_kb("VmRSS");
        let mut jobs = Vec::new();
        for _ in 0..self.jobs {
            jobs.push(split_job(client, serde_json::json!({})).await);
        }
        let listeners = Listeners::open(host, client, &jobs, self.listeners).await;
        let opened = host.memory_kb("VmRSS");
        let alone = listeners.wake(10, Duration::from_millis(500)).await;
        let loading = requests::load(client, self.per_second, self.time);
        let (load, amid) = tokio::join!(loading, listeners.wake(self.time.as_secs() as usize, Duration::from_secs(1)));
        println!("{}: {load}", self.title);
        if self.listeners > 0 {
            let each = opened.saturating_sub(before) / self.listeners as u64;
            println!("  {} listeners on {} job(s): {each} kB each of {opened} kB", self.listeners, self.jobs);
            println!("  wake-up without load: {alone}\n  wake-up under load: {amid}");
        }
        println!("  memory at the end: {} kB", host.memory_kb("VmRSS"));
        listeners.close(jobs).await;
        load
    }
}

async fn open(database: Option<&str>) -> (Host, Client) {
    rlimit::increase_nofile_limit(8192).expect("file descriptors");
    let host = match database {
        Some(url) => Host::start_on(url, &SETTINGS).await,
        None => Host::start(&SETTINGS).await,
    };
    with_a_key(host).await
}

/// A host with its own Postgres, with fsync.
async fn open_with(settings: &[(&str, &str)]) -> (Host, Client) {
    with_a_key(Host::start_on("", &[&SETTINGS, settings].concat()).await).await
}

async fn with_a_key(host: Host) -> (Host, Client) {
    add_tiny(&host).await;
    let key = host.key("load", &[]).await;
    let client = Client::new(&host.base(), Some(&key));
    (host, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_short_load_is_carried() {
    let (host, client) = open(None).await;
    let plan = Plan { title: "150/s", per_second: 150, time: Duration::from_secs(5), listeners: 50, jobs: 5 };
    // The time is for a machine that is busy with other tests; what must hold here are statuses and counts.
    plan.run(&host, &client).await.check(Duration::from_secs(30));
}

/// How long a long form loads the host.
fn seconds_or(default: u64) -> Duration {
    let given = std::env::var("LOAD_SECONDS").ok().and_then(|secs| secs.parse().ok());
    Duration::from_secs(given.unwrap_or(default))
}

/// The host runs its own Postgres, with fsync.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "minutes long and wants an idle machine: make load"]
async fn five_hundred_requests_a_second_are_answered_within_100_ms() {
    let time = seconds_or(60);
    let (mut host, client) = open(Some("")).await;
    let plan = |title, listeners, jobs| Plan { title, per_second: 500, time, listeners, jobs };
    let loads = [
        plan("500/s", 0, 0).run(&host, &client).await,
        plan("500/s, all listeners on one job", 1000, 1).run(&host, &client).await,
        plan("500/s, listeners on many jobs", 1000, 50).run(&host, &client).await,
    ];
    host.signal("TERM");
    assert!(host.ended(Duration::from_secs(25)).await.success(), "{}", host.log());
    loads.iter().for_each(|load| load.check(Duration::from_millis(100)));
}

/// Metrics that are read each second, and every trace and line of the log sent to a collector: against a host that tells nobody, in turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "minutes long and wants an idle machine: make load-watched"]
async fn a_watched_hosts_p99_is_within_a_tenth_of_an_unwatched_ones() {
    let time = seconds_or(60) / ROUNDS;
    let watched = watching::Watched::start().await;
    let hosts = [open_with(&[]).await, open_with(&watched.settings()).await];
    let scraping = watched.scrape(&hosts[1].0);
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS as usize {
        for at in [round % 2, 1 - round % 2] {
            let (host, client) = &hosts[at];
            let plan = Plan { title: ["unwatched", "watched"][at], per_second: 300, time, listeners: 0, jobs: 0 };
            times[at].extend(plan.run(host, client).await.into_times());
        }
    }
    scraping.abort();
    let [plain, watched_times] = times.map(Times::new);
    println!("unwatched: {plain}\nwatched: {watched_times}\nspans and lines came: {}", watched.bodies());
    assert!(watched.bodies() > 0, "the collector was sent nothing");
    assert!(
        watched_times.quantile(0.99) <= plain.quantile(0.99).mul_f32(1.1),
        "unwatched {plain}, watched {watched_times}"
    );
}

/// The heavy tenant's shortest call is dozens of slices long: who waits for slices is below it, whoever waits for passes is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_light_tenant_does_not_wait_for_a_heavy_ones_passes() {
    let host = Host::start(&[("BLINDTUNE_ENGINE__SLICE_TOKENS", "256")]).await;
    fair::add_backbone(&host).await;
    let heavy = Heavy { callers: 3, rows: 64, tokens: 128 };
    let figures = fair::measure(&host, heavy, 256, Duration::from_secs(4)).await;
    println!("{figures}");
    assert!(figures.beside.quantile(0.5) < figures.heavy.quantile(0.0) / 4, "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "minutes long and wants an idle machine: make load-fair"]
async fn a_light_tenants_p95_beside_a_hostile_one_is_a_slice_over_its_own() {
    let time = seconds_or(60);
    let host = Host::start(&[]).await;
    fair::add_backbone(&host).await;
    let heavy = Heavy { callers: 4, rows: 96, tokens: 512 }; // nearly all that engine.graph_bytes lets in
    let figures = fair::measure(&host, heavy, SLICE_TOKENS, time).await;
    println!("{figures}");
    assert!(figures.beside.quantile(0.95) <= figures.goal(), "{figures}");
}

/// What must hold on any machine: nobody waits for nothing, no answer is wrong, and nothing of it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn ten_times_what_the_host_can_do_is_refused_in_words_and_leaves_nothing() {
    let host = Host::start(&[]).await;
    fair::add_backbone(&host).await;
    let found = overload::measure(&host, Duration::from_secs(4)).await;
    println!("{found}");
    let served = found.answers.get("200").copied().unwrap_or_default();
    assert!(found.answers.keys().all(|answer| ["200", "429", "503"].contains(&&answer[..3])), "{found}");
    assert_eq!((found.mute, found.wrong), (0, 0), "{found}");
    assert!(served > 0 && served < found.due && found.grown_kb < 400_000, "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "minutes long and wants an idle machine: make load"]
async fn whom_an_overloaded_host_serves_it_serves_well() {
    let time = seconds_or(30);
    let host = Host::start(&[]).await;
    fair::add_backbone(&host).await;
    let found = overload::measure(&host, time).await;
    println!("{found}");
    assert!(found.after <= Duration::from_secs(5) && found.grown_kb <= 200_000, "{found}");
}
