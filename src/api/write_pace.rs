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
    clock: Clock,
    /// Waits for the reader; set while a write is pending.
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    end: Pin<Box<Sleep>>,
}

impl<T> Paced<T> {
    /// A socket at its beginning.
    pub fn new(socket: T, pace: WritePace) -> Self {
        Self { socket, clock: Clock { pace, waited: Duration::ZERO, bytes: 0 }, waiting: None }
    }

    /// What became of a write: a pending one goes on until the window ends, a done one is counted.
    fn after(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(done) => {
                let waited = self.waiting.take().map_or(Duration::ZERO, |waiting| waiting.since.elapsed());
                self.clock.count(waited, *done.as_ref().unwrap_or(&0));
                Poll::Ready(done)
            }
            Poll::Pending => {
                let left = self.clock.left();
                let begin = || Waiting { since: Instant::now(), end: Box::pin(tokio::time::sleep(left)) };
                ready!(self.waiting.get_or_insert_with(begin).end.as_mut().poll(context));
                Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the answer is read too slowly")))
            }
        }
    }
}

/// The time that a reader has taken in the present window.
struct Clock {
    pace: WritePace,
    waited: Duration,
    bytes: u64,
}

impl Clock {
    /// How long the next bytes may take.
    fn left(&self) -> Duration {
        self.pace.window.saturating_sub(self.waited)
    }

    /// Counts bytes that were taken. A window that has its bytes ends at once: what was taken early buys no pause later.
    fn count(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited;
        self.bytes += bytes as u64;
        // A rate of zero bounds pauses alone.
        let least = (self.pace.bytes_per_sec as f64 * self.pace.window.as_secs_f64()).max(1.0);
        if self.bytes as f64 >= least {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
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
    use tokio::io::duplex;

    use super::*;

    const PACE: WritePace = WritePace { window: Duration::from_secs(10), bytes_per_sec: 100 };

    /// How many portions of a size a reader gets that takes each after so many seconds, of at most 1000.
    fn taken(pace: WritePace, seconds: u64, bytes: usize) -> usize {
        let mut clock = Clock { pace, waited: Duration::ZERO, bytes: 0 };
        let takes = Duration::from_secs(seconds);
        let in_time = |_: &usize| {
            let is_in_time = takes < clock.left();
            clock.count(takes, bytes);
            is_in_time
        };
        (0..1000).take_while(in_time).count()
    }

    #[test]
    fn a_reader_is_ended_that_is_slower_than_the_pace() {
        assert_eq!(taken(PACE, 0, 1), 1000, "what is taken at once takes no time");
        assert_eq!(taken(PACE, 9, 1000), 1000);
        assert_eq!(taken(PACE, 10, 1_000_000), 0, "a pause");
        assert_eq!(taken(PACE, 1, 99), 9, "too slow over the window");
        let pauses = WritePace { bytes_per_sec: 0, ..PACE };
        assert_eq!((taken(pauses, 9, 1), taken(pauses, 10, 1000)), (1000, 0), "pauses alone are bounded");
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_ended_and_one_with_nothing_to_read_is_not() {
        let pace = WritePace { window: Duration::from_millis(20), ..PACE };
        let (ours, mut theirs) = duplex(1000);
        let mut ours = Paced::new(ours, pace);
        ours.write_all(b"ping").await.expect("is taken");
        tokio::time::sleep(pace.window * 3).await;
        ours.write_all(b"pong").await.expect("is taken");
        let mut taken = [0; 8];
        theirs.read_exact(&mut taken).await.expect("is there");
        let ended = ours.write_all(&[0; 10_000]).await.expect_err("nobody reads");
        assert_eq!(ended.kind(), ErrorKind::TimedOut);
    }
}
