//! `blindtuned serve`.

use std::io::Write;

use clap::Args;
use figment::value::Value;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

use crate::app::Host;
use crate::config::Config;

/// File descriptors besides the sockets of clients: database, blobs, models, logs.
const OTHER_FILES: u64 = 512;

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address to listen on (server.host).
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on; 0 picks a free one (server.port).
    #[arg(long)]
    port: Option<u16>,
    /// CPU threads of the mathematics; 0 means all cores (engine.threads).
    #[arg(long)]
    threads: Option<usize>,
}

impl Serve {
    /// The flags as settings.
    pub fn flags(&self) -> Vec<(&'static str, Value)> {
        let mut flags = Vec::new();
        flags.extend(self.host.clone().map(|host| ("server.host", Value::from(host))));
        flags.extend(self.port.map(|port| ("server.port", Value::from(port))));
        flags.extend(self.threads.map(|threads| ("engine.threads", Value::from(threads))));
        flags
    }

    /// Runs the host until SIGTERM or Ctrl-C. Standard output gets one line, `listening on http://...`.
    pub async fn run(self, config: Config) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        raise_file_limit(config.server.max_connections as u64 + OTHER_FILES);
        let host = Host::open(config).await?;
        let ready = |address| {
            println!("listening on http://{address}");
            // A closed pipe is no reason to stop serving.
            let _ = std::io::stdout().flush();
            tracing::info!("listening on http://{address}; the API reference is at http://{address}/docs");
        };
        host.run(ready, stop).await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Each socket is a file descriptor, and many systems give a process 1,024 unless it asks for more.
fn raise_file_limit(wanted: u64) {
    match rlimit::increase_nofile_limit(wanted) {
        Ok(got) if got >= wanted => {}
        Ok(got) => tracing::warn!(got, wanted, "only {got} file descriptors of {wanted}: lower server.max_connections"),
        Err(error) => tracing::warn!(%error, "the number of file descriptors could not be raised: {error}"),
    }
}
