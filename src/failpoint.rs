//! Named points at which a test kills or stops a host of its own, or fills its disk, so that a fault falls where it is meant to. Owns how
//! they are armed: `FAILPOINTS="name=kill@17;other=stop;third=full@/file"` in the environment, with the hit that counts (the first
//! without `@`), or the file that fills the disk as long as it is there. Must never be in a program that is deployed: `make release`
//! builds none of it, and the points then cost nothing.

/// A test may have armed this point: then the process kills or stops itself here.
#[inline]
pub fn reach(point: &str) {
    #[cfg(debug_assertions)]
    armed::reach(point);
    #[cfg(not(debug_assertions))]
    let _ = point;
}

/// A test may have armed this point: then there is no room on the disk.
#[inline]
pub fn write_at(point: &str) -> std::io::Result<()> {
    #[cfg(debug_assertions)]
    let is_full = armed::is_full(point);
    #[cfg(not(debug_assertions))]
    let (is_full, _) = (false, point);
    if is_full { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use std::sync::atomic::AtomicU64;
    use std::sync::atomic::Ordering;

    use rustix::process::Signal;

    static ARMED: LazyLock<BTreeMap<String, Armed>> =
        LazyLock::new(|| parse(&std::env::var("FAILPOINTS").unwrap_or_default()));

    /// What happens at a point.
    pub(super) enum Armed {
        /// At one hit of it.
        Signal { signal: Signal, at: u64, hits: AtomicU64 },
        /// As long as the file is there.
        Full(PathBuf),
    }

    pub(super) fn reach(point: &str) {
        let Some(Armed::Signal { signal, at, hits }) = ARMED.get(point) else { return };
        if hits.fetch_add(1, Ordering::SeqCst) + 1 == *at {
            tracing::warn!(point, "the failpoint {point} is reached");
            let _ = rustix::process::kill_process(rustix::process::getpid(), *signal);
        }
    }

    pub(super) fn is_full(point: &str) -> bool {
        matches!(ARMED.get(point), Some(Armed::Full(file)) if file.exists())
    }

    /// What is not understood ends the process: a test that believes in a point which is not armed would test nothing.
    pub(super) fn parse(text: &str) -> BTreeMap<String, Armed> {
        let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| {
                one(entry)
                    .unwrap_or_else(|| panic!("FAILPOINTS: {entry} is not name=kill@n, name=stop@n or name=full@file"))
            })
            .collect()
    }

    fn one(entry: &str) -> Option<(String, Armed)> {
        let (name, action) = entry.split_once('=')?;
        let (action, at) = action.split_once('@').unwrap_or((action, "1"));
        let signal = match action {
            "kill" => Signal::KILL,
            "stop" => Signal::STOP,
            "full" => return Some((name.to_owned(), Armed::Full(at.into()))),
            _ => return None,
        };
        Some((name.to_owned(), Armed::Signal { signal, at: at.parse().ok()?, hits: AtomicU64::new(0) }))
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use rustix::process::Signal;

    use super::armed::Armed;
    use super::armed::parse;

    #[test]
    fn points_are_read_with_the_hit_that_counts() {
        let points = parse("a=kill@17; b=stop; c=full@/tmp/x");
        assert!(matches!(points["a"], Armed::Signal { signal: Signal::KILL, at: 17, .. }));
        assert!(matches!(points["b"], Armed::Signal { signal: Signal::STOP, at: 1, .. }));
        assert!(matches!(&points["c"], Armed::Full(file) if file.as_os_str() == "/tmp/x"));
        assert!(parse("").is_empty());
    }

    #[test]
    #[should_panic(expected = "FAILPOINTS: a=explode")]
    fn what_is_not_understood_is_refused() {
        parse("a=explode");
    }
}
