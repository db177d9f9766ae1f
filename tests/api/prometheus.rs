//! What Prometheus is shown: counts that follow from what was done, under names whose number does not grow with use.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::host::Host;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::split_job;

/// A host that counts, and the address of its `/metrics`.
async fn counting_host() -> (Host, String) {
    let host = Host::start(&[("BLINDTUNE_METRICS__LISTEN", "127.0.0.1:0")]).await;
    add_tiny(&host).await;
    let log = host.log();
    let said = log.lines().find_map(|line| line.split_once("metrics for Prometheus are at ")).expect("said in the log");
    let address = said.1.trim().trim_end_matches("/metrics").to_owned();
    (host, address)
}

/// Series with their values.
async fn scrape(address: &str) -> BTreeMap<String, f64> {
    let reply = Client::new(address, None).get("/metrics").await.ok();
    assert!(
        reply.header("content-type").starts_with("application/openmetrics-text"),
        "{}",
        reply.header("content-type")
    );
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"), "it is cut");
    let series = text.lines().filter(|line| !line.starts_with('#'));
    series
        .map(|line| {
            line.rsplit_once(' ')
                .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
                .expect("a series")
        })
        .collect()
}

fn of(series: &BTreeMap<String, f64>, name: &str) -> f64 {
    *series.get(&format!("blindtune_{name}")).unwrap_or_else(|| panic!("no blindtune_{name} in {series:#?}"))
}

#[tokio::test]
async fn steps_are_counted_by_route_and_phase() {
    let (host, address) = counting_host().await;
    let client = Client::new(&host.base(), Some(&host.key("clinic", &[]).await));
    let mut job = split_job(&client, serde_json::json!({"adapter_sets": 1})).await;
    for _ in 0..3 {
        job.step_ok().await;
    }
    job.evaluate(&batch()).await;
    let series = scrape(&address).await;
    let asked = |route: &str| {
        format!(
            "http_requests_total{{method=\"POST\",route=\"/v1/fine_tuning/jobs/{{job_id}}/{route}\",status=\"200\"}}"
        )
    };
    assert_eq!((of(&series, &asked("forward")), of(&series, &asked("backward"))), (4.0, 3.0));
    let phase = |kind: &str, phase: &str| {
        of(&series, &format!("step_phase_duration_seconds_count{{kind=\"{kind}\",phase=\"{phase}\"}}"))
    };
    for name in ["queue", "device", "commit", "encode"] {
        assert_eq!((phase("forward", name), phase("backward", name)), (3.0, 3.0), "{name}");
    }
    assert_eq!((phase("evaluate", "device"), phase("evaluate", "encode")), (1.0, 1.0));
    let passes = |pass: &str| of(&series, &format!("device_passes_total{{pass=\"{pass}\"}}"));
    assert_eq!((passes("forward"), passes("backward")), (4.0, 3.0));
    let (busy, spent) = (
        of(&series, "device_busy_seconds_total"),
        "step_phase_duration_seconds_sum{kind=\"forward\",phase=\"device\"}",
    );
    assert!(busy > 0.0 && busy >= of(&series, spent), "{busy}");
    assert_eq!((of(&series, "sessions"), of(&series, "draining")), (1.0, 0.0));
    assert!(of(&series, "resident_memory_bytes") > 1e7 && of(&series, "held_bytes") > 0.0);
    assert_eq!(of(&series, &format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}

#[tokio::test]
async fn refusals_are_counted_by_code_and_no_name_grows_with_what_callers_make_up() {
    let (host, address) = counting_host().await;
    let key = host.key("ward-seven", &[]).await;
    let client = Client::new(&host.base(), Some(&key));
    client.get("/v1/files/file-0").await;
    client.get("/v1/no/such/url").await;
    let first = scrape(&address).await;
    assert!(of(&first, "refusals_total{code=\"unknown_url\"}") == 1.0, "{first:#?}");
    for number in 0..20 {
        client.get(&format!("/v1/no/such/url-{number}")).await;
        client.get(&format!("/v1/files/file-{number}")).await;
        let method = reqwest::Method::from_bytes(format!("BREW{number}").as_bytes()).expect("a method");
        client.call(method, "/v1/files").send().await;
    }
    let mut last = scrape(&address).await;
    assert_eq!(of(&last, "refusals_total{code=\"unknown_url\"}"), 21.0);
    assert_eq!(of(&last, "http_requests_total{method=\"GET\",route=\"other\",status=\"404\"}"), 21.0);
    let text = format!("{last:?}");
    for made_up in ["ward-seven", "BREW", "such/url", "file-1", &key] {
        assert!(!text.contains(made_up), "{made_up} is in a name");
    }
    last.retain(|name, _| !first.contains_key(name) && !name.contains("method=\"other\""));
    assert!(last.is_empty(), "new names: {:?}", last.keys());
}

#[tokio::test]
async fn the_port_of_clients_shows_no_metrics_and_without_the_setting_there_are_none() {
    let (counting, _) = counting_host().await;
    let quiet = Host::start(&[]).await;
    for host in [&counting, &quiet] {
        let key = host.key("clinic", &[]).await;
        assert_eq!(Client::new(&host.base(), Some(&key)).get("/metrics").await.status, 404);
    }
    assert!(!quiet.log().contains("metrics for Prometheus"));
}
