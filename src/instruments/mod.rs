//! What the host counts and times of itself, for Prometheus, and a request's trace. Owns every name, its labels and its buckets; any part of the host may
//! count here. Must never have a label whose values grow with use (a job, a key, a project, a text), nor hold one of them.
//!
//! Until [`start`] is called nothing is counted and each call here is one read of an atomic: metrics are off by default.
//! Names follow Prometheus's rules (<https://prometheus.io/docs/practices/naming/>): base units, `_total` for counters.

mod device;
mod host;
mod requests;
mod steps;
pub mod traces;
mod work;

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Metric;
use prometheus_client::registry::Registry;
use prometheus_client::registry::Unit;

pub use device::Eviction;
pub use device::Pass;
pub use device::evicted;
pub use device::graphs_hold;
pub use device::ran;
pub use device::ran_again;
pub use device::waiting;
pub use host::Sample;
pub use requests::Answered;
pub use requests::answered;
pub use requests::panicked;
pub use requests::refused;
pub use steps::Phase;
pub use steps::step;
pub use steps::worked;
pub use work::batch_requests;
pub use work::feature_rows;
pub use work::lease_lost;
pub use work::webhook_attempt;

/// Times of requests and of what they wait for, in seconds: a control request takes a millisecond, a large step half a minute.
const SECONDS: [f64; 15] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// The media type of what [`text`] gives.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A name as it is exposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// With its unit and, for a counter, `_total`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// A sentence.
    pub help: &'static str,
}

/// All instruments of this process.
struct Instruments {
    registry: Registry,
    requests: requests::Requests,
    steps: steps::Steps,
    device: device::Device,
    work: work::Work,
    host: host::Host,
}

static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();

/// Begins to count. `codes`: of all errors, each of which is shown from the first moment on: Prometheus sees no increase in what appears
/// with its first count.
pub fn start(codes: impl Iterator<Item = &'static str>) {
    let instruments = INSTRUMENTS.get_or_init(|| Instruments::new(&mut Vec::new()));
    instruments.requests.expect(codes);
}

/// All names, as `docs/operate.md` lists them.
pub fn described() -> Vec<Described> {
    let mut names = Vec::new();
    Instruments::new(&mut names);
    names
}

/// Everything that was counted, and `sample` as it is now, in the form that Prometheus reads. Nothing before [`start`].
pub fn text(sample: &Sample) -> String {
    let mut text = String::new();
    if let Some(instruments) = INSTRUMENTS.get() {
        instruments.host.show(sample);
        // Writing into a `String` does not fail.
        let _ = encode(&mut text, &instruments.registry);
    }
    text
}

fn instruments() -> Option<&'static Instruments> {
    INSTRUMENTS.get()
}

impl Instruments {
    fn new(names: &mut Vec<Described>) -> Self {
        let mut registry = Registry::with_prefix("blindtune");
        let mut make = Maker { registry: &mut registry, names };
        let (requests, steps) = (requests::Requests::new(&mut make), steps::Steps::new(&mut make));
        let (device, work) = (device::Device::new(&mut make), work::Work::new(&mut make));
        let host = host::Host::new(&mut make);
        Self { registry, requests, steps, device, work, host }
    }
}

/// Counts by a set of labels.
type Counters<L> = Family<L, Counter>;
/// Times or sizes by a set of labels.
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Registers instruments, and writes down their names.
struct Maker<'a> {
    registry: &'a mut Registry,
    names: &'a mut Vec<Described>,
}

impl Maker<'_> {
    fn counter(&mut self, name: &str, help: &'static str) -> Counter {
        self.add(Exposed { name, kind: "counter", help }, None, Counter::default())
    }

    fn counters<L: EncodeLabelSet + Labels>(&mut self, name: &str, help: &'static str) -> Counters<L> {
        self.add(Exposed { name, kind: "counter", help }, None, Counters::default())
    }

    /// Of seconds with their fractions.
    fn seconds_counter(&mut self, name: &str, help: &'static str) -> Counter<f64, AtomicU64> {
        self.add(Exposed { name, kind: "counter", help }, Some(Unit::Seconds), Counter::default())
    }

    fn gauge(&mut self, name: &str, help: &'static str) -> Gauge {
        self.add(Exposed { name, kind: "gauge", help }, None, Gauge::default())
    }

    fn gauges<L: EncodeLabelSet + Labels>(&mut self, name: &str, help: &'static str) -> Family<L, Gauge> {
        self.add(Exposed { name, kind: "gauge", help }, None, Family::default())
    }

    fn bytes_gauge(&mut self, name: &str, help: &'static str) -> Gauge {
        self.add(Exposed { name, kind: "gauge", help }, Some(Unit::Bytes), Gauge::default())
    }

    /// Of times.
    fn histograms<L: EncodeLabelSet + Labels>(&mut self, name: &str, help: &'static str) -> Histograms<L> {
        let make: fn() -> Histogram = || Histogram::new(SECONDS);
        self.add(Exposed { name, kind: "histogram", help }, Some(Unit::Seconds), Family::new_with_constructor(make))
    }

    fn histogram(&mut self, name: &str, help: &'static str, buckets: &[f64]) -> Histogram {
        self.add(Exposed { name, kind: "histogram", help }, None, Histogram::new(buckets.iter().copied()))
    }

    fn seconds_histogram(&mut self, name: &str, help: &'static str, buckets: &[f64]) -> Histogram {
        let histogram = Histogram::new(buckets.iter().copied());
        self.add(Exposed { name, kind: "histogram", help }, Some(Unit::Seconds), histogram)
    }

    /// Always 1: the labels are what it says.
    fn info(&mut self, name: &str, help: &'static str, labels: [(&'static str, &'static str); 1]) {
        self.registry.register(name, help, Info::new(labels));
        self.note(format!("{name}_info"), "info", help);
    }

    fn add<M: Metric + Clone>(&mut self, exposed: Exposed<'_>, unit: Option<Unit>, metric: M) -> M {
        let Exposed { name, kind, help } = exposed;
        let of_unit = unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let total = if kind == "counter" { "_total" } else { "" };
        self.note(format!("{name}{of_unit}{total}"), kind, help);
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, metric.clone()),
            None => self.registry.register(name, help, metric.clone()),
        }
        metric
    }

    fn note(&mut self, name: String, kind: &'static str, help: &'static str) {
        self.names.push(Described { name: format!("blindtune_{name}"), kind, help });
    }
}

/// What an instrument is exposed as, before its unit.
struct Exposed<'a> {
    name: &'a str,
    kind: &'static str,
    help: &'static str,
}

/// What a set of labels must be to be counted by.
trait Labels: Clone + std::fmt::Debug + std::hash::Hash + Eq + Send + Sync + 'static {}

impl<L: Clone + std::fmt::Debug + std::hash::Hash + Eq + Send + Sync + 'static> Labels for L {}
