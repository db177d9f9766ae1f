//! The real host as a child process, and its command line.
//!
//! Nothing is left behind, not even by a test that panics or a run that is killed: a small shell waits for the end of the test
//! process and then ends the host, as in `postgres.rs` for folders.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Output;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use sqlx::Connection;
use sqlx::PgConnection;

use crate::client::signature;
use crate::postgres;
use crate::postgres::Folder;

static PORTS: AtomicU16 = AtomicU16::new(0);

/// A start takes well under a second on an idle machine.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks at something that another process does.
pub const POLL: Duration = Duration::from_millis(20);
/// Nothing that a test waits for takes longer.
pub const WITHIN: Duration = Duration::from_secs(60);

/// A host and where its state lies. It ends with this value.
pub struct Host {
    folder: Arc<Folder>,
    database: String,
    settings: Vec<(String, String)>,
    port: u16,
    running: Option<Running>,
    /// Signatures of the keys that it made by the command line; its log may hold none of them.
    signatures: Mutex<Vec<String>>,
}

struct Running {
    child: Child,
    watchdog: Child,
}

impl Running {
    /// Ends the watchdog first: it must never signal a number that was given out again.
    fn reap(mut self) -> ExitStatus {
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        self.child.wait().expect("the host is a child of this process")
    }
}

impl Host {
    /// Starts a host on a fresh database, with settings such as `("BLINDTUNE_JOBS__LEASE_SECS", "3")`.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let database = postgres::database().await;
        database.pool.close().await;
        Self::start_on(&database.url, settings).await
    }

    /// Starts a host on this database.
    pub async fn start_on(database: &str, settings: &[(&str, &str)]) -> Self {
        let folder = Arc::new(Folder::new("host").expect("a folder"));
        Self::start_in(folder, database.to_owned(), 0, settings).await
    }

    /// Starts two hosts at once on this database, with one state.
    pub async fn start_two_on(database: &str) -> (Self, Self) {
        let folder = Arc::new(Folder::new("host").expect("a folder"));
        let start = || Self::start_in(Arc::clone(&folder), database.to_owned(), 0, &[]);
        tokio::join!(start(), start())
    }

    /// Starts another host on the same database, with a state of its own; gives what it said, if it ended instead.
    pub async fn start_apart(&self, prepare: impl FnOnce(&Path)) -> Result<Self, String> {
        let folder = Arc::new(Folder::new("host").expect("a folder"));
        let mut host = Self::stopped(folder, self.database.clone(), 0, &[]);
        std::fs::create_dir_all(host.state()).expect("a folder");
        prepare(&host.state());
        let probe = host.cli(&["keys", "list"]).await;
        if !probe.status.success() {
            let mut child = host.spawn();
            let status = tokio::task::spawn_blocking(move || child.wait()).await.expect("joins").expect("ends");
            assert!(!status.success(), "the command line was refused and the host was not");
            return Err(host.log());
        }
        host.restart().await;
        Ok(host)
    }

    /// Starts another host on the same database and the same state.
    pub async fn start_beside(&self, settings: &[(&str, &str)]) -> Self {
        Self::start_in(Arc::clone(&self.folder), self.database.clone(), 0, settings).await
    }

    /// A host that has nothing yet, and does not run: `restore` fills it, `restart` starts it.
    pub async fn to_be_restored(settings: &[(&str, &str)]) -> Self {
        let folder = Arc::new(Folder::new("host").expect("a folder"));
        Self::stopped(folder, postgres::empty_database().await, 0, settings)
    }

    /// Starts a host on a port that no outgoing connection is given, so that a restart finds it free.
    pub async fn start_to_restart(settings: &[(&str, &str)]) -> Self {
        let database = postgres::database().await;
        database.pool.close().await;
        let folder = Arc::new(Folder::new("host").expect("a folder"));
        Self::start_in(folder, database.url, free_port(), settings).await
    }

    async fn start_in(folder: Arc<Folder>, database: String, port: u16, settings: &[(&str, &str)]) -> Self {
        let mut host = Self::stopped(folder, database, port, settings);
        host.restart().await;
        host
    }

    fn stopped(folder: Arc<Folder>, database: String, port: u16, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { folder, database, settings, port, running: None, signatures: Mutex::default() }
    }

    /// A host that is about to start on this database: nothing is waited for.
    pub fn begin_on(database: &str) -> Self {
        let folder = Arc::new(Folder::new("host").expect("a folder"));
        let mut host = Self::stopped(folder, database.to_owned(), 0, &[]);
        let child = host.spawn();
        let watchdog = watch(child.id());
        host.running = Some(Running { child, watchdog });
        host
    }

    /// Kills the host and starts it again with a further setting.
    pub async fn restart_with(&mut self, name: &str, value: &str) {
        self.kill9();
        self.set(name, value);
        self.restart().await;
    }

    /// Gives a host that does not run a further setting.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the host again, on the port that it had.
    pub async fn restart(&mut self) {
        assert!(self.running.is_none(), "the host runs already");
        let mut child = self.spawn();
        let output = child.stdout.take().expect("is piped");
        let watchdog = watch(child.id());
        self.running = Some(Running { child, watchdog });
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let line = tokio::task::spawn_blocking(move || receive.recv_timeout(START_WITHIN)).await.expect("joins");
        let line = line.unwrap_or_else(|_| panic!("the host did not start:\n{}", self.log()));
        let port = line.strip_prefix("listening on http://").and_then(|address| address.rsplit_once(':'));
        self.port = port.and_then(|(_, port)| port.parse().ok()).unwrap_or_else(|| panic!("not an address: {line}"));
    }

    fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log");
        self.command()
            .args(["serve", "--threads", "1", "--port", &self.port.to_string()])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the host starts")
    }

    /// The program with this host's state and database.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blindtuned"));
        command.arg("--state-dir").arg(self.state()).args(["--database-url", &self.database]);
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        // Tests share a host and compare answers to the bit: no test's requests may share a pass with another's.
        command.env("BLINDTUNE_ENGINE__STACK_TOKENS", "0");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the command line beside the host.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::from(self.command());
        command.args(arguments).output().await.expect("the program runs")
    }

    /// Makes a key for a project by the command line.
    pub async fn key(&self, project: &str, more: &[&str]) -> String {
        self.key_with_id(project, more).await.1
    }

    /// Makes a key, and gives its id as well.
    pub async fn key_with_id(&self, project: &str, more: &[&str]) -> (String, String) {
        let output = self.cli(&[&["keys", "create", "--project", project], more].concat()).await;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{err}");
        let id = err.lines().find_map(|line| line.split_once(": store").map(|(id, _)| id.to_owned())).expect("an id");
        let key = out.trim().to_owned();
        self.signatures.lock().expect("no test panicked in it").push(signature(&key).to_owned());
        (id, key)
    }

    /// Offers a backbone by the command line.
    pub async fn add_model(&self, folder: &Path, name: &str) {
        let output = self.cli(&["models", "add", &folder.to_string_lossy(), "--name", name]).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// `http://127.0.0.1:port`.
    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:port`, for a socket.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where keys and blobs are.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A folder of the test's own beside the state; removed with it.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        path
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("host.log")
    }

    /// What the host has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The address of its database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the host runs").child.id()
    }

    /// A field of `/proc/<pid>/status` in kB, `VmHWM` for example.
    pub fn memory_kb(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the host runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect("the field");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Sends a signal, `TERM` for example.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("/bin/sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid]).status();
        assert!(sent.expect("a shell").success(), "signal {name}");
    }

    /// Whether a signal has stopped the process.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the host runs");
        stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('T'))
    }

    /// Ends the process without a chance to tidy up.
    pub fn kill9(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            running.reap();
        }
    }

    /// Kills the host and starts it again, as if its leases had ended meanwhile.
    pub async fn crash(&mut self) {
        self.kill9();
        self.end_leases().await;
        self.restart().await;
    }

    async fn end_leases(&self) {
        let mut connection = PgConnection::connect(&self.database).await.expect("connects");
        let end = "update jobs set lease_until = now() where lease_owner is not null;
                   update batches set lease_until = now() where lease_owner is not null";
        sqlx::raw_sql(end).execute(&mut connection).await.expect("ends");
        connection.close().await.expect("closes");
    }

    /// Starts the host again with a failpoint armed.
    pub async fn arm(&mut self, failpoint: &str) {
        self.settings.push(("FAILPOINTS".to_owned(), failpoint.to_owned()));
        self.crash().await;
    }

    /// Waits for the failpoint to end the process, and starts it again without one, as if its leases had ended meanwhile.
    pub async fn after_failpoint(&mut self) {
        assert!(!self.ended(WITHIN).await.success(), "the failpoint was not reached");
        self.settings.retain(|(name, _)| name != "FAILPOINTS");
        self.end_leases().await;
        self.restart().await;
    }

    /// Waits for the process to end by itself.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            let running = self.running.as_mut().expect("the host runs");
            if running.child.try_wait().expect("is a child").is_some() {
                return self.running.take().expect("the host runs").reap();
            }
            assert!(Instant::now() < deadline, "the host still runs after {within:?}:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            return;
        }
        let log = self.log();
        for signature in self.signatures.get_mut().expect("no test panicked in it") {
            assert!(!log.contains(signature.as_str()), "the log holds the signature of a key");
        }
    }
}

/// Polls until `holds` says so.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let polling = async {
        while !holds().await {
            tokio::time::sleep(POLL).await;
        }
    };
    assert!(tokio::time::timeout(WITHIN, polling).await.is_ok(), "not within {WITHIN:?}: {what}");
}

/// A free port below those that the system gives to outgoing connections.
fn free_port() -> u16 {
    let first = 20_000 + (std::process::id() % 8_000) as u16;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let offset = PORTS.fetch_add(1, Ordering::Relaxed);
    (first + offset..32_000).find(is_free).expect("a free port")
}

/// Kills the process when this one is gone.
fn watch(pid: u32) -> Child {
    Command::new("/bin/sh")
        .args(["-c", "trap '' HUP INT TERM; read -r _; kill -s KILL \"$1\"", "sh", &pid.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a shell")
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
