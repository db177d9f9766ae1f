//! The host's own Postgres: its life, its end, and what it survives.

use std::fs::Permissions;
use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use blindtune::store::PoolSettings;
use blindtune::store::StoreError;
use blindtune::store::local_postgres::LocalPostgres;
use blindtune::store::local_postgres::LocalPostgresSettings;
use blindtune::store::pool;
use blindtune::store::projects;

use crate::TestResult;
use crate::postgres::Folder;

/// Tells a run of this test binary that it is to be a host, and where.
const HOST_FOLDER: &str = "BLINDTUNE_TEST_HOST_FOLDER";

async fn project_names(url: &str) -> Result<Vec<String>, StoreError> {
    let pool = pool::connect(url, PoolSettings::default()).await?;
    pool::migrate(&pool).await?;
    let mut tx = pool::begin(&pool).await?;
    let found = projects::list(&mut tx).await?;
    projects::find_or_create(&mut tx, &format!("project {}", found.len())).await?;
    pool::commit(tx).await?;
    pool.close().await;
    Ok(found.into_iter().map(|project| project.name).collect())
}

fn postmaster(folder: &Folder) -> Option<u32> {
    let text = std::fs::read_to_string(folder.path().join("postgres/cluster/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok()
}

fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn kill(pid: u32) {
    let done = Command::new("/bin/sh").args(["-c", "kill -KILL \"$1\"", "sh", &pid.to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()), "process {pid} is there");
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart_and_nothing_runs_on() -> TestResult {
    let folder = Folder::new("restart")?;
    let first = LocalPostgres::start(folder.postgres()).await?;
    assert!(project_names(first.url()).await?.is_empty());
    let pid = postmaster(&folder).ok_or("it runs")?;
    first.stop().await?;
    assert!(!is_running(pid));
    let second = LocalPostgres::start(LocalPostgresSettings { durable: true, ..folder.postgres() }).await?;
    assert_eq!(project_names(second.url()).await?, ["project 0"]);
    Ok(second.stop().await?)
}

#[tokio::test]
async fn a_second_process_is_a_guest_and_its_leaving_changes_nothing() -> TestResult {
    let folder = Folder::new("guest")?;
    let owner = LocalPostgres::start(folder.postgres()).await?;
    let guest = LocalPostgres::start(folder.postgres()).await?;
    assert!(owner.is_owner() && !guest.is_owner() && guest.url() == owner.url());
    guest.stop().await?;
    project_names(owner.url()).await?;
    Ok(owner.stop().await?)
}

#[tokio::test]
async fn a_postgres_that_is_killed_is_started_again() -> TestResult {
    let folder = Folder::new("killed")?;
    let postgres = LocalPostgres::start(folder.postgres()).await?;
    project_names(postgres.url()).await?;
    let before = postmaster(&folder).ok_or("it runs")?;
    kill(before);
    let deadline = Instant::now() + Duration::from_secs(45);
    let names = loop {
        match project_names(postgres.url()).await {
            Ok(names) => break names,
            Err(error) => assert!(matches!(error, StoreError::Unavailable(_)) && Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(names, ["project 0"]);
    Ok(postgres.stop().await?)
}

/// Not a test by itself: what [`start_host`] runs in a process of its own.
#[tokio::test]
async fn host_to_be_killed() -> TestResult {
    let Some(folder) = std::env::var_os(HOST_FOLDER) else { return Ok(()) };
    let folder = Path::new(&folder);
    let settings = LocalPostgresSettings {
        data_dir: folder.join("postgres"),
        bin_dir: None,
        durable: true,
        log: folder.join("postgres.log"),
    };
    let postgres = LocalPostgres::start(settings).await?;
    project_names(postgres.url()).await?;
    println!("host is up");
    std::future::pending::<TestResult>().await
}

fn start_host(folder: &Folder) -> Result<Child, Box<dyn std::error::Error>> {
    let mut host = Command::new(std::env::current_exe()?)
        .args(["--exact", "local_postgres::host_to_be_killed", "--nocapture"])
        .env(HOST_FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = host.stdout.take().ok_or("output")?;
    let up = BufReader::new(output).lines().map_while(Result::ok).any(|line| line.contains("host is up"));
    assert!(up, "the host came up");
    Ok(host)
}

/// The watchdog: the host's child that is a shell.
fn watchdog_of(host: u32) -> Option<u32> {
    let pids = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{host}\n")) && command.starts_with("/bin/sh")
    })
}

#[tokio::test]
async fn the_postgres_of_a_killed_host_ends_by_itself_with_its_data_whole() -> TestResult {
    let folder = Folder::new("watchdog")?;
    let mut host = start_host(&folder)?;
    let pid = postmaster(&folder).ok_or("it runs")?;
    host.kill()?;
    host.wait()?;
    wait_until("Postgres ends with its host", || !is_running(pid));
    let next = LocalPostgres::start(folder.postgres()).await?;
    assert_eq!(project_names(next.url()).await?, ["project 0"]);
    Ok(next.stop().await?)
}

#[tokio::test]
async fn a_host_that_starts_right_after_a_kill_finds_its_data() -> TestResult {
    let folder = Folder::new("quick")?;
    let mut host = start_host(&folder)?;
    host.kill()?;
    host.wait()?;
    let next = LocalPostgres::start(folder.postgres()).await?;
    assert!(next.is_owner());
    assert_eq!(project_names(next.url()).await?, ["project 0"]);
    Ok(next.stop().await?)
}

#[tokio::test]
async fn a_postgres_that_lost_host_and_watchdog_is_adopted_and_ends_with_its_new_host() -> TestResult {
    let folder = Folder::new("adopt")?;
    let mut host = start_host(&folder)?;
    let pid = postmaster(&folder).ok_or("it runs")?;
    kill(watchdog_of(host.id()).ok_or("a watchdog")?);
    host.kill()?;
    host.wait()?;
    let next = LocalPostgres::start(folder.postgres()).await?;
    assert_eq!(postmaster(&folder), Some(pid), "the same process serves on");
    assert_eq!(project_names(next.url()).await?, ["project 0"]);
    next.stop().await?;
    wait_until("it is gone", || !is_running(pid));
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_was_half_made_is_made_anew() -> TestResult {
    let folder = Folder::new("half")?;
    std::fs::create_dir_all(folder.path().join("postgres/cluster.tmp/base"))?;
    let postgres = LocalPostgres::start(folder.postgres()).await?;
    project_names(postgres.url()).await?;
    Ok(postgres.stop().await?)
}

#[tokio::test]
async fn a_long_path_does_not_keep_it_from_starting() -> TestResult {
    let folder = Folder::new("long")?;
    let settings =
        LocalPostgresSettings { data_dir: folder.path().join("x".repeat(100)).join("postgres"), ..folder.postgres() };
    let postgres = LocalPostgres::start(settings).await?;
    project_names(postgres.url()).await?;
    Ok(postgres.stop().await?)
}

#[tokio::test]
async fn a_folder_that_the_account_of_postgres_cannot_reach_does_not_keep_it_from_starting() -> TestResult {
    let folder = Folder::new("locked")?;
    let locked = folder.path().join("home");
    std::fs::create_dir(&locked)?;
    std::fs::set_permissions(&locked, Permissions::from_mode(0o700))?;
    let settings = LocalPostgresSettings { data_dir: locked.join("postgres"), ..folder.postgres() };
    let first = LocalPostgres::start(settings.clone()).await?;
    project_names(first.url()).await?;
    first.stop().await?;
    let second = LocalPostgres::start(settings).await?;
    assert_eq!(project_names(second.url()).await?, ["project 0"], "it finds the same place again");
    let home = second.home().to_owned();
    second.stop().await?;
    if let Some(fallback) = home.parent().filter(|_| !home.starts_with(folder.path())) {
        std::fs::remove_dir_all(fallback)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_folder_of_programs_is_named() -> TestResult {
    let folder = Folder::new("wrong")?;
    let settings = LocalPostgresSettings { bin_dir: Some("/nonexistent".into()), ..folder.postgres() };
    let error = LocalPostgres::start(settings).await.err().ok_or("it cannot start")?;
    assert!(error.to_string().contains("/nonexistent"), "{error}");
    Ok(())
}
