//! What the host writes is for its own account alone.

use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use crate::client::Client;
use crate::host::Host;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("is there").permissions().mode() & 0o777
}

/// Everything below a folder, links not followed, and what Postgres itself keeps left out: its files come and go.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() && !path.ends_with("cluster") {
            found.extend(below(&path));
        }
        found.push(path);
    }
    found
}

/// Paths that another account could read, enter or write.
fn open_to_others(paths: &[PathBuf]) -> Vec<String> {
    let open = paths.iter().filter(|path| mode(path) & 0o077 != 0);
    open.map(|path| format!("{} {:o}", path.display(), mode(path))).collect()
}

#[tokio::test]
async fn files_and_folders_of_the_state_are_closed_to_other_accounts() {
    let host = Host::start(&[]).await;
    let client = Client::new(&host.base(), Some(&host.key("one", &[]).await));
    client.upload("a.jsonl", "{\"text\": \"w5\"}\n").await.ok();
    let (state, found) = (host.state(), below(&host.state()));
    assert!(found.iter().any(|path| path.starts_with(state.join("blobs/files")) && path.is_file()), "{found:#?}");
    assert!(found.contains(&state.join("keys/signing_key.pem")), "{found:#?}");
    assert_eq!((mode(&state), open_to_others(&found)), (0o700, Vec::<String>::new()));
}

#[tokio::test]
async fn a_private_postgres_of_another_account_reaches_its_data_and_nobody_else_does() {
    let mut host = Host::start_on("", &[("BLINDTUNE_DATABASE__DURABLE", "false")]).await;
    let state = host.state();
    let is_root = std::fs::metadata("/proc/self").expect("this process").uid() == 0;
    assert_eq!(mode(&state), if is_root { 0o711 } else { 0o700 });
    assert!(state.join("postgres/cluster/PG_VERSION").is_file(), "the data is where it was asked for");
    assert_eq!(open_to_others(&below(&state)), Vec::<String>::new());
    host.signal("TERM");
    assert!(host.ended(Duration::from_secs(60)).await.success(), "{}", host.log());
}
