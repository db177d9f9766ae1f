//! What must say what it is. Fields and variants need not: most are said by their names, and a line that repeats one says nothing.

use crate::sources;

const ITEMS: [&str; 9] = ["fn", "struct", "enum", "union", "trait", "const", "static", "type", "mod"];

/// The public items of a source, and those of its public traits, that have no `///` above them; a module in a file of its own has a header.
fn silent(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.split("#[cfg(test)]").next().unwrap_or_default().lines().collect();
    let in_trait = |at: usize| {
        let opened = lines[..at].iter().rev().find(|line| !line.is_empty() && !line.starts_with([' ', '}', '#', '/']));
        opened.is_some_and(|line| line.starts_with("pub trait "))
    };
    let is_item = |at: usize| match lines[at].trim_start().strip_prefix("pub ") {
        Some(item) => is_item(item),
        None => lines[at].starts_with("    ") && is_item(&lines[at][4..]) && in_trait(at),
    };
    let silent = (0..lines.len()).filter(|at| is_item(*at) && !is_documented(&lines[..*at]));
    silent.map(|at| lines[at].trim()).collect()
}

fn is_item(line: &str) -> bool {
    let mut words = line.split(' ').filter(|word| !["async", "unsafe", "extern", "\"C\""].contains(word));
    let (kind, name) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // What a macro names, it also comments on, where it is called.
    ITEMS.contains(&kind) && !name.starts_with('$') && !(kind == "mod" && line.ends_with(';'))
}

/// Whether these lines end with a comment, attributes apart.
fn is_documented(above: &[&str]) -> bool {
    let last = above.last().map(|line| line.trim_start()).unwrap_or_default();
    let attribute = || above.iter().rposition(|line| line.trim_start().starts_with("#["));
    last.starts_with("///") || (last.ends_with(']') && attribute().is_some_and(|at| is_documented(&above[..at])))
}

#[test]
fn silent_items_are_found() {
    let text = "\
//! A header.
pub mod other;
/// Said.
#[derive(Debug)]
#[serde(
    untagged
)]
pub struct Said {
    pub field: u8,
}
#[derive(Debug)]
pub enum Unsaid {
    Variant,
}
impl Said {
    /// Said.
    pub const fn said() {}

    pub async fn unsaid() {}

    pub(crate) fn inner() {}
}
pub const NUMBER: u8 = 1;
/// Said.
pub trait Trait {
    /// Said.
    fn said(&self);
    async fn unsaid(&self);
}
impl Trait for Said {
    fn said(&self) {}
}
#[cfg(test)]
mod tests {
    pub fn helper() {}
}
";
    assert_eq!(
        silent(text),
        ["pub enum Unsaid {", "pub async fn unsaid() {}", "pub const NUMBER: u8 = 1;", "async fn unsaid(&self);"]
    );
}

#[test]
fn every_public_item_says_what_it_is() {
    for source in sources() {
        let silent = silent(&source.text);
        assert!(silent.is_empty(), "src/{}: no `///` above {silent:?}", source.name);
    }
}

#[test]
fn every_source_says_what_it_owns() {
    for source in sources() {
        let is_fragment = source.name.ends_with("_tests.rs");
        assert!(is_fragment || source.text.starts_with("//!"), "src/{} has no header", source.name);
    }
}
