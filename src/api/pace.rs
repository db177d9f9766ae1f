//! How fast a body must come. Owns the time that a client may take over one, so that none holds its place for long; must never
//! count the time that the host itself takes before it reads on.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use axum::body::HttpBody;
use axum::extract::Request;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::try_unfold;
use tokio::time::Instant;
use tokio::time::timeout;

/// What bodies are held to.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A body may pause for this long; the rate is looked at over as much time.
    pub window: Duration,
    /// Bytes a second, at least.
    pub bytes_per_sec: u64,
    /// All of it has come by then.
    pub total: Duration,
}

/// A body that came too slowly. It says what is asked for.
#[derive(Debug, Clone, Copy)]
pub struct TooSlow(Pace);

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(Pace { window, bytes_per_sec, total }) = self;
        let (window, total) = (window.as_secs(), total.as_secs());
        write!(
            f,
            "The body came too slowly: {bytes_per_sec} bytes a second at least, looked at over {window} s, and all of it within \
             {total} s. Send it faster, or a large file in parts"
        )
    }
}

impl Error for TooSlow {}

/// The refusal behind an error of an extractor, where the body came too slowly.
pub fn too_slow(error: &(dyn Error + 'static)) -> Option<TooSlow> {
    match error.downcast_ref() {
        Some(slow) => Some(*slow),
        None => too_slow(error.source()?),
    }
}

/// Holds the bodies of all requests to a pace.
pub async fn keep_pace(State(pace): State<Pace>, request: Request, next: Next) -> Response {
    next.run(request.map(|body| if body.is_end_stream() { body } else { paced(body, pace) })).await
}

fn paced(body: Body, pace: Pace) -> Body {
    let begun = (body.into_data_stream(), Clock::new(pace));
    Body::from_stream(try_unfold(begun, |(mut body, mut clock)| async move {
        let asked = Instant::now();
        let Ok(chunk) = timeout(clock.left(), body.next()).await else {
            return Err(BoxError::from(TooSlow(clock.pace)));
        };
        let Some(chunk): Option<Bytes> = chunk.transpose()? else { return Ok(None) };
        clock.count(asked.elapsed(), chunk.len());
        Ok(Some((chunk, (body, clock))))
    }))
}

/// The time that a client has taken over a body so far.
struct Clock {
    pace: Pace,
    waited: Duration,
    waited_in_window: Duration,
    bytes_in_window: u64,
}

impl Clock {
    fn new(pace: Pace) -> Self {
        Self { pace, waited: Duration::ZERO, waited_in_window: Duration::ZERO, bytes_in_window: 0 }
    }

    /// How long the next bytes may take.
    fn left(&self) -> Duration {
        let in_window = self.pace.window.saturating_sub(self.waited_in_window);
        in_window.min(self.pace.total.saturating_sub(self.waited))
    }

    /// Counts bytes that came. A window that has its bytes ends at once: what comes early buys no pause later.
    fn count(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited;
        self.waited_in_window += waited;
        self.bytes_in_window += bytes as u64;
        if self.bytes_in_window as f64 >= self.pace.bytes_per_sec as f64 * self.pace.window.as_secs_f64() {
            (self.waited_in_window, self.bytes_in_window) = (Duration::ZERO, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { window: Duration::from_secs(10), bytes_per_sec: 100, total: Duration::from_secs(60) };

    /// How many chunks of a size are taken that come after so many seconds each, of at most 1000.
    fn taken(seconds: u64, bytes: usize) -> usize {
        let mut clock = Clock::new(PACE);
        let comes = Duration::from_secs(seconds);
        let in_time = |_: &usize| {
            let is_in_time = comes <= clock.left();
            clock.count(comes, bytes);
            is_in_time
        };
        (0..1000).take_while(in_time).count()
    }

    #[test]
    fn a_body_is_ended_that_is_slower_than_the_pace() {
        assert_eq!(taken(0, 1), 1000, "what comes at once takes no time");
        assert_eq!(taken(1, 1000), 60, "in time, until the whole takes too long");
        assert_eq!(taken(10, 1000), 6);
        assert_eq!(taken(11, 1_000_000), 0, "a pause");
        assert_eq!(taken(1, 99), 10, "too slow over the window");
        assert_eq!(taken(5, 400), 2);
    }

    #[test]
    fn bytes_that_came_early_buy_no_pause() {
        let mut clock = Clock::new(PACE);
        clock.count(Duration::ZERO, 1 << 30);
        assert_eq!(clock.left(), PACE.window);
    }

    #[tokio::test]
    async fn a_body_says_why_it_was_ended() {
        let pace = Pace { window: Duration::from_millis(5), ..PACE };
        let error = axum::body::to_bytes(paced(Body::from_stream(pending()), pace), 10).await.expect_err("never comes");
        let message = too_slow(&error).expect("nothing else is wrong").to_string();
        assert!(message.contains("100 bytes a second"), "{message}");
        let body = Body::from_stream(futures::stream::iter([Ok::<_, BoxError>("ab"), Ok("c")]));
        assert_eq!(axum::body::to_bytes(paced(body, PACE), 10).await.expect("in time"), "abc");
    }

    fn pending() -> impl futures::Stream<Item = Result<Bytes, BoxError>> {
        futures::stream::pending()
    }
}
