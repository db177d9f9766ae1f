use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use blindtune::store::local_postgres::LocalPostgres;
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::client_custody::host_and_client;
use crate::driver::ClientRun;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::host::Host;
use crate::host::POLL;
use crate::host::until;
use crate::postgres::Folder;
use crate::world::MODEL;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::split_job;

/// What a host that cannot reach its database answers, and how soon.
async fn refused_in_time(call: impl Future<Output = crate::client::Reply>) {
    let asked = Instant::now();
    let reply = call.await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.code(), "database_unavailable");
    assert!(!reply.header("retry-after").is_empty() && !reply.header("retry-after-ms").is_empty());
    // The pool waits for 2 s; without that it would be sqlx's 30.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn without_its_database_the_host_says_when_to_try_again_and_then_goes_on() {
    let folder = Folder::new("stopped").expect("a folder");
    let postgres = LocalPostgres::start(folder.postgres()).await.expect("starts");
    let url = postgres.url().to_owned();
    let host = Host::start_on(&url, &[]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("faults", &[]).await));
    let mut job = split_job(&client, json!({"custody": "host"})).await;
    job.step_ok().await;

    postgres.stop().await.expect("stops");
    refused_in_time(client.post_tensors(&job.path("/forward?seq=3"), &batch())).await;
    refused_in_time(client.get(&job.path(""))).await;
    refused_in_time(client.get("/readyz")).await;
    client.get("/healthz").await.ok();

    let postgres = LocalPostgres::start(folder.postgres()).await.expect("starts again");
    assert_eq!(postgres.url(), url);
    until("the database", async || client.get("/readyz").await.status == 200).await;
    assert_eq!(job.next_seq().await, 3);
    job.optim_step(0.01).await.ok();
    job.step_ok().await;
    drop(host);
    postgres.stop().await.expect("stops");
}

/// A wait for the database, longer than anything else that a call does.
const WAIT: (&str, &str) = ("BLINDTUNE_DATABASE__ACQUIRE_TIMEOUT_MS", "6000");

/// With a Postgres that is gone, and with one that hangs.
#[tokio::test]
async fn a_call_waits_for_a_database_that_is_away_once() {
    for is_gone in [true, false] {
        let folder = Folder::new("away").expect("a folder");
        let postgres = LocalPostgres::start(folder.postgres()).await.expect("starts");
        let pid = std::fs::read_to_string(postgres.home().join("cluster/postmaster.pid")).expect("it runs");
        let pid = pid.lines().next().expect("a process").to_owned();
        // The key stays checked: it is not what is waited for.
        let host = Host::start_on(postgres.url(), &[WAIT, ("BLINDTUNE_KEYS__CACHE_SECS", "600")]).await;
        add_tiny(&host).await;
        let client = Client::new(&host.base(), Some(&host.key("faults", &[]).await));
        let mut job = split_job(&client, json!({"custody": "host"})).await;
        job.step_ok().await;
        let kept = match is_gone {
            true => {
                postgres.stop().await.expect("stops");
                None
            }
            false => {
                signal("STOP", &pid);
                Some(postgres)
            }
        };
        let make = || client.call(Method::POST, "/v1/fine_tuning/jobs").json(&json!({"model": MODEL}));
        let verb = job.path("/pause");
        let calls = [
            make().send(),
            make().header("idempotency-key", "once").send(),
            make().header("x-stainless-retry-count", "0").send(),
            client.call(Method::POST, &verb).json(&json!({})).send(),
        ];
        let asked = Instant::now();
        for reply in join_all(calls).await {
            reply.refused(503, "database_unavailable");
        }
        let took = asked.elapsed();
        if let Some(postgres) = kept {
            signal("CONT", &pid);
            postgres.stop().await.expect("stops");
        }
        // Two waits are 12 s.
        assert!(took < Duration::from_secs(10), "{took:?}: the calls waited more than once (gone: {is_gone})");
        drop(host);
    }
}

/// Signals a Postgres and what it has started.
fn signal(name: &str, postmaster: &str) {
    let send = "for process in \"$2\" $(cat /proc/\"$2\"/task/*/children); do kill -s \"$1\" \"$process\"; done";
    let sent = std::process::Command::new("/bin/sh").args(["-c", send, "sh", name, postmaster]).status();
    assert!(sent.expect("a shell").success(), "signal {name}");
}

#[tokio::test]
async fn connections_that_are_cut_all_the_time_change_nothing() {
    const STEPS: u64 = 20;
    let (host, client) = host_and_client(&[]).await;
    let expected = ClientRun::new(&client, 8, STEPS, &Count::default()).await.run().await;
    let expected_host = HostRun::new(&client, 9, STEPS, &Count::default()).await.run().await.0;
    let done = Count::default();
    let run = tokio::spawn(ClientRun::new(&client, 8, STEPS, &done).await.run());
    let host_run = tokio::spawn(HostRun::new(&client, 9, STEPS, &done).await.run());
    let mut admin = PgConnection::connect(host.database()).await.expect("connects");
    let cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity
               where datname = current_database() and pid <> pg_backend_pid()";
    let (mut cuts, mut seen, mut pause) = (0, 0, POLL);
    until("the runs", async || {
        cuts += sqlx::query_scalar::<_, i64>(cut).fetch_one(&mut admin).await.expect("cuts");
        // A busy machine needs longer for a step: without one between two cuts the test would wait for itself.
        tokio::time::sleep(pause).await;
        let now = done.load(Ordering::SeqCst);
        pause = if now > seen { POLL } else { pause * 2 };
        seen = now;
        now >= STEPS
    })
    .await;
    assert!(cuts > 0, "nothing was cut");
    assert!(run.await.expect("the run ends") == expected, "the adapters differ");
    assert!(host_run.await.expect("the run ends").0 == expected_host, "the adapters differ");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named_once() {
    let state = tempfile::tempdir().expect("a folder");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_blindtuned"));
    command.arg("--state-dir").arg(state.path()).env("BLINDTUNE_DATABASE__ACQUIRE_TIMEOUT_MS", "500");
    command.args(["--database-url", "postgres://me:secret@127.0.0.1:9/blindtune", "keys", "list"]);
    let output = command.output().expect("the program runs");
    let told = crate::host::text(&output.stderr);
    assert!(
        !output.status.success() && told.contains("the database at 127.0.0.1:9 (database.url) cannot be reached"),
        "{told}"
    );
    assert_eq!((told.matches("timed out").count(), told.contains("secret")), (1, false), "{told}");
}
