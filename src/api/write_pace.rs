//! How fast an answer must be read. Owns the time that a reader may take over what is written to its socket, so that none holds an
//! answer for long; must never count the time in which there is nothing to write.

use std::io;
use std::io::ErrorKind;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio::time::Sleep;

/// What readers are held to.
#[derive(Debug, Clone, Copy)]
pub struct WritePace {
    /// A reader may take nothing for this long; the rate is looked at over as much time.
    pub window: Duration,
    /// Bytes a second, at least.
    pub bytes_per_sec: u64,
}

/// A socket whose reader is held to a pace.
pub struct Paced<T> {
    socket: T,
    pace: WritePace,
    /// Waits for the reader; set while a write is pending.
    waiting: Option<Waiting>,
    waited_in_window: Duration,
    bytes_in_window: u64,
}

struct Waiting {
    since: Instant,
    end: Pin<Box<Sleep>>,
}

impl<T> Paced<T> {
    /// A socket at its beginning.
    pub fn new(socket: T, pace: WritePace) -> Self {
        Self { socket, pace, waiting: None, waited_in_window: Duration::ZERO, bytes_in_window: 0 }
    }

    /// What became of a write: a pending one goes on until the window ends, a done one is counted.
    fn after(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(done) => {
                self.count(*done.as_ref().unwrap_or(&0));
                Poll::Ready(done)
            }
            Poll::Pending => {
                let left = self.pace.window.saturating_sub(self.waited_in_window);
                let waiting = self.waiting.get_or_insert_with(|| Waiting {
                    since: Instant::now(),
                    end: Box::pin(tokio::time::sleep(left)),
                });
                ready!(waiting.end.as_mut().poll(context));
                Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the answer is read too slowly")))
            }
        }
    }

    /// Counts bytes that were taken. A window that has its bytes ends at once: what was taken early buys no pause later.
    fn count(&mut self, bytes: usize) {
        if let Some(waiting) = self.waiting.take() {
            self.waited_in_window += waiting.since.elapsed();
        }
        self.bytes_in_window += bytes as u64;
        // A rate of zero bounds pauses alone.
        let least = (self.pace.bytes_per_sec as f64 * self.pace.window.as_secs_f64()).max(1.0);
        if self.bytes_in_window as f64 >= least {
            (self.waited_in_window, self.bytes_in_window) = (Duration::ZERO, 0);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.after(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, parts);
        self.after(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::io::AsyncWriteExt;
    use tokio::io::DuplexStream;
    use tokio::io::duplex;

    use super::*;

    const PACE: WritePace = WritePace { window: Duration::from_secs(10), bytes_per_sec: 100 };

    /// A paced end whose buffer takes so few bytes, and the reader's end.
    fn pipe(buffer: usize, pace: WritePace) -> (Paced<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(buffer);
        (Paced::new(ours, pace), theirs)
    }

    /// Reads so many bytes every so many seconds, of an answer of 10,000; gives how the writing ended, and the seconds that it took.
    async fn read_by(bytes: usize, seconds: u64, pace: WritePace) -> (io::Result<()>, u64) {
        let (mut ours, mut theirs) = pipe(1000, pace);
        let begun = Instant::now();
        let reading = async {
            let mut taken = vec![0; bytes];
            loop {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                let _ = theirs.read(&mut taken).await; // the end is told by the writer
            }
        };
        let written = tokio::select! {
            written = ours.write_all(&[0; 10_000]) => written,
            () = reading => unreachable!("reads for ever"),
        };
        (written, begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_or_little_is_ended() {
        assert!(read_by(1000, 9, PACE).await.0.is_ok(), "keeps the pace");
        let (ended, after) = read_by(1000, 100, PACE).await;
        assert_eq!((ended.map_err(|error| error.kind()), after), (Err(ErrorKind::TimedOut), 10));
        let (ended, after) = read_by(50, 1, PACE).await;
        assert_eq!((ended.map_err(|error| error.kind()), after), (Err(ErrorKind::TimedOut), 10));
        assert!(read_by(50, 1, WritePace { bytes_per_sec: 0, ..PACE }).await.0.is_ok(), "no rate, and no long pause");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_nothing_to_write_may_wait() {
        let (mut ours, mut theirs) = pipe(1000, PACE);
        for _ in 0..3 {
            ours.write_all(b"ping").await.expect("is taken");
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        let mut taken = [0; 12];
        theirs.read_exact(&mut taken).await.expect("is there");
    }
}
