//! Every statement that changes a job or a batch carries the fencing token of a lease, unless it is on the list below with a reason: a
//! host that slept through the end of its lease must write nothing.

use crate::Source;
use crate::layer;

/// Statements that need no token, by file and function.
const WITHOUT_TOKEN: &[(&str, &str, &str)] = &[
    ("store/leases.rs", "claim", "gives the token out"),
    ("store/leases.rs", "heartbeat", "of leases that its owner still holds, by owner"),
    ("store/leases.rs", "expire", "of an owner that is dead, by owner; whoever claims the job next gets a new token"),
    ("store/batches.rs", "expire", "of an owner that is dead, by owner; whoever takes the batch next gets a new token"),
    ("store/features.rs", "take_turn", "gives the token out"),
    ("store/features.rs", "release", "of leases that its owner still holds, by owner"),
    ("store/batches.rs", "take_turn", "gives the token out"),
    ("store/batches.rs", "release", "of leases that its owner still holds, by owner"),
    ("store/batches.rs", "set_cancelling", "a client's wish, which holds whoever works on the batch"),
    ("store/jobs.rs", "add_result_file", "in the transaction that ended the job, which was fenced"),
];

/// A statement that changes a leased row.
struct Statement {
    file: String,
    function: String,
    text: String,
}

impl Statement {
    fn has_token(&self) -> bool {
        self.text.split("where").skip(1).any(|condition| condition.contains("attempt = $"))
    }
}

fn statements(source: &Source) -> Vec<Statement> {
    let mut found = Vec::new();
    for table in ["update jobs set", "update batches set"] {
        for (at, _) in source.text.match_indices(table) {
            let function = source.text[..at].rsplit("fn ").next().unwrap_or_default();
            let function = function.split(['(', '<']).next().unwrap_or_default().to_owned();
            let text = source.text[at..].split('"').next().unwrap_or_default().to_owned();
            found.push(Statement { file: source.name.clone(), function, text });
        }
    }
    found
}

#[test]
fn every_change_of_a_leased_row_is_fenced() {
    let found: Vec<Statement> = layer("store").iter().flat_map(statements).collect();
    assert!(found.len() >= 20, "only {} statements were found", found.len());
    for (file, function, _) in WITHOUT_TOKEN {
        let listed =
            found.iter().find(|statement| (statement.file.as_str(), statement.function.as_str()) == (file, function));
        assert!(
            listed.is_some_and(|statement| !statement.has_token()),
            "{file}: {function} needs no place on the list"
        );
    }
    for statement in &found {
        let listed = WITHOUT_TOKEN.iter().any(|(file, function, _)| {
            (&statement.file, &statement.function) == (&(*file).to_owned(), &(*function).to_owned())
        });
        let Statement { file, function, text } = statement;
        assert!(listed || statement.has_token(), "src/{file}, {function}: no `attempt = $n` in\n{text}");
    }
}
