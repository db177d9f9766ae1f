//! A disk of Postgres that is full: what cannot be written is refused, nothing of it is kept, and what was acknowledged is there afterwards.

use std::path::Path;
use std::process::Command;

use blindtune::store::local_postgres::LocalPostgres;
use reqwest::Method;
use serde_json::Value;
use serde_json::json;
use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::Client;
use crate::client::Reply;
use crate::host::Host;
use crate::host::until;
use crate::postgres::Folder;
use crate::small_disk::SmallDisk;
use crate::world::Job;
use crate::world::MODEL;
use crate::world::add_tiny;
use crate::world::id;
use crate::world::split_job;

/// Moves a folder of a cluster that is stopped to a disk of its own.
fn move_to(disk: &SmallDisk, part: &Path) {
    let there = disk.place().join("moved");
    let done = |command: &mut Command| assert!(command.status().expect("runs").success(), "{command:?}");
    done(Command::new("cp").arg("-a").arg(part).arg(&there));
    std::fs::remove_dir_all(part).expect("is there");
    std::os::unix::fs::symlink(&there, part).expect("a link");
    done(Command::new("chmod").arg("a+x").arg(disk.place().parent().expect("a folder")));
}

/// A cluster, one part of which is on a small disk. `None` where this account may mount none.
async fn cluster(folder: &Folder, part: &str, megabytes: u32) -> Option<(SmallDisk, LocalPostgres)> {
    let postgres = LocalPostgres::start(folder.postgres()).await.expect("starts");
    let place = postgres.home().join("cluster").join(part);
    postgres.stop().await.expect("stops");
    let disk = SmallDisk::new(megabytes);
    if !disk.is_mounted() {
        println!("not tried: this account may not mount a disk");
        return None;
    }
    move_to(&disk, &place);
    Some((disk, LocalPostgres::start(folder.postgres()).await.expect("starts on the small disk")))
}

/// A host on it, and a job that has made its first step.
async fn host_with_a_job(postgres: &LocalPostgres) -> (Host, Client, Job) {
    let host = Host::start_on(postgres.url(), &[]).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("faults", &[]).await));
    let mut job = split_job(&client, json!({"custody": "host"})).await;
    job.step_ok().await;
    (host, client, job)
}

/// Makes a job that takes 8 KB of a table, known by its number.
async fn make(client: &Client, number: usize) -> Reply {
    let metadata: serde_json::Map<String, Value> = (0..16).map(|k| (format!("m{k}"), json!("x".repeat(500)))).collect();
    let body = json!({"model": MODEL, "suffix": format!("n{number}"), "metadata": metadata});
    client
        .call(Method::POST, "/v1/fine_tuning/jobs")
        .header("idempotency-key", &format!("n{number}"))
        .json(&body)
        .send()
        .await
}

/// The ids of all jobs.
async fn jobs(client: &Client) -> Vec<String> {
    let list = client.get("/v1/fine_tuning/jobs?limit=100").await.ok_json();
    assert_eq!(list["has_more"], false);
    let mut found: Vec<String> = list["data"].as_array().expect("a list").iter().map(id).collect();
    found.sort();
    found
}

#[tokio::test]
async fn what_a_full_disk_of_postgres_refuses_leaves_nothing_and_is_done_once_there_is_room() {
    let folder = Folder::new("full").expect("a folder");
    let Some((disk, postgres)) = cluster(&folder, "base", 160).await else { return };
    let (host, client, mut job) = host_with_a_job(&postgres).await;
    let mut made = jobs(&client).await;
    disk.fill();
    let (mut number, mut refused) = (0, Vec::new());
    while refused.len() < 3 {
        let reply = make(&client, number).await;
        if reply.status == 200 {
            made.push(id(&reply.json()));
        } else {
            assert!(["storage_full", "database_unavailable"].contains(&reply.code().as_str()), "{}", reply.text());
            assert_eq!((reply.status, reply.header("retry-after").is_empty()), (503, false), "{}", reply.text());
            refused.push(number);
        }
        number += 1;
        assert!(number < 60, "nothing of 8 KB is refused by a full disk");
    }
    made.sort();
    assert_eq!(jobs(&client).await, made, "what was refused left nothing");
    disk.free();
    for number in refused {
        until("there is room", async || {
            let reply = make(&client, number).await;
            let is_done = reply.status == 200;
            made.extend(is_done.then(|| id(&reply.json())));
            is_done
        })
        .await;
    }
    made.sort();
    assert_eq!(jobs(&client).await, made, "each once");
    job.optim_step(0.01).await.ok();
    job.step_ok().await;
    drop(host);
    postgres.stop().await.expect("stops");
}

/// Postgres stops when it cannot write its log; it may find room by itself when it starts again, or end.
#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_log_of_postgres_had_no_room() {
    let folder = Folder::new("full-log").expect("a folder");
    let Some((disk, postgres)) = cluster(&folder, "pg_wal", 160).await else { return };
    let (host, client, mut job) = host_with_a_job(&postgres).await;
    job.optim_step(0.01).await.ok();
    disk.fill();
    let mut admin = PgConnection::connect(postgres.url()).await.expect("connects");
    let write = "select pg_logical_emit_message(true, 'full', repeat('x', 1000000)), pg_switch_wal()";
    let mut has_room = true;
    for _ in 0..40 {
        has_room = has_room && sqlx::query(write).execute(&mut admin).await.is_ok();
    }
    assert!(!has_room, "40 files of 16 MB found room");
    for _ in 0..20 {
        let reply = client.get(&job.path("")).await;
        if reply.status != 200 {
            reply.refused(503, "database_unavailable");
            assert!(!reply.header("retry-after").is_empty());
        }
    }
    disk.free();
    drop(postgres);
    let postgres = LocalPostgres::start(folder.postgres()).await.expect("starts again");
    until("the database", async || client.get("/readyz").await.status == 200).await;
    assert_eq!(job.view().await["split"]["next_seq"], 4, "three calls were acknowledged");
    job.step_ok().await;
    drop(host);
    postgres.stop().await.expect("stops");
}
