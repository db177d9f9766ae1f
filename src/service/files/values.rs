//! Values of rows that read like labels. Owns what makes them suspect; keeps no text but a few short second ones, and never refuses by
//! itself: whether they are inputs, only their owner knows.

use std::collections::HashSet;

/// Fewer rows tell nothing.
const MANY_ROWS: u64 = 50;
/// A value occurs in so many rows, on average, or in more.
const ROWS_A_VALUE: u64 = 10;
/// More values than this are not counted.
const MOST_VALUES: usize = 200;
/// A text with more characters is no label.
const SHORT_CHARS: usize = 32;
/// What fastText puts before a label.
const PREFIX: &str = "__label__";

/// What reads like labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    /// The first line that has one.
    pub line: u64,
    /// Its column.
    pub column: &'static str,
    /// What makes it suspect.
    pub reason: String,
}

/// Looks at rows as they pass.
#[derive(Debug, Default)]
pub struct ValueWatch {
    rows: u64,
    first_pair: Option<u64>,
    pairs: Pairs,
    prefixed: Option<Suspicion>,
}

/// The second texts so far.
#[derive(Debug, Default)]
struct Pairs {
    values: HashSet<String>,
    /// One was long.
    has_long: bool,
    /// There are more than [`MOST_VALUES`].
    has_many: bool,
    /// One was no number.
    has_words: bool,
}

impl ValueWatch {
    /// Looks at the texts of a line.
    pub fn see(&mut self, line: u64, text: &str, pair: Option<&str>) {
        self.rows += 1;
        if self.prefixed.is_none() {
            let columns = [("text", Some(text)), ("text_pair", pair)];
            let column = columns.into_iter().find(|(_, text)| text.is_some_and(has_prefix));
            self.prefixed = column.map(|(column, _)| {
                let reason = format!("{column} has '{PREFIX}', which marks a label in fastText's files");
                Suspicion { line, column, reason }
            });
        }
        if pair.is_some() {
            self.first_pair.get_or_insert(line);
        }
        self.pairs.see(pair.unwrap_or_default().trim());
    }

    /// What reads like labels in all that was seen.
    pub fn found(self) -> Option<Suspicion> {
        let rows = self.rows;
        let reason = self.pairs.reason(rows);
        self.prefixed.or_else(|| Some(Suspicion { line: self.first_pair?, column: "text_pair", reason: reason? }))
    }
}

impl Pairs {
    /// No second text counts as an empty one: to have none may say as much.
    fn see(&mut self, text: &str) {
        self.has_long = self.has_long || text.chars().nth(SHORT_CHARS).is_some();
        self.has_words = self.has_words || !(text.is_empty() || text.parse::<f64>().is_ok());
        if self.has_long || self.has_many || self.values.contains(text) {
            return;
        }
        self.values.insert(text.to_owned());
        self.has_many = self.values.len() > MOST_VALUES;
    }

    fn reason(&self, rows: u64) -> Option<String> {
        let values = self.values.len();
        // One value for all rows tells no row from another.
        if self.has_long || rows < MANY_ROWS || values < 2 {
            return None;
        }
        if !self.has_words {
            return Some("text_pair has numbers alone, as labels may be".to_owned());
        }
        let is_few = !self.has_many && values as u64 * ROWS_A_VALUE <= rows;
        is_few.then(|| format!("text_pair has {values} short values in {rows} rows, as labels have"))
    }
}

/// Whether the first or the last word is marked as a label.
fn has_prefix(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let (first, last) = (words.next(), words.next_back());
    let marked = |word: &str| word.get(..PREFIX.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX));
    first.into_iter().chain(last).any(marked)
}
