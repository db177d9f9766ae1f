//! Named points at which a test kills or stops a host of its own, so that a crash falls where it is meant to. Owns how they are
//! armed: `FAILPOINTS="name=kill@17;other=stop"` in the environment, with the hit that counts (the first without `@`). Must never
//! be in a program that is deployed: `make release` builds none of it, and the points then cost nothing.

/// A test may have armed this point: then the process kills or stops itself here.
#[inline]
pub fn reach(point: &str) {
    #[cfg(debug_assertions)]
    armed::reach(point);
    #[cfg(not(debug_assertions))]
    let _ = point;
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering;

    use rustix::process::Signal;

    static ARMED: LazyLock<BTreeMap<String, Armed>> =
        LazyLock::new(|| parse(&std::env::var("FAILPOINTS").unwrap_or_default()));

    /// What happens at a point, and at which hit.
    pub(super) struct Armed {
        pub(super) signal: Signal,
        pub(super) at: u64,
        hits: AtomicU64,
    }

    pub(super) fn reach(point: &str) {
        let Some(armed) = ARMED.get(point) else { return };
        if armed.hits.fetch_add(1, Ordering::SeqCst) + 1 == armed.at {
            tracing::warn!(point, "the failpoint {point} is reached");
            let _ = rustix::process::kill_process(rustix::process::getpid(), armed.signal);
        }
    }

    /// What is not understood ends the process: a test that believes in a point which is not armed would test nothing.
    pub(super) fn parse(text: &str) -> BTreeMap<String, Armed> {
        let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| one(entry).unwrap_or_else(|| panic!("FAILPOINTS: {entry} is not name=kill@n or name=stop@n")))
            .collect()
    }

    fn one(entry: &str) -> Option<(String, Armed)> {
        let (name, action) = entry.split_once('=')?;
        let (action, at) = action.split_once('@').unwrap_or((action, "1"));
        let signal = match action {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            _ => return None,
        };
        Some((name.to_owned(), Armed { signal, at: at.parse().ok()?, hits: AtomicU64::new(0) }))
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use rustix::process::Signal;

    use super::armed::parse;

    #[test]
    fn points_are_read_with_the_hit_that_counts() {
        let points = parse("a=kill@17; b=stop");
        assert_eq!((points["a"].signal, points["a"].at), (Signal::KILL, 17));
        assert_eq!((points["b"].signal, points["b"].at), (Signal::STOP, 1));
        assert!(parse("").is_empty());
    }

    #[test]
    #[should_panic(expected = "FAILPOINTS: a=explode")]
    fn what_is_not_understood_is_refused() {
        parse("a=explode");
    }
}
