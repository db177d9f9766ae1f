//! What the host does besides answering: leases, deliveries, feature jobs, batches.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

use crate::instruments::Counters;
use crate::instruments::Maker;
use crate::instruments::instruments;

/// From the event to the receiver's answer, in seconds: a first attempt takes milliseconds, a last one days.
const LAG: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3600.0, 86_400.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfAttempt {
    outcome: &'static str,
}

pub(super) struct Work {
    leases_lost: Counter,
    attempts: Counters<OfAttempt>,
    lag: Histogram,
    feature_shards: Counter,
    feature_rows: Counter,
    batch_requests: Counter,
}

impl Work {
    pub(super) fn new(make: &mut Maker<'_>) -> Self {
        let work = Self {
            leases_lost: make
                .counter("leases_lost", "Sessions that were forgotten because another host took their job over"),
            attempts: make.counters("webhook_attempts", "Attempts to deliver: delivered, retried, given_up"),
            lag: make.seconds_histogram("webhook_lag", "From an event to its delivery", &LAG),
            feature_shards: make.counter("feature_shards", "Files that feature jobs committed"),
            feature_rows: make.counter("feature_rows", "Rows of which feature jobs committed the features"),
            batch_requests: make.counter("batch_requests", "Requests of batches that were answered"),
        };
        for outcome in ["delivered", "retried", "given_up"] {
            drop(work.attempts.get_or_create(&OfAttempt { outcome }));
        }
        work
    }
}

/// A session was forgotten, for its lease is another host's.
pub fn lease_lost() {
    let Some(instruments) = instruments() else { return };
    instruments.work.leases_lost.inc();
}

/// An attempt to deliver ended; `lag` since its event, where it was delivered.
pub fn webhook_attempt(outcome: &'static str, lag: Option<Duration>) {
    let Some(instruments) = instruments() else { return };
    instruments.work.attempts.get_or_create(&OfAttempt { outcome }).inc();
    if let Some(lag) = lag {
        instruments.work.lag.observe(lag.as_secs_f64());
    }
}

/// A feature job committed a file of so many rows.
pub fn feature_rows(rows: u64) {
    let Some(instruments) = instruments() else { return };
    instruments.work.feature_shards.inc();
    instruments.work.feature_rows.inc_by(rows);
}

/// A batch committed so many answers.
pub fn batch_requests(requests: u64) {
    let Some(instruments) = instruments() else { return };
    instruments.work.batch_requests.inc_by(requests);
}
