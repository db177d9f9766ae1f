use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::client_custody::host_and_client;
use crate::driver::Count;
use crate::driver::HostRun;
use crate::host::Host;
use crate::host::text;

const SETTINGS: [(&str, &str); 2] =
    [("BLINDTUNE_JOBS__CHECKPOINT_EVERY_STEPS", "5"), ("BLINDTUNE_JOBS__CHECKPOINT_EVERY_SECS", "3600")];

async fn run(host: &Host, command: &str, folder: &Path) -> Result<String, String> {
    let output = host.cli(&[command, &folder.to_string_lossy()]).await;
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test]
async fn a_run_goes_on_at_a_host_that_was_made_of_a_backup() {
    let (mut host, client) = host_and_client(&SETTINGS).await;
    let expected = HostRun::new(&client, 6, 12, &Count::default()).await.run().await.0;
    let mut going_on = HostRun::new(&client, 6, 12, &Count::default()).await;
    going_on.run_to(7).await;
    let file = client.upload("notes.jsonl", "{\"text\": \"w5 w6\"}\n").await.ok_json();
    let folder = host.scratch("backup");
    let said = run(&host, "backup", &folder).await.expect("a backup beside the running host");
    assert!(said.contains("keys that the host signs with"), "{said}");
    going_on.run_to(9).await; // what came later is lost with the host, and done again
    host.kill9();

    let mut other = Host::to_be_restored(&SETTINGS).await;
    run(&other, "restore", &folder).await.expect("a new host of it");
    other.restart().await;
    let client = client.at(&other.base());
    let id = file["id"].as_str().expect("an id");
    let content = client.get(&format!("/v1/files/{id}/content")).await.ok();
    assert_eq!(content.text(), "{\"text\": \"w5 w6\"}\n");
    going_on.job.client = client;
    let (theta, replays) = going_on.run().await;
    assert!(theta == expected, "the adapters differ");
    assert_eq!(replays, 1, "it is told once where to go on");
}

#[tokio::test]
async fn a_backup_is_its_owners_alone_and_has_a_folder_of_its_own() {
    let (host, _) = host_and_client(&SETTINGS).await;
    let folder = host.scratch("somewhere").join("backup");
    run(&host, "backup", &folder).await.expect("a backup");
    for name in ["manifest.json", "database.dump", "keys/signing_key.pem"] {
        let mode = std::fs::metadata(folder.join(name)).expect("is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
    }
    let refused = run(&host, "backup", &folder).await.expect_err("it is not empty");
    assert!(refused.contains("is not empty"), "{refused}");
}

#[tokio::test]
async fn what_is_no_whole_backup_leaves_the_new_host_empty() {
    let (host, client) = host_and_client(&SETTINGS).await;
    client.upload("notes.jsonl", "{\"text\": \"w5 w6\"}\n").await.ok_json();
    let folder = host.scratch("backup");
    run(&host, "backup", &folder).await.expect("a backup");
    let refused = run(&host, "restore", &folder).await.expect_err("the host has rows already");
    assert!(refused.contains("the database is not empty"), "{refused}");

    let mut other = Host::to_be_restored(&SETTINGS).await;
    let refused = run(&other, "restore", &other.scratch("nothing")).await.expect_err("an empty folder");
    assert!(refused.contains("is not a backup"), "{refused}");
    let blob =
        std::fs::read_dir(folder.join("blobs/files")).expect("blobs").next().expect("one").expect("readable").path();
    let whole = std::fs::read(&blob).expect("a blob");
    std::fs::write(&blob, &whole[1..]).expect("writes");
    let refused = run(&other, "restore", &folder).await.expect_err("a blob is damaged");
    assert!(refused.contains("damaged") && refused.contains("blobs/files/"), "{refused}");
    std::fs::remove_file(&blob).expect("removes");
    let refused = run(&other, "restore", &folder).await.expect_err("a blob is gone");
    assert!(refused.contains("lacks blobs/files/"), "{refused}");
    std::fs::write(&blob, &whole).expect("writes");
    run(&other, "restore", &folder).await.expect("nothing of the tries was left");
    other.restart().await;
    client.at(&other.base()).get("/v1/files").await.ok();
}
