//! Names of metrics: what `docs/operate.md` promises is what the code registers, and what alarms and the board ask for is there.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;

use blindtune::instruments::described;

use crate::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Name, kind and sentence of each row of the table.
fn documented() -> BTreeMap<String, (String, String)> {
    let page = read("docs/operate.md");
    let rows = page.lines().filter(|line| line.starts_with("| `blindtune_"));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    cells.map(|cells| (cells[0].trim_matches('`').to_owned(), (cells[1].clone(), cells[3].clone()))).collect()
}

#[test]
fn the_table_of_names_is_what_the_code_registers() {
    let own = described().into_iter().map(|one| (one.name, (one.kind.to_owned(), one.help.to_owned())));
    assert_eq!(documented(), own.collect::<BTreeMap<_, _>>());
}

/// All words of a text that look like a name of ours, without what a histogram adds.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("blindtune_"));
    let bare = |word: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word).to_owned()
    };
    ours.map(bare).collect()
}

#[test]
fn alarms_and_board_ask_for_names_that_exist() {
    let known: BTreeSet<String> = documented().into_keys().collect();
    for path in
        ["deploy/observability/alerts.yml", "deploy/observability/alerts_test.yml", "deploy/observability/grafana.json"]
    {
        let asked = named(&read(path));
        assert!(asked.len() > 10, "{path} asks for {asked:?}");
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "{path} asks for {unknown:?}");
    }
}

#[test]
fn each_alarm_has_its_test_and_its_line_of_what_to_do() {
    let (rules, tests, page) = (
        read("deploy/observability/alerts.yml"),
        read("deploy/observability/alerts_test.yml"),
        read("docs/operate.md"),
    );
    let alarms: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(alarms.len(), 14);
    for alarm in alarms {
        assert!(page.contains(&format!("| {alarm} |")), "docs/operate.md has no line about {alarm}");
        let raised = format!("alertname: {alarm}\n        exp_alerts:\n");
        assert!(tests.contains(&raised), "no test raises {alarm}");
    }
}
