//! How long files and functions may be, and how many parameters a function may have. Functions are read as rustfmt lays them out.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::Source;
use crate::depth_change;
use crate::members;
use crate::root;
use crate::rust_files;
use crate::without_comments;

/// Where written files are, data and generated code apart.
const FOLDERS: [&str; 7] = ["src", "tests", "native", "sdk/python", "benches", "examples", "scripts"];
const WRITTEN: [&str; 9] = ["rs", "py", "pyi", "sh", "sql", "cpp", "h", "mjs", "md"];
const NOT_WRITTEN: [&str; 3] = ["_generated", "__pycache__", "node_modules"];

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 60;
/// Nine functions of ten in `src` are no longer.
const MOST_FUNCTIONS_LINES: usize = 21;
const PARAMETERS: usize = 5;
/// A handler's parameters are what it extracts from a request.
const HANDLER_PARAMETERS: usize = 6;

/// A function with a body.
struct Function {
    name: String,
    /// From its first line to its closing brace.
    lines: usize,
    /// As they are written, `self` included.
    parameters: Vec<String>,
}

/// All functions with a body, those within functions too.
fn functions(text: &str) -> Vec<Function> {
    let text = without_comments(text);
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len()).filter_map(|at| function(&lines[at..])).collect()
}

/// The function that begins on the first of these lines.
fn function(lines: &[&str]) -> Option<Function> {
    let indent = lines[0].len() - lines[0].trim_start().len();
    let text = [&[named(lines[0].trim_start())?], &lines[1..]].concat().join("\n");
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let at = position(&text, &['('])?;
    let parameters = members(&text[at + 1..]).into_iter().map(|member| member.trim().to_owned());
    let parameters = parameters.filter(|member| !member.is_empty()).collect();
    if text[position(&text, &['{', ';'])?..].starts_with(';') {
        return None; // declared here, written elsewhere
    }
    let closes = |line: &&str| line.trim_end().ends_with('}') && line.len() - line.trim_start().len() == indent;
    let last = lines.iter().position(|line| closes(line) && (line.trim_start().starts_with('}') || line == &lines[0]));
    Some(Function { name, lines: last? + 1, parameters })
}

/// What stands behind `fn`, where a line begins a function.
fn named(mut line: &str) -> Option<&str> {
    loop {
        if let Some(name) = line.strip_prefix("fn ") {
            return Some(name);
        }
        let words = ["pub", "const", "async", "unsafe", "extern", "\"C\""];
        let (word, rest) = line.split_once(' ')?;
        words.iter().any(|known| word == *known || word.starts_with("pub(")).then_some(())?;
        line = rest;
    }
}

/// The first place of one of these characters that is in no brackets.
fn position(text: &str, wanted: &[char]) -> Option<usize> {
    let mut depth = 0;
    text.char_indices().find_map(|(at, c)| {
        let found = depth == 0 && wanted.contains(&c);
        depth += depth_change(text, at, c);
        found.then_some(at)
    })
}

/// Whether a parameter is a tuple of two values or more, by value or borrowed.
fn is_tuple(parameter: &str) -> bool {
    let Some(colon) = position(parameter, &[':']) else { return false };
    let mut kind = parameter[colon + 1..].trim().trim_start_matches('&');
    while let Some((word, rest)) = kind.split_once(' ').filter(|(word, _)| *word == "mut" || word.starts_with('\'')) {
        (_, kind) = (word, rest);
    }
    kind.strip_prefix('(').is_some_and(|inner| members(inner).len() > 1)
}

fn written(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let seen = entries.filter(|path| !NOT_WRITTEN.contains(&&*name(path)) && !name(path).starts_with('.'));
    let files = seen.flat_map(|path| match path.is_dir() {
        true => written(&path),
        false => vec![path],
    });
    let is_written =
        |path: &PathBuf| path.extension().is_some_and(|extension| WRITTEN.iter().any(|known| extension == *known));
    files.filter(is_written).collect()
}

fn read(path: PathBuf) -> Source {
    let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
    Source { name, text: fs::read_to_string(&path).expect("readable") }
}

/// The functions of a folder, each with its file.
fn functions_of(folders: &[&str]) -> Vec<(String, Function)> {
    let paths = folders.iter().flat_map(|folder| rust_files(&root().join(folder)));
    let of = |file: Source| functions(&file.text).into_iter().map(move |function| (file.name.clone(), function));
    paths.map(read).flat_map(of).collect()
}

#[test]
fn functions_are_read_however_they_are_written() {
    // In an array, so that this file has none of them.
    let text = [
        "pub(crate) const fn short() {}",
        "    pub async fn long<F: Fn(u8) -> u8>(",
        "        &mut self,",
        "        // a, b: (u8, u8)",
        "        list: &[(u8, u8)],",
        "        (a, b): (u8, [u8; 2]),",
        "        both: &'a mut (u8, u8),",
        "        one: &(dyn Any + Send),",
        "    ) -> Vec<[u8; 2]> {",
        "        if a {",
        "        }",
        "    }",
        "    fn declared(&self, pair: (u8, u8)) -> [u8; 2];",
        "let f = |(a, b): (u8, u8)| a;",
        "unsafe extern \"C\" fn foreign(x: impl Fn(u8) -> (u8, u8)) {",
        "}",
    ];
    let found = functions(&text.join("\n"));
    let sizes: Vec<(&str, usize, usize)> =
        found.iter().map(|one| (one.name.as_str(), one.lines, one.parameters.len())).collect();
    assert_eq!(sizes, [("short", 1, 0), ("long", 11, 5), ("foreign", 2, 1)]);
    let tuples: Vec<&String> = found.iter().flat_map(|one| &one.parameters).filter(|one| is_tuple(one)).collect();
    assert_eq!(tuples, ["(a, b): (u8, [u8; 2])", "both: &'a mut (u8, u8)"]);
}

#[test]
fn no_file_is_longer_than_500_lines() {
    for folder in FOLDERS {
        let files: Vec<Source> = written(&root().join(folder)).into_iter().map(read).collect();
        assert!(!files.is_empty(), "{folder} is empty");
        for file in files {
            let lines = file.text.lines().count();
            assert!(lines <= FILE_LINES, "{} has {lines} lines", file.name);
        }
    }
}

#[test]
fn functions_are_short() {
    for (file, function) in functions_of(&["src", "tests"]) {
        let Function { name, lines, .. } = function;
        assert!(lines <= FUNCTION_LINES, "{file}: {name} has {lines} lines");
    }
    let mut lines: Vec<usize> = functions_of(&["src"]).into_iter().map(|(_, function)| function.lines).collect();
    lines.sort_unstable();
    assert!(lines.len() > 1000, "{} functions", lines.len());
    let longest_of_most = lines[lines.len() * 9 / 10];
    assert!(longest_of_most <= MOST_FUNCTIONS_LINES, "one function of ten in src has {longest_of_most} lines or more");
}

#[test]
fn functions_have_few_parameters() {
    for (file, function) in functions_of(&["src", "tests"]) {
        let most = if file.starts_with("src/api/") { HANDLER_PARAMETERS } else { PARAMETERS };
        let count = function.parameters.len();
        assert!(count <= most, "{file}: {} has {count} parameters", function.name);
    }
}

#[test]
fn no_tuple_of_parameters_dodges_their_limit() {
    let mut found = Vec::new();
    for (file, function) in functions_of(&["src", "tests"]) {
        let tuples = function.parameters.iter().filter(|parameter| is_tuple(parameter));
        found.extend(tuples.map(|tuple| format!("{file}: {}: {tuple}", function.name)));
    }
    assert!(found.is_empty(), "parameters that are tuples:\n{}", found.join("\n"));
}
