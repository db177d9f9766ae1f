//! A tenant that sends anything to any operation, with ids of its own, of another and of nobody: the other's rows and blobs are, bit for
//! bit, what they were.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use sha2::Digest;
use sha2::Sha256;
use sqlx::Connection;
use sqlx::PgConnection;

use blindtune::store::project_tables;

use crate::host::Host;
use crate::isolation::Ids;
use crate::isolation::Operation;
use crate::isolation::operation;
use crate::isolation::operations;
use crate::isolation::tenant;
use crate::random::random;

const REQUESTS: usize = 1000;
/// Three times what lies between two writes of the host's counts.
const SETTLED: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(200);
/// What the host changes by itself: it holds the leases of open jobs, and tries to deliver messages.
const OWN_ACCORD: [&str; 8] = [
    "lease_until",
    "attempts",
    "next_attempt_at",
    "last_status",
    "last_error",
    "state",
    "delivered_at",
    "last_used_at",
];

/// The hash of a project's rows, table by table, and of its blobs.
async fn digest(host: &Host, project: &str) -> BTreeMap<&'static str, String> {
    let mut connection = PgConnection::connect(host.database()).await.expect("connects");
    let id: uuid::Uuid = sqlx::query_scalar("select id from projects where name = $1")
        .bind(project)
        .fetch_one(&mut connection)
        .await
        .expect("the project");
    let mut found = BTreeMap::new();
    for table in project_tables::TABLES {
        let mut rows: Vec<String> =
            sqlx::query_scalar(&table.rows()).bind(id).fetch_all(&mut connection).await.expect("rows");
        for row in &mut rows {
            let mut fields: serde_json::Value = serde_json::from_str(row).expect("a row");
            OWN_ACCORD.iter().for_each(|column| drop(fields.as_object_mut().expect("an object").remove(*column)));
            *row = fields.to_string();
        }
        rows.sort();
        found.insert(table.name, hex::encode(Sha256::digest(format!("{rows:?}"))));
    }
    let blobs: Vec<String> =
        sqlx::query_scalar(project_tables::BLOBS).bind(id).fetch_all(&mut connection).await.expect("blobs");
    assert!(blobs.len() >= 5, "a file, its index, adapters, a checkpoint, a part: {blobs:?}");
    let mut hash = Sha256::new();
    for blob in blobs {
        hash.update(std::fs::read(host.state().join("blobs").join(&blob)).expect("a blob"));
    }
    connection.close().await.expect("closes");
    found.insert("blobs", hex::encode(hash.finalize()));
    found
}

/// The digest once nothing has changed for some seconds: the host writes what it counts of requests each second, after they are
/// answered.
async fn settled(host: &Host, project: &str) -> BTreeMap<&'static str, String> {
    let mut last = digest(host, project).await;
    let mut since = Instant::now();
    while since.elapsed() < SETTLED {
        tokio::time::sleep(POLL).await;
        let now = digest(host, project).await;
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// Ids of several tenants, each drawn by itself.
fn mixed(random: &mut StdRng, tenants: [&Ids; 2]) -> Ids {
    let nobody = Ids::random();
    let all = [tenants[0], tenants[1], &nobody];
    let mut draw = |of: fn(&Ids) -> &String| of(all.choose(random).expect("three")).clone();
    Ids {
        job: draw(|ids| &ids.job),
        file: draw(|ids| &ids.file),
        model: draw(|ids| &ids.model),
        forward: draw(|ids| &ids.forward),
        key: draw(|ids| &ids.key),
        checkpoint: draw(|ids| &ids.checkpoint),
        upload: draw(|ids| &ids.upload),
        part: draw(|ids| &ids.part),
        webhook: draw(|ids| &ids.webhook),
        delivery: draw(|ids| &ids.delivery),
        batch: draw(|ids| &ids.batch),
        requests: draw(|ids| &ids.requests),
    }
}

/// A third of the bodies as they should be, a third cut, a third with other bytes in them.
fn spoilt(random: &mut StdRng, mut body: Vec<u8>) -> Vec<u8> {
    match random.random_range(0..3) {
        1 => body.truncate(random.random_range(0..=body.len())),
        2 => (0..body.len().min(3)).for_each(|_| {
            let at = random.random_range(0..body.len());
            body[at] = random.random();
        }),
        _ => {}
    }
    body
}

#[tokio::test]
async fn a_thousand_random_requests_of_one_tenant_change_nothing_of_anothers() {
    let mut random = random("a random neighbour");
    let (owner, _, theirs) = tenant().await;
    let (stranger, _, own) = tenant().await;
    let names = operations(&stranger).await;
    let before = settled(owner.host, &owner.project).await;
    let (mut went_well, mut refused) = (0, 0);
    for _ in 0..REQUESTS {
        let name = names.choose(&mut random).expect("operations");
        let ids = mixed(&mut random, [&own, &theirs]);
        let Operation { method, path, media, body, .. } = operation(name, &ids).expect("in the table");
        let reply = stranger.client.call(method, &path).body(media, spoilt(&mut random, body)).send().await;
        assert!(reply.status < 500, "{name}: {} {}", reply.status, reply.text());
        *(if reply.status < 400 { &mut went_well } else { &mut refused }) += 1;
    }
    assert!(went_well >= 50 && refused >= 50, "{went_well} went well, {refused} were refused");
    let after = settled(owner.host, &owner.project).await;
    let changed: Vec<_> = after.iter().filter(|(table, hash)| before.get(*table) != Some(hash)).collect();
    assert!(changed.is_empty(), "{changed:?} were {before:?}");
}
