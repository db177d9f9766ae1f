use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::client::OCTETS;
use crate::client::pack;
use crate::client_custody::host_and_client;
use crate::driver::patiently;
use crate::host::until;
use crate::world::batch;
use crate::world::shares_like;
use crate::world::split_job;

const SHORT: [(&str, &str); 1] = [("BLINDTUNE_JOBS__LEASE_SECS", "3")];

#[tokio::test]
async fn a_job_is_driven_by_one_host_and_taken_over_when_its_lease_has_ended() {
    let (first, client) = host_and_client(&SHORT).await;
    let second = first.start_beside(&SHORT).await;
    let there = client.at(&second.base());
    let mut job = split_job(&client, json!({"adapter_sets": 1})).await;
    let (forward, activations) = job.forward_ok(&batch()).await;

    let reply = there.post_tensors(&job.path("/forward?seq=1"), &batch()).await;
    reply.refused(503, "job_elsewhere");
    assert!(!reply.header("retry-after").is_empty());
    assert_eq!(there.get(&job.path("")).await.ok_json()["split"]["next_seq"], 2, "what is stored is seen by both");

    first.signal("STOP");
    let path = job.path("/forward?seq=1");
    let again = patiently(|| there.call(Method::POST, &path).body(OCTETS, pack(&batch()))).await.ok();
    assert_eq!((again.scalars()["forward_id"].as_str(), again.tensors()), (forward.as_str(), activations.clone()));
    let shares = shares_like(&activations, 1);
    let backward = job.path(&format!("/backward?seq=2&forward_id={forward}"));
    there.post_tensors(&backward, &shares).await.ok();

    first.signal("CONT");
    let stale = client.post_tensors(&job.path("/forward?seq=3"), &batch()).await;
    assert_eq!(stale.status, 503, "{}", stale.text());
    assert!(["lease_lost", "job_elsewhere"].contains(&stale.code().as_str()), "{}", stale.text());
    let moved = there.get(&job.path("")).await.ok_json();
    let written = there.get(&job.path("/ledger")).await.ok_json()["data"].as_array().map(Vec::len);
    assert_eq!((&moved["split"]["next_seq"], written), (&json!(3), Some(2)), "the first host wrote nothing");
    client.post_tensors(&job.path("/forward?seq=3"), &batch()).await.refused(503, "job_elsewhere");
    there.post_tensors(&job.path("/forward?seq=3"), &batch()).await.ok();
}

#[tokio::test]
async fn a_host_that_slept_amid_a_completion_completes_nothing() {
    let asleep = [SHORT[0], ("FAILPOINTS", "complete_saved=stop")];
    let (first, client) = host_and_client(&asleep).await;
    let second = first.start_beside(&SHORT).await;
    let mut job = split_job(&client, json!({"custody": "host"})).await;
    job.step_ok().await;
    job.optim_step(0.01).await.ok_json();
    let path = job.path("/complete");
    let sleeper = client.clone();
    let asked = tokio::spawn(async move { sleeper.call(Method::POST, &path).try_send().await });
    until("the host to fall asleep", async || first.is_stopped()).await;

    job.client = client.at(&second.base());
    let path = job.path("");
    // Its lease ends by the database's clock: the other host takes over, and makes a step that is durable.
    patiently(|| job.client.call(Method::GET, &job.path("/adapters/0?format=flat")).header("accept", OCTETS))
        .await
        .ok();
    job.step_ok().await;
    job.optim_step(0.01).await.ok_json();
    job.client.post(&job.path("/checkpoints"), &json!({})).await.ok_json();
    let theta = job.theta(0).await;

    first.signal("CONT");
    let late = asked.await.expect("joins").expect("an answer");
    // The first thing that it meets may be a connection that ended while it slept.
    assert_eq!(late.status, 503, "{}", late.text());
    assert!(["lease_lost", "database_unavailable"].contains(&late.code().as_str()), "{}", late.text());
    let view = job.client.get(&path).await.ok_json();
    assert_eq!((&view["status"], &view["fine_tuned_model"]), (&json!("running"), &json!(null)));
    assert_eq!(job.theta(0).await, theta, "the other host's adapters");
    job.step_ok().await;
    let done = job.client.call(Method::POST, &job.path("/complete")).try_send().await.expect("an answer").ok_json();
    assert_eq!(done["status"], "succeeded");
}

#[tokio::test]
async fn a_host_that_ends_in_good_order_leaves_its_jobs_at_once() {
    let (mut first, client) = host_and_client(&[]).await;
    let second = first.start_beside(&[]).await;
    let there = client.at(&second.base());
    let mut job = split_job(&client, json!({"custody": "host"})).await;
    job.step_ok().await;
    let before = job.optim_step(0.01).await.ok_json();
    let theta = job.theta(0).await;
    first.signal("TERM");
    assert!(first.ended(Duration::from_secs(25)).await.success());
    job.client = there;
    assert_eq!(job.theta(0).await, theta);
    job.step_ok().await;
    assert_eq!(job.optim_step(0.01).await.ok_json()["step"], json!(before["step"].as_u64().unwrap_or_default() + 1));
}

#[tokio::test]
async fn two_hosts_may_start_on_an_empty_database_at_once() {
    let database = crate::postgres::empty_database().await;
    let (a, b) = crate::host::Host::start_two_on(&database).await;
    for host in [a, b] {
        crate::client::Client::new(&host.base(), None).get("/readyz").await.ok();
    }
}

/// Leases that no test waits for.
const LONG: [(&str, &str); 1] = [("BLINDTUNE_JOBS__LEASE_SECS", "600")];

#[tokio::test]
async fn a_host_that_was_killed_goes_on_with_its_own_jobs_at_once() {
    let (mut host, client) = host_and_client(&LONG).await;
    let mut job = split_job(&client, json!({"custody": "host"})).await;
    job.step_ok().await;
    job.optim_step(0.01).await.ok_json();
    job.client.post(&job.path("/checkpoints"), &json!({})).await.ok_json();
    let theta = job.theta(0).await;
    host.kill9();
    host.restart().await;
    assert_eq!(job.theta(0).await, theta, "no lease of its own is waited for");
    job.step_ok().await;
}

#[tokio::test]
async fn hosts_on_one_state_folder_take_over_the_dead_ones_jobs_alone() {
    let (mut first, client) = host_and_client(&LONG).await;
    let mut second = first.start_beside(&LONG).await;
    let there = client.at(&second.base());
    let job = split_job(&client, json!({"custody": "host"})).await;
    let mut theirs = split_job(&there, json!({"custody": "host"})).await;
    let theta = job.theta(0).await;
    theirs.step_ok().await;
    let refused = async |client: &crate::client::Client, path: String| {
        client.call(Method::GET, &path).header("accept", OCTETS).send().await.refused(503, "job_elsewhere");
    };
    let (of_job, of_theirs) = (job.path("/adapters/0?format=flat"), theirs.path("/adapters/0?format=flat"));

    second.kill9();
    second.restart().await;
    refused(&client.at(&second.base()), of_job.clone()).await;
    assert_eq!(job.theta(0).await, theta, "the first host lives, and keeps its job");

    first.kill9();
    let third = second.start_beside(&LONG).await;
    let last = client.at(&third.base());
    let heir = crate::world::Job { client: last.clone(), ..job.clone() };
    assert_eq!(heir.theta(0).await, theta, "the dead one's job is free at once");
    // The second host never had the folder's lock, so that nobody can tell that it died.
    refused(&last, of_theirs).await;
}

#[tokio::test]
async fn a_host_that_would_refuse_every_key_does_not_start_and_says_what_to_do() {
    let (first, client) = host_and_client(&[]).await;
    let Err(said) = first.start_apart(|_| {}).await else { panic!("it started, and would answer 401 to every key") };
    for hint in ["signed by another key pair", "keys/signing_key.pem", "blindtuned keys adopt-signing-key"] {
        assert!(said.contains(hint), "{hint} in {said}");
    }
    let copied = first.start_apart(|state| {
        let keys = state.join("keys");
        std::fs::create_dir_all(&keys).expect("a folder");
        std::fs::copy(first.state().join("keys/signing_key.pem"), keys.join("signing_key.pem")).expect("copies");
    });
    let second = copied.await.unwrap_or_else(|said| panic!("{said}"));
    client.at(&second.base()).get("/v1/models").await.ok();
}

#[tokio::test]
async fn a_signing_key_that_is_lost_is_given_up_by_name_alone() {
    let (mut first, client) = host_and_client(&[]).await;
    first.kill9();
    std::fs::remove_file(first.state().join("keys/signing_key.pem")).expect("removes");
    let refused = first.cli(&["keys", "create", "--project", "faults"]).await;
    assert!(!refused.status.success(), "a key was made that no host takes");
    let adopted = first.cli(&["keys", "adopt-signing-key"]).await;
    assert!(adopted.status.success(), "{}", crate::host::text(&adopted.stderr));
    first.restart().await;
    let client = client.at(&first.base());
    client.get("/v1/models").await.refused(401, "invalid_api_key");
    client.with_key(Some(&first.key("faults", &[]).await)).get("/v1/models").await.ok();
}

#[tokio::test]
async fn the_signing_key_is_replaced_host_by_host_and_no_call_is_refused() {
    let (mut first, client) = host_and_client(&[]).await;
    let mut second = first.start_beside(&[]).await;
    let old = first.state().join("keys/signing_key.pem");
    let made = first.scratch("new-pair");
    blindtune::service::Tokens::open(&made, "blindtune", "blindtune-api").expect("a key pair");
    let new = made.join("signing_key.pem");
    let list = |paths: &[&std::path::Path]| {
        let quoted: Vec<String> = paths.iter().map(|path| format!("{:?}", path.display().to_string())).collect();
        format!("[{}]", quoted.join(", "))
    };
    let mut keys = vec![client.key().to_owned()];
    for (step, paths) in [[old.as_path(), new.as_path()], [new.as_path(), old.as_path()]].iter().enumerate() {
        first.restart_with("BLINDTUNE_KEYS__SIGNING_KEYS", &list(paths)).await;
        keys.push(first.key("faults", &[]).await);
        for _ in 0..2 {
            for (host, key) in [&first, &second].iter().flat_map(|host| keys.iter().map(move |key| (host, key))) {
                client.at(&host.base()).with_key(Some(key)).get("/v1/models").await.ok();
            }
            second.restart_with("BLINDTUNE_KEYS__SIGNING_KEYS", &list(paths)).await;
        }
        assert_eq!(keys.len(), step + 2);
    }
    second.restart_with("BLINDTUNE_KEYS__SIGNING_KEYS", &list(&[&new])).await;
    let there = client.at(&second.base());
    there.with_key(Some(&keys[2])).get("/v1/models").await.ok();
    there.with_key(Some(&keys[0])).get("/v1/models").await.refused(401, "invalid_api_key");
}
