//! What time it is, hosts learn from the database: the clock of a machine may be wrong, be set, and differ from another's. Leases and
//! keys must not know it; the list says who may, and why.

use crate::layer;

/// Files that read the wall clock of their machine.
const READ_THE_CLOCK: &[(&str, &str)] = &[
    ("service/accounting/usage.rs", "the day up to which a report goes, where the caller names none"),
    (
        "service/webhooks/delivery.rs",
        "the time that a receiver compares with its own clock; what is old enough to be forgotten",
    ),
    ("service/webhooks/webhooks.rs", "the same, of a test message"),
    ("store/blobs.rs", "ages of files, by the clock that dated them"),
];

const CLOCKS: [&str; 3] = ["now_utc", "now_local", "SystemTime::now"];

#[test]
fn the_wall_clock_is_read_only_where_the_list_says_why() {
    let sources: Vec<_> = ["domain", "store", "service", "engine", "api"].into_iter().flat_map(layer).collect();
    let reads = |text: &str| CLOCKS.iter().any(|clock| text.contains(clock));
    let found: Vec<&str> =
        sources.iter().filter(|source| reads(&source.without_tests())).map(|source| source.name.as_str()).collect();
    let listed: Vec<&str> = READ_THE_CLOCK.iter().map(|(file, _)| *file).collect();
    for file in &found {
        assert!(listed.contains(file), "{file} reads the clock of its machine; ask the database (store::pool::clock)");
    }
    for file in listed {
        assert!(found.contains(&file), "{file} reads no clock: take it off the list");
    }
}

/// A machine's clock that is an hour off ends no lease early or late: whatever sets or judges `lease_until` does so by `now()`.
#[test]
fn leases_are_set_and_judged_by_the_databases_clock() {
    let (mut set, mut judged) = (0, 0);
    for source in layer("store") {
        for text in source.text.split('"').filter(|text| text.contains("lease_until")) {
            for (at, name) in text.match_indices("lease_until") {
                let rest = text[at + name.len()..].trim_start();
                let value =
                    |rest: &str| rest.trim_start().split([',', '\n', ' ', ')']).next().unwrap_or_default().to_owned();
                if let Some(rest) = ["<= ", "< ", ">= ", "> "].iter().find_map(|sign| rest.strip_prefix(sign)) {
                    assert!(rest.starts_with("now()"), "{}: a lease is judged by `{}`", source.name, value(rest));
                    judged += 1;
                } else if let Some(rest) = rest.strip_prefix("= ") {
                    let by_database = ["now() + make_interval(secs => $", "null", "case when"];
                    let known = by_database.iter().any(|known| rest.starts_with(known));
                    assert!(known, "{}: a lease is set to `{}`", source.name, value(rest));
                    set += 1;
                }
            }
        }
    }
    assert!(set >= 12 && judged >= 4, "only {set} and {judged} places were found");
}
