//! Rules about structure, read from the sources.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// Which layers a layer may use. `app`, `cli`, `config` and the roots put things together, and are above all of them.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("model", &["domain"]),
    ("store", &["domain"]),
    ("engine", &["domain", "model"]),
    ("service", &["domain", "store", "engine"]),
    ("api", &["domain", "service"]),
];

/// Which parts of `src` may name a crate.
const NAMED_IN: &[(&str, &[&str])] = &[
    ("tch", &["engine/", "model/"]),
    // The service's one type of a pooled connection.
    ("sqlx", &["store/", "service/context.rs"]),
    ("object_store", &["store/"]),
    // A host calls out for webhooks alone.
    ("reqwest", &["service/webhooks/"]),
    ("axum", &["api/", "app.rs"]),
    ("http", &["api/", "app.rs"]),
    ("hyper", &["api/"]),
    ("tower", &["api/"]),
    ("figment", &["config.rs", "cli/"]),
    ("clap", &["cli/"]),
];

struct Source {
    /// Path below `src`.
    name: String,
    text: String,
}

impl Source {
    /// The text without comments and without text literals, so that prose names nothing.
    fn code(&self) -> String {
        let without_comments = self.text.lines().map(|line| match line.find("//") {
            Some(at) if !line[..at].contains('"') => &line[..at],
            _ => line,
        });
        let parts = without_comments.collect::<Vec<_>>().join("\n").replace("\\\"", "").replace("'\"'", "");
        parts.split('"').step_by(2).collect()
    }

    /// The part before the first module of unit tests.
    fn without_tests(&self) -> String {
        self.code().split("#[cfg(test)]").next().unwrap_or_default().to_owned()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    let files = entries.flat_map(|path| match path.is_dir() {
        true => rust_files(&path),
        false => vec![path],
    });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let read = |path: PathBuf| Source {
        name: path.strip_prefix(&src).expect("below src").to_string_lossy().into_owned(),
        text: fs::read_to_string(&path).expect("readable"),
    };
    let sources: Vec<Source> = rust_files(&src).into_iter().map(read).collect();
    assert!(sources.len() > 50, "{} sources", sources.len());
    sources
}

/// The first names after `crate::`, grouped imports included.
fn used_layers(code: &str) -> Vec<String> {
    let name = |text: &str| text.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => found.push(name(rest)),
            Some(group) => found.extend(members(group).into_iter().map(name)),
        }
    }
    found
}

/// The members of a group, from behind its opening brace.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match (c, depth) {
            ('{', _) => depth += 1,
            ('}', 0) => {
                found.push(&group[start..at]);
                break;
            }
            ('}', _) => depth -= 1,
            (',', 0) => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// Whether the code names a crate: `tch::`, `use tch;`, `tch as`.
fn names_crate(code: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        let own_path = !before.is_some_and(|c| is_part(c) || c == ':' || c == '.');
        own_path && (after.starts_with("::") || (code[..at].ends_with("use ") && !after.starts_with(is_part)))
    })
}

#[test]
fn imports_are_read_however_they_are_grouped() {
    let code = "use crate::domain::ids; use crate::{store, engine::{a, b}, api}; let x = crate::model::load();";
    assert_eq!(used_layers(code), ["domain", "store", "engine", "api", "model"]);
    assert!(
        names_crate("use tch::Tensor;", "tch")
            && names_crate("a(tch::no_grad())", "tch")
            && names_crate("use tch;", "tch")
    );
    assert!(
        !names_crate("scratch::x", "tch")
            && !names_crate("crate::http::x", "http")
            && !names_crate("let http = 1;", "http")
    );
}

#[test]
fn no_layer_uses_one_above_or_beside_it() {
    let layers: Vec<&str> =
        MAY_USE.iter().map(|(layer, _)| *layer).chain(["app", "cli", "config", "telemetry"]).collect();
    for source in sources() {
        let Some((layer, allowed)) = MAY_USE.iter().find(|(layer, _)| source.name.starts_with(&format!("{layer}/")))
        else {
            continue;
        };
        for used in used_layers(&source.code()) {
            let is_layer = layers.contains(&used.as_str());
            let fine = !is_layer || used == *layer || allowed.contains(&used.as_str());
            assert!(fine, "src/{} must not use crate::{used}", source.name);
        }
    }
}

#[test]
fn each_outside_crate_is_known_in_its_own_part_alone() {
    for source in sources() {
        for (name, places) in NAMED_IN {
            let allowed = places.iter().any(|place| source.name.starts_with(place));
            assert!(allowed || !names_crate(&source.code(), name), "src/{} must not name {name}", source.name);
        }
    }
}

#[test]
fn the_service_names_of_sqlx_the_pooled_connection_alone() {
    let source = sources().into_iter().find(|source| source.name == "service/context.rs").expect("service/context.rs");
    let lines: Vec<String> =
        source.code().lines().filter(|line| line.contains("sqlx")).map(|line| line.trim().to_owned()).collect();
    assert_eq!(lines, ["type PooledConnection = sqlx::pool::PoolConnection<sqlx::Postgres>;"]);
}

#[test]
fn rules_and_mathematics_do_not_wait() {
    for source in sources() {
        let pure = ["domain/", "model/"].iter().any(|layer| source.name.starts_with(layer));
        let code = source.without_tests();
        for word in ["tokio", "async fn", ".await", "SystemTime", "Instant::now", "std::fs::File::create"] {
            let in_model = source.name.starts_with("model/") && word.starts_with("std::fs");
            assert!(!pure || in_model || !code.contains(word), "src/{} must not have {word}", source.name);
        }
    }
}

#[test]
fn unsafe_code_and_raw_tensors_have_one_place_each() {
    let allowed = |word: &str| match word {
        "unsafe" => &["model/weights.rs", "model/native.rs"][..],
        "from_blob" => &["model/weights.rs"],
        "f_from_data_size" | "from_data_size" => &["engine/codec.rs"],
        _ => &[],
    };
    let words = [
        "unsafe",
        "from_blob",
        "f_from_data_size",
        "from_data_size",
        "Tensor::load",
        "CModule",
        "TrainableCModule",
        "set_data",
    ];
    for source in sources() {
        let code = source.code().replace("unsafe_code", "");
        for word in words {
            let fine = allowed(word).contains(&source.name.as_str());
            assert!(fine || !code.contains(word), "src/{} must not have {word}", source.name);
        }
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    for folder in ["src", "tests"] {
        for path in rust_files(&root().join(folder)) {
            let lines = fs::read_to_string(&path).expect("readable").lines().count();
            assert!(lines <= 500, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn every_source_says_what_it_owns() {
    for source in sources() {
        let is_fragment = source.name.ends_with("_tests.rs");
        assert!(is_fragment || source.text.starts_with("//!"), "src/{} has no header", source.name);
    }
}

#[test]
fn the_committed_contract_is_the_one_that_the_code_has() {
    let output = Command::new(env!("CARGO_BIN_EXE_blindtune")).arg("openapi").output().expect("runs");
    assert!(output.status.success());
    let committed = fs::read_to_string(root().join("openapi.yaml")).expect("readable");
    let generated = String::from_utf8(output.stdout).expect("UTF-8");
    let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        committed == generated,
        "openapi.yaml differs from line {:?} on; run `make openapi`",
        differs.map(|line| line + 1)
    );
}
