//! A place for blobs that is full: it is called by its name, costs no job more than the steps since its checkpoint, and passes.

use serde_json::json;

use crate::batch::EMBEDDINGS;
use crate::batch::body;
use crate::batch::completed;
use crate::batch::content;
use crate::batch::custom_ids;
use crate::batch::lines;
use crate::batch::parsed;
use crate::batch::uploaded;
use crate::batch::view;
use crate::client::Client;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::host::Host;
use crate::host::until;
use crate::small_disk::SmallDisk;
use crate::world::add_tiny;
use crate::world::id;
use crate::world::make_job;

/// Checkpoints by steps alone.
const EVERY: [(&str, &str); 2] =
    [("BLINDTUNE_JOBS__CHECKPOINT_EVERY_STEPS", "2"), ("BLINDTUNE_JOBS__CHECKPOINT_EVERY_SECS", "3600")];

async fn host_on(disk: &SmallDisk) -> (Host, Client) {
    let (place, full) = (disk.place(), format!("blob_write=full@{}", disk.filler().display()));
    let mut settings = EVERY.to_vec();
    settings.push(("BLINDTUNE_STATE__BLOBS", place.to_str().expect("a text")));
    if !disk.is_mounted() {
        settings.push(("FAILPOINTS", &full));
    }
    let host = Host::start(&settings).await;
    add_tiny(&host).await;
    let client = Client::new(&host.base(), Some(&host.key("full", &[]).await));
    (host, client)
}

#[tokio::test]
async fn a_full_disk_pauses_a_job_which_goes_on_from_its_checkpoint_once_there_is_room() {
    let disk = SmallDisk::new(16);
    let (_host, client) = host_on(&disk).await;
    let expected = HostRun::new(&client, 6, 7, &Count::default()).await.run().await.0;
    let mut run = HostRun::new(&client, 6, 7, &Count::default()).await;
    run.run_to(3).await;
    disk.fill();
    run.run_to(4).await;
    let view = run.job.view().await;
    assert_eq!((&view["status"], &view["error"]["code"]), (&json!("paused"), &json!("storage_full")), "{view}");
    assert_eq!(
        (&view["split"]["next_seq"], &view["split"]["durable_seq"]),
        (&json!(13), &json!(6)),
        "the step is kept"
    );
    let events = client.get(&run.job.path("/events")).await.ok_json();
    assert!(events.to_string().contains("the host's storage is full"), "{events}");

    // Still full: the old checkpoint loads, and steps are taken up to the next one that is due.
    let told = run.job.client.post(&run.job.path("/optim_step"), &json!({"seq": 13, "lr": 0.01})).await;
    assert_eq!(told.refused(409, "step_out_of_order")["expected_seq"], 7);
    let view = run.job.view().await;
    assert_eq!((&view["status"], &view["error"]), (&json!("running"), &json!(null)), "{view}");

    disk.free();
    let (theta, replays) = run.run().await;
    assert!(theta == expected, "the adapters differ");
    assert_eq!(replays, 1, "a run is told once where to go on");
}

#[tokio::test]
async fn what_needs_room_is_refused_by_name_and_taken_once_there_is_some() {
    let disk = SmallDisk::new(16);
    let (_host, client) = host_on(&disk).await;
    let mut job = make_job(&client, json!({})).await;
    job.step_ok().await;
    disk.fill();
    let rows = "{\"text\":\"w5\"}\n".repeat(2000);
    client.upload("rows.jsonl", rows.clone()).await.refused(503, "storage_full");
    client.post(&job.path("/checkpoints"), &json!({})).await.refused(503, "storage_full");
    job.verb("complete").await.refused(503, "storage_full");
    job.step_ok().await;
    assert_eq!(job.status().await, "running");
    disk.free();
    client.upload("rows.jsonl", rows).await.ok();
    client.post(&job.path("/checkpoints"), &json!({})).await.ok();
    job.verb("complete").await.ok();
}

#[tokio::test]
async fn a_features_job_without_room_pauses_and_its_owner_resumes_it() {
    let disk = SmallDisk::new(16);
    let (_host, client) = host_on(&disk).await;
    let rows = id(&client.upload("rows.jsonl", "{\"text\":\"w5\"}\n".repeat(20)).await.ok_json());
    disk.fill();
    let fields = json!({"training_file": rows, "method": {"type": "features", "features": {}}});
    let job = make_job(&client, fields).await;
    until("the job pauses", async || job.status().await == "paused").await;
    assert_eq!(job.view().await["error"]["code"], "storage_full");
    disk.free();
    job.verb("resume").await.ok();
    until("the job ends", async || job.status().await == "succeeded").await;
    assert_eq!(job.view().await["error"], json!(null));
}

#[tokio::test]
async fn a_batch_waits_for_room_and_loses_no_answer() {
    let disk = SmallDisk::new(16);
    let (host, client) = host_on(&disk).await;
    let file = uploaded(&client, &lines(20)).await;
    disk.fill();
    let batch = id(&client.post("/v1/batches", &body(&file, EMBEDDINGS)).await.ok_json());
    until("the batch has met the full disk", async || host.log().contains(&format!("a piece of {batch} failed"))).await;
    assert_eq!(view(&client, &batch).await["status"], "in_progress");
    disk.free();
    let done = completed(&client, &batch).await;
    assert_eq!(done["request_counts"], json!({"total": 20, "completed": 20, "failed": 0}));
    let answers = parsed(&content(&client, &done, "output_file_id").await);
    assert_eq!(custom_ids(&answers).len(), 20);
}
