//! A network between a host and its Postgres that can go wrong: what stands on one socket is passed on to another, as long as it is well.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Name of Postgres's socket in its folder.
const SOCKET: &str = ".s.PGSQL.5432";
const PIECE: usize = 64 * 1024;

/// How the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything is passed on.
    Fair,
    /// Nothing is, and nobody is told.
    BlackHole,
    /// Each piece comes so much later.
    Slow(Duration),
    /// One byte after the other.
    Slices,
    /// Connections are ended as soon as something comes by.
    Resets,
}

/// The network.
pub struct Proxy {
    /// Of its socket; removed with it.
    folder: TempDir,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    /// Stands before the Postgres of this address.
    pub fn before(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, host) = url.split_once("?host=").expect("an address with a folder");
        let real = PathBuf::from(percent_encoding::percent_decode_str(host).decode_utf8().expect("a path").as_ref());
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("listens");
        let (weather, seen) = watch::channel(Weather::Fair);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if let Ok(far) = UnixStream::connect(real.join(SOCKET)).await {
                    pass_on(near, far, &seen);
                }
            }
        });
        Self { folder, weather }
    }

    /// The address of the same database by way of this network.
    pub fn url(&self, url: &str) -> String {
        let (database, _) = url.split_once("?host=").expect("an address with a folder");
        let folder: String =
            url::form_urlencoded::byte_serialize(self.folder.path().as_os_str().as_encoded_bytes()).collect();
        format!("{database}?host={folder}")
    }

    /// Changes the weather, for all connections at once.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

fn pass_on(near: UnixStream, far: UnixStream, weather: &watch::Receiver<Weather>) {
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let (there, back) = (weather.clone(), weather.clone());
    tokio::spawn(async move {
        // When one way ends both do, as with a reset.
        tokio::select! {
            _ = one_way(near_in, far_out, there) => {}
            _ = one_way(far_in, near_out, back) => {}
        }
    });
}

async fn one_way(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut weather: watch::Receiver<Weather>,
) -> Option<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        let now = *weather.wait_for(|weather| *weather != Weather::BlackHole).await.ok()?;
        match now {
            Weather::Resets => return None,
            Weather::Slices => {
                for byte in &buffer[..read] {
                    to.write_all(&[*byte]).await.ok()?;
                    to.flush().await.ok()?;
                }
                continue;
            }
            Weather::Slow(pause) => tokio::time::sleep(pause).await,
            Weather::Fair | Weather::BlackHole => {}
        }
        to.write_all(&buffer[..read]).await.ok()?;
    }
}
