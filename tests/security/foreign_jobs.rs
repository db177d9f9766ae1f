//! Another project's job reads as one that never was, also by the time that the answer takes.

use reqwest::Method;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::client::OCTETS;
use crate::client::pack;
use crate::host::Host;
use crate::host::until;
use crate::world::add_tiny;
use crate::world::batch;
use crate::world::split_job;

/// A job that is at work keeps its own callers waiting, and strangers not.
#[tokio::test]
async fn a_stranger_does_not_wait_for_a_job_that_is_at_work() {
    let host = Host::start(&[]).await;
    add_tiny(&host).await;
    let owner = Client::new(&host.base(), Some(&host.key("owner", &[]).await));
    let stranger = Client::new(&host.base(), Some(&host.key("stranger", &[]).await));
    let mut job = split_job(&owner, json!({})).await;
    job.step_ok().await;
    let mut admin = PgConnection::connect(host.database()).await.expect("connects");
    // Shorter than the host's time-out for statements, and longer than anything that a stranger's answer takes.
    let slow =
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(4); return new; end $$;
                create trigger slow before insert on steps for each row execute function slow()";
    sqlx::raw_sql(slow).execute(&mut admin).await.expect("creates");
    let path = job.path(&format!("/forward?seq={}", job.seq));
    let working = {
        let (owner, path) = (owner.clone(), path.clone());
        tokio::spawn(async move { owner.call(Method::POST, &path).body(OCTETS, pack(&batch())).send().await })
    };
    let sleeps = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
    until("the step to be written", async || {
        sqlx::query_scalar::<_, i64>(sleeps).fetch_one(&mut admin).await.expect("counts") == 1
    })
    .await;
    let unknown = format!("ftjob-{}", uuid::Uuid::now_v7().simple());
    let mut told = Vec::new();
    for id in [&job.id, &unknown] {
        let call = stranger.call(Method::POST, &path.replace(&job.id, id)).body(OCTETS, pack(&batch()));
        let error = call.send().await.refused(404, "not_found");
        told.push(error["message"].as_str().expect("a text").replace(id, "id"));
    }
    assert!(!working.is_finished(), "the stranger waited for the owner's step");
    assert_eq!(told[0], told[1]);
    working.await.expect("joins").ok();
}
