//! Times, and how they are printed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Durations of things that were done.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them, the shortest first.
    pub fn into_vec(self) -> Vec<Duration> {
        self.0
    }

    /// The time that this share of all did not exceed.
    pub fn quantile(&self, share: f64) -> Duration {
        let at = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(at.saturating_sub(1)).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share| self.quantile(share).as_secs_f64() * 1000.0;
        let [p50, p95, p99, most] = [0.5, 0.95, 0.99, 1.0].map(ms);
        write!(f, "n {}, p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {most:.1} ms", self.len())
    }
}

/// What came of a load.
pub struct Load {
    pub times: Times,
    /// Answers by status; 0 for connections that broke.
    pub statuses: BTreeMap<u16, usize>,
    /// Requests that were due.
    pub due: usize,
}

impl Load {
    /// How long each request took; every one was made and answered with 200.
    pub fn into_times(self) -> Vec<Duration> {
        assert_eq!(
            (self.statuses.keys().copied().collect::<Vec<_>>(), self.times.len()),
            (vec![200], self.due),
            "{self}"
        );
        self.times.into_vec()
    }

    /// Every request was made and taken, in time.
    pub fn check(&self, p99: Duration) {
        assert_eq!(self.statuses.keys().copied().collect::<Vec<_>>(), [200], "{self}");
        assert_eq!(self.times.len(), self.due, "{self}");
        assert!(self.times.quantile(0.99) <= p99, "p99 over {p99:?}: {self}");
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, statuses {:?}", self.times, self.statuses)
    }
}
