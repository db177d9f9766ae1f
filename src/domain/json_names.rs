//! Names that stand twice in one JSON object. Readers keep one of the two and drop the other, so that a second value would travel unseen.
//! Owns the look for them, in one pass over the bytes that builds no value; must never judge whether the text is JSON.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::hash::RandomState;

use memchr::memchr3_iter;

/// Readers of ours go no deeper, and refuse what does.
const DEPTH: usize = 128;

/// The path of the first name that an object has twice, by names alone: `metadata.team`. What it says of a text that is no JSON means nothing.
pub fn first_twice(json: &[u8]) -> Option<String> {
    let mut open: Vec<Object<'_>> = Vec::new();
    let mut text_ends = 0;
    let hashes = RandomState::new();
    for at in memchr3_iter(b'"', b'{', b'}', json) {
        if at < text_ends {
            continue; // inside of a text
        }
        match json[at] {
            b'{' if open.len() == DEPTH => return None,
            b'{' => open.push(Object::default()),
            b'}' => drop(open.pop()),
            _ => {
                text_ends = end_of_text(json, at);
                if let Some(name) = name_of(json, at..text_ends)
                    && let Some(object) = open.last_mut()
                    && !object.take(hashes.hash_one(&name), name)
                {
                    return Some(path(&open));
                }
            }
        }
    }
    None
}

/// An object whose end was not seen yet.
#[derive(Default)]
struct Object<'a> {
    /// Their hashes, under a key of this look's own: a body of nothing but names must not cost many times its size.
    names: HashSet<u64>,
    newest: Cow<'a, [u8]>,
}

impl<'a> Object<'a> {
    /// `false` where it has the name already.
    fn take(&mut self, hash: u64, name: Cow<'a, [u8]>) -> bool {
        self.newest = name;
        self.names.insert(hash)
    }
}

/// One behind the quote that ends the text which begins at `begin`.
fn end_of_text(json: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(step) = memchr::memchr2(b'"', b'\\', &json[at.min(json.len())..]) {
        match json[at + step] {
            b'"' => return at + step + 1,
            _ => at += step + 2, // and what is escaped
        }
    }
    json.len()
}

/// The text as a name, where a colon follows it: without escapes, so that `"\u0061"` is `"a"`.
fn name_of(json: &[u8], text: std::ops::Range<usize>) -> Option<Cow<'_, [u8]>> {
    let behind = json[text.end..].iter().find(|byte| !byte.is_ascii_whitespace());
    if behind != Some(&b':') {
        return None;
    }
    let written = &json[text];
    if !written.contains(&b'\\') {
        return Some(Cow::Borrowed(&written[1..written.len().max(2) - 1]));
    }
    serde_json::from_slice::<String>(written).ok().map(|name| Cow::Owned(name.into_bytes()))
}

fn path(open: &[Object<'_>]) -> String {
    let names: Vec<_> = open.iter().map(|object| String::from_utf8_lossy(&object.newest)).collect();
    names.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_found_at_any_depth_and_however_it_is_escaped() {
        for (json, place) in [
            (r#"{"a": 1, "a": 1}"#, "a"),
            (r#"{"a": {"b": [{"c": 1}, {"c": 1, "d": "}", "c" : 2}]}}"#, "a.b.c"),
            (r#"{"text": "x", "te\u0078t": "y"}"#, "text"),
            (r#"{"a": {"x": 1}, "b": 2, "a": {}}"#, "a"),
            (r#"[{"a": 1}, {"a\"": 1, "a\"": 2}]"#, "a\""),
        ] {
            assert_eq!(first_twice(json.as_bytes()).as_deref(), Some(place), "{json}");
        }
    }

    #[test]
    fn names_of_several_objects_and_texts_that_look_like_names_are_free() {
        for json in [
            r#"{"a": {"a": {"a": 1}}, "b": {"a": 1}}"#,
            r#"[{"a": 1}, {"a": 2}]"#,
            r#"{"a": "\"a\": 1, \"a\": 2", "b": ["a", "a"], "c": "{\\"}"#,
            "",
            "{",
            "\"",
            r#"{"a"#,
            r#"}}"a":1,"a":2"#,
            r#"{"a\"#,
        ] {
            assert_eq!(first_twice(json.as_bytes()), None, "{json}");
        }
        let names: Vec<String> = (0..100_000).map(|number| format!("\"{number}\": 1")).collect();
        assert_eq!(first_twice(format!("{{{}}}", names.join(",")).as_bytes()), None, "many names");
        let deep = format!("{}1", r#"{"a":"#.repeat(100_000));
        assert_eq!(first_twice(deep.as_bytes()), None, "too deep to be read");
    }
}
