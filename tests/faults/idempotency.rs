//! Hosts that die between a change and its answer, and a request that two of them get at once.

use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Call;
use crate::client::Client;
use crate::client_custody::host_and_client;
use crate::driver::patiently;
use crate::host::Host;
use crate::host::until;
use crate::world::MODEL;

const JOBS: &str = "/v1/fine_tuning/jobs";
const WEBHOOKS: &str = "/v1/webhooks";

fn create(client: &Client, path: &str, body: &Value) -> Call {
    client.call(Method::POST, path).json(body).header("idempotency-key", "once")
}

async fn made(client: &Client, path: &str) -> usize {
    client.get(path).await.ok_json()["data"].as_array().expect("a list").len()
}

async fn connect(host: &Host) -> PgConnection {
    PgConnection::connect(host.database()).await.expect("connects")
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(sql).execute(connection).await.expect(sql);
}

async fn count(connection: &mut PgConnection, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(connection).await.expect(sql)
}

/// The change is written, and the transaction waits to write its answer.
#[tokio::test]
async fn a_host_that_dies_before_its_answer_is_written_has_changed_nothing() {
    let (mut host, client) = host_and_client(&[]).await;
    let body = json!({"model": MODEL});
    let mut gate = connect(&host).await;
    execute(&mut gate, "select pg_advisory_lock(7)").await;
    let hold = "create function hold() returns trigger language plpgsql as
                    $$ begin perform pg_advisory_lock_shared(7); return new; end $$;
                create trigger hold before insert on idempotency for each row execute function hold()";
    execute(&mut gate, hold).await;
    let first = tokio::spawn(create(&client, JOBS, &body).try_send());
    let mut watcher = connect(&host).await;
    let waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'advisory'";
    until("the host to come to its answer", async || count(&mut watcher, waits).await == 1).await;
    host.kill9();
    assert!(first.await.expect("joins").is_err(), "there was nobody to answer");
    execute(&mut gate, "select pg_advisory_unlock(7); drop trigger hold on idempotency").await;
    host.restart().await;
    assert_eq!(count(&mut watcher, "select count(*) from jobs").await, 0, "the change went with its answer");
    let again = patiently(|| create(&client, JOBS, &body)).await.ok();
    assert_eq!((again.header("idempotency-replayed"), made(&client, JOBS).await), ("", 1));
}

/// The change and its answer are committed, and the audit log holds the host up.
#[tokio::test]
async fn a_host_that_dies_before_it_answers_gives_the_same_answer_when_asked_again() {
    let (mut host, client) = host_and_client(&[]).await;
    for (path, table, body) in
        [(JOBS, "jobs", json!({"model": MODEL})), (WEBHOOKS, "webhooks", json!({"url": "https://1.1.1.1/hook"}))]
    {
        let mut gate = connect(&host).await;
        execute(&mut gate, "begin; lock table audit in exclusive mode").await;
        let first = tokio::spawn(create(&client, path, &body).try_send());
        let mut watcher = connect(&host).await;
        let rows = format!("select count(*) from {table}");
        until("the commit", async || count(&mut watcher, &rows).await == 1).await;
        host.kill9();
        assert!(first.await.expect("joins").is_err(), "there was nobody to answer");
        execute(&mut gate, "rollback").await;
        host.restart().await;
        let id: uuid::Uuid =
            sqlx::query_scalar(&format!("select id from {table}")).fetch_one(&mut watcher).await.expect("a row");
        let again = patiently(|| create(&client, path, &body)).await;
        match path {
            WEBHOOKS => drop(again.refused(409, "already_made")),
            _ => {
                let again = again.ok();
                assert_eq!(again.header("idempotency-replayed"), "true");
                let given = again.json()["id"].as_str().expect("an id").to_owned();
                assert!(given.replace('-', "").ends_with(&id.simple().to_string()), "{given} is not {id}");
            }
        }
        assert_eq!(made(&client, path).await, 1, "{path}");
    }
}

#[tokio::test]
async fn a_request_that_two_hosts_get_at_once_makes_one_thing() {
    let (first, client) = host_and_client(&[]).await;
    let second = first.start_beside(&[]).await;
    let there = client.at(&second.base());
    for round in 0..8 {
        let body = json!({"model": MODEL, "seed": round});
        let key = format!("round {round}");
        let call = |client: &Client| client.call(Method::POST, JOBS).json(&body).header("idempotency-key", &key).send();
        let (a, b) = tokio::join!(call(&client), call(&there));
        let (a, b) = (a.ok(), b.ok());
        assert_eq!(a.body, b.body);
        client.verb(&format!("{JOBS}/{}/cancel", a.json()["id"].as_str().expect("an id"))).await.ok();
    }
    assert_eq!(made(&client, JOBS).await, 8);
}
