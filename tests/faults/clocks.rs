//! Hosts whose clocks are wrong by an hour: leases, keys and what is to expire are dated and judged by the database's clock.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use reqwest::Method;
use serde_json::json;

use crate::client::OCTETS;
use crate::client::pack;
use crate::client_custody::host_and_client;
use crate::driver::patiently;
use crate::host::Host;
use crate::world::batch;
use crate::world::split_job;

const LEASE: (&str, &str) = ("BLINDTUNE_JOBS__LEASE_SECS", "4");

/// Compiles what shifts a program's clock by so many seconds.
fn wrong_clock(host: &Host, shift: i64) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/wrong_clock.c");
    let library = host.scratch("clock").join(format!("wrong{shift}.so"));
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    let compiler = compiler.args(["-shared", "-fPIC", "-O1", &format!("-DSHIFT=({shift}L)"), "-o"]);
    assert!(compiler.arg(&library).arg(source).status().expect("a C compiler").success());
    library
}

/// The seconds by which the host's clock is ahead, as its answers say.
async fn ahead(host: &Host) -> f64 {
    let reply = reqwest::get(format!("{}/healthz", host.base())).await.expect("an answer");
    let date = reply.headers()["date"].to_str().expect("a text").to_owned();
    let format = time::format_description::well_known::Rfc2822;
    let date = time::OffsetDateTime::parse(&date.replace("GMT", "+0000"), &format).expect("a date");
    (date - time::OffsetDateTime::now_utc()).as_seconds_f64()
}

#[tokio::test]
async fn hosts_whose_clocks_are_wrong_by_an_hour_end_no_lease_early_or_late() {
    let (right, _) = host_and_client(&[]).await;
    for shift in [3600, -3600] {
        let library = wrong_clock(&right, shift);
        let library = library.to_str().expect("a text");
        let settings = [LEASE, ("LD_PRELOAD", library)];
        let (first, client) = host_and_client(&settings).await;
        assert!((ahead(&first).await - shift as f64).abs() < 600.0, "the clock is not shifted by {shift} s");
        let second = first.start_beside(&[LEASE]).await;
        let there = client.at(&second.base());
        // A key that the one made, the other takes; each of them drives jobs.
        let mut job = split_job(&client, json!({"custody": "host"})).await;
        let mut other = split_job(&there, json!({"custody": "host"})).await;
        job.step_ok().await;
        other.step_ok().await;
        let path = job.path("/forward?seq=3");
        let ask = || there.call(Method::POST, &path).body(OCTETS, pack(&batch()));
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(6) {
            let reply = there.post_tensors(&path, &batch()).await;
            reply.refused(503, "job_elsewhere");
            let back = client.post_tensors(&other.path("/forward?seq=3"), &batch()).await;
            back.refused(503, "job_elsewhere");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        first.signal("STOP");
        let stopped = Instant::now();
        let reply = patiently(ask).await;
        assert!(reply.status < 500, "{}", reply.text());
        // An hour's error would end it at once, or never: `patiently` does not wait for an hour.
        assert!(stopped.elapsed() > Duration::from_secs(1), "taken over after {:?}", stopped.elapsed());
        first.signal("CONT");
    }
}
