//! Rules about structure, read from the sources.

#[path = "architecture/clocks.rs"]
mod clocks;
#[path = "architecture/documentation.rs"]
mod documentation;
#[path = "architecture/fencing.rs"]
mod fencing;
#[path = "architecture/metrics.rs"]
mod metrics;
#[path = "architecture/sizes.rs"]
mod sizes;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// Which layers a layer may use. `app`, `background`, `cli`, `config` and the roots put things together, and are above all of them.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("instruments", &[]),
    ("model", &["domain"]),
    ("store", &["domain"]),
    ("engine", &["domain", "model", "instruments"]),
    ("service", &["domain", "store", "engine", "instruments"]),
    ("api", &["domain", "service", "instruments"]),
];

/// Layers in which no file may import itself by way of others.
const WITHOUT_CIRCLES: &[&str] = &["domain", "store", "model", "engine", "service", "api"];

/// The rooms of the service, from the top: each may import those below its own line only.
const SERVICE_ORDER: &[&[&str]] = &[
    &["mod"],
    &["monitoring", "fleet"],
    &["jobs"],
    &["training"],
    &["models", "planning"],
    &["features", "batches"],
    &["lifecycle", "inference"],
    &["webhooks", "files", "accounting"],
    &["access"],
    &["unattended"],
    &["context"],
    &["error"],
];

/// Which parts of `src` may name a crate.
const NAMED_IN: &[(&str, &[&str])] = &[
    ("tch", &["engine/", "model/"]),
    // The service's one type of a pooled connection.
    ("sqlx", &["store/", "service/context.rs"]),
    ("object_store", &["store/"]),
    ("ring", &["store/"]),
    // A host calls out for webhooks, to its operator's collector, and to the other nodes of its fleet.
    ("reqwest", &["service/webhooks/", "telemetry/otlp.rs", "api/relay.rs"]),
    ("axum", &["api/", "app.rs"]),
    ("http", &["api/", "app.rs"]),
    ("hyper", &["api/"]),
    ("tower", &["api/"]),
    ("figment", &["config.rs", "cli/"]),
    ("clap", &["cli/"]),
    ("prometheus_client", &["instruments/"]),
    ("opentelemetry", &["instruments/traces.rs", "telemetry/"]),
    ("opentelemetry_sdk", &["instruments/traces.rs", "telemetry/"]),
    ("opentelemetry_otlp", &["telemetry/"]),
    ("opentelemetry_http", &["telemetry/"]),
    ("tracing_opentelemetry", &["instruments/traces.rs", "telemetry/"]),
];

struct Source {
    /// Path below `src`.
    name: String,
    text: String,
}

impl Source {
    /// The text without comments and without text literals, so that prose names nothing.
    fn code(&self) -> String {
        let parts = without_comments(&self.text).replace("\\\"", "").replace("'\"'", "");
        parts.split('"').step_by(2).collect()
    }

    /// The part before the first module of unit tests.
    fn without_tests(&self) -> String {
        self.code().split("#[cfg(test)]").next().unwrap_or_default().to_owned()
    }
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| match line.find("//") {
        Some(at) if !line[..at].contains('"') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
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

/// The members of a group, from behind its opening bracket.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        let change = depth_change(group, at, c);
        if depth == 0 && (c == ',' || change < 0) {
            found.push(&group[start..at]);
            start = at + 1;
        }
        depth += change;
        if depth < 0 {
            break;
        }
    }
    found
}

/// 1 for an opening bracket, -1 for a closing one, 0 for what is none.
fn depth_change(text: &str, at: usize, c: char) -> i32 {
    let is_arrow = c == '>' && text[..at].ends_with(['-', '=']);
    match c {
        '{' | '(' | '[' | '<' => 1,
        '}' | ')' | ']' | '>' if !is_arrow => -1,
        _ => 0,
    }
}

/// The whole paths after `crate::`, grouped imports included.
fn paths(code: &str) -> Vec<Vec<&str>> {
    code.split("crate::").skip(1).flat_map(|rest| expand(rest, &[])).collect()
}

fn expand<'a>(text: &'a str, before: &[&'a str]) -> Vec<Vec<&'a str>> {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return members(group).into_iter().flat_map(|member| expand(member, before)).collect();
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let path = [before, &[&text[..end]]].concat();
    match text[end..].strip_prefix("::") {
        Some(rest) => expand(rest, &path),
        None => vec![path],
    }
}

/// Files by the files that they import, `mod` declarations left out.
type Imports<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Which of these files import which. A path leads to the deepest module in it, and so to a folder's `mod.rs` where it names what that
/// gives on.
fn imports(files: &[Source]) -> Imports<'_> {
    let by_module: BTreeMap<Vec<&str>, &str> = files.iter().map(|file| (module(&file.name), &*file.name)).collect();
    let file_of = |path: &[&str]| (1..=path.len()).rev().find_map(|length| by_module.get(&path[..length]).copied());
    let found = files.iter().map(|file| {
        let code = file.without_tests();
        let mut used: BTreeSet<&str> = paths(&code).iter().filter_map(|path| file_of(path)).collect();
        // A folder's own modules are named without `crate::`.
        let own = module(&file.name);
        let children = by_module.iter().filter(|(path, _)| path.len() == own.len() + 1 && path.starts_with(&own));
        used.extend(children.filter(|(path, _)| names_crate(&code, path[own.len()])).map(|(_, name)| *name));
        used.remove(&*file.name);
        (&*file.name, used)
    });
    found.collect()
}

/// `service/files/mod.rs` is `service::files`, `service/files/receive.rs` is `service::files::receive`.
fn module(name: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = name.trim_end_matches(".rs").split('/').collect();
    if parts.last() == Some(&"mod") {
        parts.pop();
    }
    parts
}

/// A way from a file back to itself, the file at both ends.
fn circle<'a>(imports: &Imports<'a>) -> Option<Vec<&'a str>> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|file| way_back(imports, &mut vec![*file], &mut done))
}

fn way_back<'a>(imports: &Imports<'a>, way: &mut Vec<&'a str>, done: &mut BTreeSet<&'a str>) -> Option<Vec<&'a str>> {
    let here = *way.last()?;
    for next in imports.get(here).into_iter().flatten() {
        if let Some(at) = way.iter().position(|file| file == next) {
            return Some([&way[at..], &[*next]].concat());
        }
        if done.contains(next) {
            continue;
        }
        way.push(next);
        if let Some(found) = way_back(imports, way, done) {
            return Some(found);
        }
        way.pop();
    }
    done.insert(here);
    None
}

fn layer(name: &str) -> Vec<Source> {
    let is_part = |source: &Source| source.name.starts_with(&format!("{name}/")) && !is_fragment(source);
    let files: Vec<Source> = sources().into_iter().filter(is_part).collect();
    assert!(files.len() > 5, "{name} has {} files", files.len());
    files
}

/// Unit tests in a file of their own are part of the file that they test.
fn is_fragment(source: &Source) -> bool {
    source.name.ends_with("tests.rs")
}

/// The line of [`SERVICE_ORDER`] that a file of the service stands on, and its room.
fn room(name: &str) -> (usize, &str) {
    let room = name.trim_start_matches("service/").split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let line = SERVICE_ORDER.iter().position(|line| line.contains(&room));
    (line.unwrap_or_else(|| panic!("src/{name} is in no room of SERVICE_ORDER")), room)
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
        MAY_USE.iter().map(|(layer, _)| *layer).chain(["app", "background", "cli", "config", "telemetry"]).collect();
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

fn made_up(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(name, text)| Source { name: (*name).to_owned(), text: (*text).to_owned() }).collect()
}

#[test]
fn a_circle_is_found_however_it_is_closed() {
    let straight = [("x/mod.rs", "mod a;\nmod b;\npub use a::A;"), ("x/a.rs", "use crate::x::b::B;"), ("x/b.rs", "")];
    assert_eq!(circle(&imports(&made_up(&straight))), None);
    let closed = [
        ("use crate::x::a::A;", vec!["x/a.rs", "x/b.rs", "x/a.rs"]),
        ("use crate::{y, x::{a::A, c}};", vec!["x/a.rs", "x/b.rs", "x/a.rs"]),
        ("fn f() { crate::x::a::g() }", vec!["x/a.rs", "x/b.rs", "x/a.rs"]),
        ("use crate::x::A;", vec!["x/a.rs", "x/b.rs", "x/mod.rs", "x/a.rs"]),
    ];
    for (text, way) in closed {
        let files = made_up(&[straight[0], straight[1], ("x/b.rs", text)]);
        assert_eq!(circle(&imports(&files)), Some(way), "{text}");
    }
}

#[test]
fn no_file_of_a_layer_imports_itself_by_way_of_others() {
    for name in WITHOUT_CIRCLES {
        let files = layer(name);
        assert_eq!(circle(&imports(&files)), None, "a circle of imports in src/{name}");
    }
}

#[test]
fn imports_are_written_from_the_root() {
    for name in WITHOUT_CIRCLES {
        for file in layer(name) {
            let code = file.without_tests();
            assert!(
                !code.contains("super::"),
                "src/{} imports by super::, which the circles are not read from",
                file.name
            );
        }
    }
}

#[test]
fn rooms_of_the_service_import_downwards() {
    let files = layer("service");
    for (file, used) in imports(&files) {
        let (line, own) = room(file);
        for used in used {
            let (below, other) = room(used);
            assert!(own == other || line < below, "src/{file} must not import src/{used}");
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
fn no_layer_below_the_service_knows_where_a_setting_stands_in_a_request() {
    for source in sources() {
        let below = ["domain/", "model/", "engine/"].iter().any(|layer| source.name.starts_with(layer));
        assert!(!below || !source.text.contains("method.split"), "src/{} names a path of a request", source.name);
    }
}

#[test]
fn no_route_of_the_api_lacks_a_class() {
    // `Routes::add` takes a class with each route; nothing else in the api may know another way to one.
    let ways = ["OpenApiRouter", ".route(", ".route_service(", ".nest_service(", ".routes("];
    // The files of the console and of the documentation are no part of the API, and stay under a path of their own.
    for (file, path) in [("api/console.rs", "\"/console"), ("api/documentation.rs", "\"/docs")] {
        let found = sources().into_iter().find(|source| source.name == file).unwrap_or_else(|| panic!("src/{file}"));
        let code = without_comments(&found.text);
        for way in ways {
            assert!(code.split(way).skip(1).all(|rest| rest.starts_with(path)), "src/{file}: a route of another path");
        }
    }
    // What Prometheus asks stands on a port of its own.
    let apart = ["api/operations.rs", "api/console.rs", "api/documentation.rs", "api/prometheus.rs"];
    let is_api = |source: &Source| source.name.starts_with("api/") && !apart.contains(&&*source.name);
    for source in sources().into_iter().filter(is_api) {
        let code = source.code();
        let found: Vec<&&str> = ways.iter().filter(|way| code.contains(**way)).collect();
        assert!(found.is_empty(), "src/{} registers a route by {found:?}, not by Routes::add", source.name);
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
fn the_committed_contract_is_the_one_that_the_code_has() {
    let output = Command::new(env!("CARGO_BIN_EXE_blindtuned")).arg("openapi").output().expect("runs");
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
