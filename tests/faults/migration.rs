//! A host that is killed amid a migration: the next one finds the schema as it was before, and brings it to its end.

use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::host::Host;
use crate::host::until;
use crate::postgres;
use crate::world::add_tiny;
use crate::world::split_job;

/// The first table that a migration makes, and how many migrations are done before it.
const TABLES: [(&str, i64); 3] = [("batches", 0), ("signing_key", 2), ("job_metrics", 4)];

#[tokio::test]
async fn a_host_that_is_killed_amid_a_migration_leaves_the_schema_as_it_was() {
    let url = postgres::empty_database().await;
    let mut admin = PgConnection::connect(&url).await.expect("connects");
    for (table, done) in TABLES {
        // Whoever makes a table of this name waits for the end of this transaction.
        let mut transaction = admin.begin().await.expect("begins");
        sqlx::raw_sql(&format!("create table {table} (id int)")).execute(&mut *transaction).await.expect("makes");
        let mut host = Host::begin_on(&url);
        let mut watch = PgConnection::connect(&url).await.expect("connects");
        until("the host waits amid its migration", async || {
            let waiting =
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
            sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watch).await.expect("answers") > 0
        })
        .await;
        host.kill9();
        transaction.rollback().await.expect("rolls back");
        until("the killed host's connection has ended", async || {
            let others =
                "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
                and application_name <> '' and state <> 'idle'";
            sqlx::query_scalar::<_, i64>(others).fetch_one(&mut watch).await.expect("answers") == 0
        })
        .await;
        let applied = "select coalesce((select count(*) from _sqlx_migrations where success), 0)";
        let applied: i64 = sqlx::query_scalar(applied).fetch_one(&mut watch).await.expect("answers");
        assert_eq!(applied, done, "before {table}");
        let there = format!("select to_regclass('{table}') is null");
        assert!(
            sqlx::query_scalar::<_, bool>(&there).fetch_one(&mut watch).await.expect("answers"),
            "{table} is there"
        );
    }
    let host = Host::start_on(&url, &[]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("faults", &[]).await));
    split_job(&client, serde_json::json!({})).await.step_ok().await;
}
