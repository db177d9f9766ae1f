//! Requests: how many, how long, how they ended.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;

use crate::instruments::Counters;
use crate::instruments::Histograms;
use crate::instruments::Maker;
use crate::instruments::instruments;

/// Which route was asked, and what it answered. The route is the contract's (`/v1/files/{file_id}`), never the URL itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    code: &'static str,
}

pub(super) struct Requests {
    answered: Counters<Request>,
    duration: Histograms<Route>,
    refusals: Counters<Refusal>,
    panics: Counter,
}

impl Requests {
    pub(super) fn new(make: &mut Maker<'_>) -> Self {
        Self {
            answered: make.counters("http_requests", "Requests that were answered, by route and status"),
            duration: make.histograms("http_request_duration", "Until the head of the answer, by route"),
            refusals: make
                .counters("refusals", "Answers that are an error, by its code: rates, budgets, busy, and all others"),
            panics: make.counter("panics", "Handlers that panicked: each is a fault of the host's own"),
        }
    }

    /// Shows these, at zero.
    pub(super) fn expect(&self, codes: impl Iterator<Item = &'static str>) {
        codes.for_each(|code| drop(self.refusals.get_or_create(&Refusal { code })));
    }
}

/// A request and its answer.
#[derive(Debug)]
pub struct Answered<'a> {
    /// `GET`, or `other` for what HTTP does not define.
    pub method: &'static str,
    /// The route's pattern; `other` where there is no such route.
    pub route: &'a str,
    /// The answer's status.
    pub status: u16,
    /// Until its head.
    pub took: Duration,
}

/// A request was answered.
pub fn answered(answered: &Answered<'_>) {
    let Some(instruments) = instruments() else { return };
    let Answered { method, route, status, took } = *answered;
    let requests = &instruments.requests;
    requests.answered.get_or_create(&Request { method, route: route.to_owned(), status }).inc();
    requests.duration.get_or_create(&Route { method, route: route.to_owned() }).observe(took.as_secs_f64());
}

/// An answer is an error of this code.
pub fn refused(code: &'static str) {
    let Some(instruments) = instruments() else { return };
    instruments.requests.refusals.get_or_create(&Refusal { code }).inc();
}

/// A handler panicked.
pub fn panicked() {
    let Some(instruments) = instruments() else { return };
    instruments.requests.panics.inc();
}
