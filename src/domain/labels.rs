//! What looks like a label. Owns which names no file, request or schema may carry, however they are written; must never see values.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use unicode_normalization::UnicodeNormalization;
use unicode_security::skeleton;

/// Words that say label wherever they stand in a name: `gold_labels`, `labelCount`, `ground_truth_2`.
const ALWAYS: &[&str] = &["label", "labels", "truth", "truths", "groundtruth", "groundtruths"];

/// Words that say label in a name that says nothing else, or only what kind of label: `y_train`, `class_id`, `correctAnswer`.
const WITH_QUALIFIERS: &[&str] = &[
    "answer",
    "answers",
    "categories",
    "category",
    "chosen",
    "class",
    "classes",
    "completion",
    "completions",
    "diagnoses",
    "diagnosis",
    "gold",
    "outcome",
    "outcomes",
    "preferred",
    "rating",
    "ratings",
    "rejected",
    "sentiment",
    "sentiments",
    "stars",
    "target",
    "targets",
    "y",
    "ys",
];

/// What may stand beside such a word, besides numbers.
const QUALIFIERS: &[&str] = &[
    "code",
    "codes",
    "col",
    "column",
    "correct",
    "dev",
    "encoded",
    "eval",
    "expected",
    "field",
    "final",
    "hat",
    "hot",
    "human",
    "id",
    "idx",
    "ids",
    "index",
    "int",
    "is",
    "my",
    "name",
    "names",
    "one",
    "onehot",
    "pred",
    "raw",
    "str",
    "test",
    "the",
    "train",
    "training",
    "true",
    "val",
    "valid",
    "validation",
    "value",
    "values",
];

/// Names that say label as a whole, without what separates their words: also where nothing does, as in `ytrain`. Words of these that are
/// common in other names (`f1_score`, `output_dir`) are no label there.
const WHOLE: &[&str] = &[
    "answerid",
    "classid",
    "classids",
    "goldanswer",
    "goldtarget",
    "labelid",
    "labelids",
    "nonpreferred",
    "nonpreferredoutput",
    "output",
    "outputs",
    "preferredoutput",
    "response",
    "responses",
    "score",
    "scores",
    "targetid",
    "ydev",
    "ytest",
    "ytrain",
    "ytrue",
    "yval",
];

/// The lists, folded as names are: once for the process, for every name of every row is looked up in them.
static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists {
    always: folded(ALWAYS),
    with_qualifiers: folded(WITH_QUALIFIERS),
    qualifiers: folded(QUALIFIERS),
    whole: folded(WHOLE),
    label: fold("label"),
    labels: fold("labels"),
});

struct Lists {
    always: HashSet<String>,
    with_qualifiers: HashSet<String>,
    qualifiers: HashSet<String>,
    whole: HashSet<String>,
    label: String,
    labels: String,
}

fn folded(words: &[&str]) -> HashSet<String> {
    words.iter().map(|word| fold(word)).collect()
}

/// Whether a key or column looks like a label: `label`, `Labels`, `goldLabel`, `target`, `y_train`, `completion`, and so on, also in letters
/// that are wide, have accents, or only look like these.
pub fn is_label_name(name: &str) -> bool {
    let wide: String = if name.is_ascii() { name.to_owned() } else { name.nfkc().collect() };
    let words: Vec<Word> = words(&wide);
    let spoken: Vec<&Word> = words.iter().filter(|word| !word.is_number).collect();
    if let [one] = spoken[..]
        && one.is_foreign_letter
    {
        return false; // `y` alone is a label's name; what only looks like it is one letter among thousands
    }
    let lists = &*LISTS;
    let whole: String = words.iter().map(|word| word.folded.as_str()).collect();
    let letters: String = spoken.iter().map(|word| word.folded.as_str()).collect();
    let says = |list: &HashSet<String>, word: &Word| list.contains(&word.folded);
    lists.whole.contains(&letters)
        || [&whole, &letters].into_iter().any(|name| lists.with_qualifiers.contains(name))
        || lists.always.contains(&whole)
        || whole.starts_with(&lists.label)
        || whole.ends_with(&lists.label)
        || whole.ends_with(&lists.labels)
        || spoken.iter().any(|word| says(&lists.always, word))
        || (spoken.iter().any(|word| says(&lists.with_qualifiers, word))
            && spoken.iter().all(|word| says(&lists.with_qualifiers, word) || says(&lists.qualifiers, word)))
}

/// A word of a name.
struct Word {
    folded: String,
    is_number: bool,
    /// A single letter that is none of a to z.
    is_foreign_letter: bool,
}

/// The words of a name: cut at whatever is no letter or digit, between letters and digits, and where capitals begin a word.
fn words(name: &str) -> Vec<Word> {
    let chars: Vec<char> = name.chars().collect();
    let mut words = Vec::new();
    let mut begin = 0;
    for at in 0..=chars.len() {
        if at == chars.len() || (at > begin && begins_a_word(&chars, at)) || !chars[at].is_alphanumeric() {
            words.extend(word(&chars[begin..at]));
            begin = at;
        }
    }
    words
}

fn begins_a_word(chars: &[char], at: usize) -> bool {
    let (before, here) = (chars[at - 1], chars[at]);
    let next_is_small = chars.get(at + 1).is_some_and(|next| next.is_lowercase());
    before.is_numeric() != here.is_numeric()
        || (here.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && next_is_small)))
}

fn word(chars: &[char]) -> Option<Word> {
    let text: String = chars.iter().filter(|c| c.is_alphanumeric()).collect();
    let is_foreign_letter = text.chars().count() == 1 && !text.is_ascii();
    let is_number = text.chars().all(char::is_numeric);
    (!text.is_empty()).then(|| Word { folded: fold(&text), is_number, is_foreign_letter })
}

/// A word in small letters, with one form for all that look alike, and without accents.
fn fold(word: &str) -> String {
    let small = word.to_lowercase();
    match small.is_ascii() {
        true => small.replace('0', "o").replace('1', "l").replace('m', "rn"),
        false => skeleton(&small).flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric()).collect(),
    }
}

/// Where in a JSON text, at whatever depth, the first name stands that looks like a label: its path. Names that a later one of the same
/// object replaces count as well. An error where the text is no JSON.
pub fn first_label(json: &[u8]) -> serde_json::Result<Option<String>> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_slice(json);
    Names { path: "", found: &mut found }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(found)
}

/// Looks at the names in a value, and skips everything else.
struct Names<'a> {
    path: &'a str,
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

macro_rules! skip {
    ($($visit:ident: $value:ty),*) => {
        $(fn $visit<E>(self, _: $value) -> Result<(), E> {
            Ok(())
        })*
    };
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    skip!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut place = 0;
        loop {
            let path = format!("{}[{place}]", self.path);
            if items.next_element_seed(Names { path: &path, found: self.found })?.is_none() {
                return Ok(());
            }
            place += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            if self.found.is_none() && is_label_name(&name) {
                *self.found = Some(path.clone());
            }
            match self.found {
                Some(_) => drop(fields.next_value::<IgnoredAny>()?),
                None => fields.next_value_seed(Names { path: &path, found: self.found })?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_found_at_any_depth_and_even_where_another_name_hides_it() {
        for (json, place) in [
            (r#"{"label": 1}"#, "label"),
            (r#"{"body": {"metadata": {"gold_label": 1}}}"#, "body.metadata.gold_label"),
            (r#"{"body": {"input": [{"text": "x"}, {"y": 1}]}}"#, "body.input[1].y"),
            (r#"{"body": {"target": 1}, "body": {}}"#, "body.target"),
            (r#"[[{"a": {"stars": 1, "label": 2}}]]"#, "[0][0].a.stars"),
        ] {
            assert_eq!(first_label(json.as_bytes()).expect("JSON").as_deref(), Some(place), "{json}");
        }
        let free =
            r#"{"custom_id": "label", "body": {"model": "m", "input": ["y", "label"], "n": [1, 1.5, -2, null, true]}}"#;
        assert_eq!(first_label(free.as_bytes()).expect("JSON"), None, "what a text says is not looked at");
        for broken in ["", "{", "{} x", "{\"a\" 1}"] {
            assert!(first_label(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    const LABELS: &str = "label Label LABELS label_id gold-label is_label target y Y completion gold_labels GoldLabels ground_truths \
        y_train yTrain ytrain y1 IDLabel classId 1abel g0ld \u{ff59} \u{ff2c}\u{ff21}\u{ff22}\u{ff25}\u{ff2c} l\u{430}bel \u{443}_true \
        l\u{e1}bel la\u{200b}bel la\u{301}bel \u{1d4c1}abel t\u{430}rg\u{435}t";

    const OTHERS: &str = "_ text text_pair input_ids id ids sentence lengths seq token_type_ids metadata f1_score eval_loss num_classes \
        output_dir yield truthful_qa goldfish x_y_z \u{43c}\u{435}\u{442}\u{43a}\u{430}";

    #[test]
    fn names_of_labels_are_known_however_they_are_written() {
        for name in LABELS.split_whitespace().chain(["ground truth", "the label"]) {
            assert!(is_label_name(name), "{name}");
        }
        for name in OTHERS.split_whitespace().chain([""]) {
            assert!(!is_label_name(name), "{name}");
        }
    }

    #[test]
    fn a_letter_alone_that_only_looks_like_y_is_no_label() {
        assert!(["y", "Y", "\u{ff59}", "y_train", "y1"].iter().all(|name| is_label_name(name)));
        assert!(["\u{ff}", "\u{3b3}", "\u{443}", "\u{ff}\u{88}"].iter().all(|name| !is_label_name(name)));
    }

    #[test]
    fn small_ascii_letters_are_folded_as_all_others_are() {
        for letter in ('a'..='z').chain('0'..='9') {
            let other: String = skeleton(&letter.to_string()).flat_map(char::to_lowercase).collect();
            assert_eq!(fold(&letter.to_string()), other);
        }
    }
}
