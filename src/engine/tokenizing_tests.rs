//! What is read of a text gives the tokens of the whole text, for every kind of tokenizer that is read word by word.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::Value;
use serde_json::json;

use super::*;

/// Fragments of which texts are made: words, blanks of all kinds, marks, characters that join their neighbours, and added tokens.
const FRAGMENTS: [&str; 40] = [
    "a",
    "b",
    "ab",
    "ba",
    "abba",
    "w5",
    "w17",
    "w5x",
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\t",
    "\r\n",
    "   ",
    ",",
    ".",
    "!?",
    "'s",
    "-",
    "_",
    "▁",
    "é",
    "e\u{301}",
    "\u{301}",
    "中",
    "文",
    "ﷺ",
    "ǆ",
    "\u{600}",
    "👩\u{200d}🔬",
    "\u{a0}",
    "\u{3000}",
    "\u{0}",
    "12345",
    "[SEP]",
    "[MASK",
    "abababababababab",
    "Ａ",
];

/// A tokenizer with these parts, and a frame of one token at each end and between two texts.
fn with(normalizer: Value, pre_tokenizer: Value, model: Value) -> Value {
    let added: Vec<Value> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].iter().enumerate().map(|(id, word)| {
        json!({"id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
    }).collect();
    let special = |word: &str| json!({"SpecialToken": {"id": word, "type_id": 0}});
    let sequence = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let frame = |word: &str, id: u32| json!({"id": word, "ids": [id], "tokens": [word]});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "decoder": null,
        "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "model": model,
        "post_processor": {"type": "TemplateProcessing",
            "single": [special("[CLS]"), sequence("A", 0), special("[SEP]")],
            "pair": [special("[CLS]"), sequence("A", 0), special("[SEP]"), sequence("B", 1), special("[SEP]")],
            "special_tokens": {"[CLS]": frame("[CLS]", 2), "[SEP]": frame("[SEP]", 3)}},
    })
}

fn vocabulary(words: &[&str]) -> Value {
    let all = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].iter().chain(words);
    Value::Object(all.enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect())
}

fn bpe(words: &[&str], merges: &[&str]) -> Value {
    json!({"type": "BPE", "dropout": null, "unk_token": "[UNK]", "continuing_subword_prefix": null, "end_of_word_suffix": null,
        "fuse_unk": true, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary(words), "merges": merges})
}

fn unigram() -> Value {
    let pieces = ["▁", "a", "b", "ab", "▁a", "▁ab", "ba", "▁w", "5", ",", "▁▁", "e", "abba"];
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(|word| json!([word, 0.0]));
    let scored = pieces.iter().enumerate().map(|(at, piece)| json!([piece, -1.0 - at as f64 / 3.0]));
    json!({"type": "Unigram", "unk_id": 1, "byte_fallback": false, "vocab": special.into_iter().chain(scored).collect::<Vec<_>>()})
}

fn sequence(kind: &str, parts: &[Value]) -> Value {
    json!({"type": "Sequence", kind: parts})
}

/// One of each family, by the name of a model that has it.
fn tokenizers() -> Vec<(&'static str, Value)> {
    let bert = json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true});
    let pieces = ["a", "b", "ab", "##a", "##b", "##ba", "w", "##5", ",", "中", "'", "s", "["];
    let word_piece = json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 12, "vocab": vocabulary(&pieces)});
    let words = json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary(&["w5", "a", "ab"])});
    let metaspace =
        |split: bool| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": split});
    let blanks = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "});
    let strip = json!({"type": "Strip", "strip_left": true, "strip_right": true});
    let t5 = sequence("normalizers", &[strip, json!({"type": "NFKC"}), blanks]);
    let prepend = json!({"type": "Prepend", "prepend": "▁"});
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let llama = sequence("normalizers", &[prepend, replace]);
    let merged =
        bpe(&["▁", "a", "b", "ab", "▁a", "▁ab", "▁▁", "abab", ",", "5"], &["a b", "▁ a", "▁ ab", "▁ ▁", "ab ab"]);
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let bytes = bpe(&["Ġ", "a", "b", "ab", "Ġa", "Ġab", "Ċ", ",", "ĠĠ", "Ã", "©"], &["a b", "Ġ a", "Ġ ab", "Ġ Ġ"]);
    let regex = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let split = json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let plain = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let llama3 = sequence("pretokenizers", &[split, plain]);
    let t5_split = sequence("pretokenizers", &[json!({"type": "WhitespaceSplit"}), metaspace(true)]);
    vec![
        ("the tests' own", with(Value::Null, json!({"type": "Whitespace"}), words)),
        ("bert", with(bert, json!({"type": "BertPreTokenizer"}), word_piece)),
        ("t5", with(t5.clone(), t5_split, unigram())),
        ("deberta", with(t5, metaspace(true), unigram())),
        ("plain unigram", with(Value::Null, metaspace(false), unigram())),
        ("llama 2", with(llama, Value::Null, merged)),
        ("gpt 2", with(Value::Null, byte_level, bytes.clone())),
        ("llama 3", with(json!({"type": "NFC"}), llama3, bytes)),
    ]
}

fn reader(json: &Value, max_tokens: usize, first: usize) -> TextReader {
    let reader = TextReader::read(json.to_string().as_bytes(), max_tokens).expect("a tokenizer");
    TextReader { first, ..reader }
}

fn told(encoding: &Encoding) -> (Vec<u32>, Vec<u32>, bool) {
    (encoding.get_ids().to_vec(), encoding.get_type_ids().to_vec(), encoding.get_overflowing().is_empty())
}

/// A tokenizer that reads in part, and the same one that reads all.
struct Both {
    name: &'static str,
    part: TextReader,
    whole: TextReader,
}

impl Both {
    fn new(name: &'static str, json: &Value, max_tokens: usize) -> Self {
        let whole = TextReader { breaks: None, ..reader(json, max_tokens, 0) };
        Self { name, part: reader(json, max_tokens, 3 * max_tokens), whole }
    }

    /// Compares what is read of some texts with the whole of each.
    fn compare(&self, texts: &[Text]) {
        let expected = self.whole.encode(texts.to_vec(), Overlong::Cut).expect("tokens");
        let got = self.part.encode(texts.to_vec(), Overlong::Cut).expect("tokens");
        let refused = self.part.encode(texts.to_vec(), Overlong::Refused).expect("tokens");
        for (((expected, got), refused), text) in expected.iter().zip(&got).zip(&refused).zip(texts) {
            assert_eq!(told(got), told(expected), "{}: {text:?}", self.name);
            let both = [refused, expected].map(|one| one.get_overflowing().is_empty());
            assert_eq!(both[0], both[1], "{}: {text:?}", self.name);
        }
    }
}

/// Every other one with an odd number of tokens for two texts, which are then shared unevenly.
static ALL: LazyLock<Vec<Both>> = LazyLock::new(|| {
    let both =
        |(at, (name, json)): (usize, (&'static str, Value))| Both::new(name, &json, if at % 2 == 0 { 5 } else { 8 });
    tokenizers().into_iter().enumerate().map(both).collect()
});

fn text() -> impl Strategy<Value = String> {
    let fragment = (0..FRAGMENTS.len()).prop_map(|at| FRAGMENTS[at]);
    let mixed = proptest::collection::vec(fragment, 0..200).prop_map(|parts| parts.concat());
    let dull = (0..FRAGMENTS.len(), 0..FRAGMENTS.len(), 0..300_usize)
        .prop_map(|(first, second, times)| [FRAGMENTS[first], FRAGMENTS[second]].concat().repeat(times));
    let any = proptest::collection::vec(any::<char>(), 0..150).prop_map(String::from_iter);
    prop_oneof![4 => mixed, 2 => dull, 1 => any]
}

/// A few words, the last of them where a text is cut first.
fn few_words() -> impl Strategy<Value = String> {
    proptest::collection::vec(0..FRAGMENTS.len(), 0..40)
        .prop_map(|parts| parts.into_iter().map(|at| FRAGMENTS[at]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_cut_word_changes_no_token(text in few_words(), pair in few_words()) {
        ALL.iter().for_each(|both| both.compare(&[(text.clone(), Some(pair.clone())), (text.clone(), None)]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn what_is_read_has_the_tokens_of_the_whole(text in text(), pair in proptest::option::of(text())) {
        ALL.iter().step_by(2).for_each(|both| both.compare(&[(text.clone(), pair.clone()), (text.clone(), None)]));
    }

    /// The other half of the tokenizers: the two tests run at once, and take longer than all others here.
    #[test]
    fn what_others_read_has_the_tokens_of_the_whole(text in text(), pair in proptest::option::of(text())) {
        let others = ALL.iter().skip(1).step_by(2);
        others.for_each(|both| both.compare(&[(text.clone(), pair.clone()), (text.clone(), None)]));
    }
}

/// MiniLM's own vocabulary, where the downloads of `make setup` are.
#[test]
fn a_published_tokenizer_gives_the_tokens_of_the_whole() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(".deps/all-MiniLM-L6-v2/tokenizer.json");
    let Ok(bytes) = std::fs::read(file) else { return };
    let json: Value = serde_json::from_slice(&bytes).expect("JSON");
    let both = Both::new("MiniLM", &json, 20);
    assert!(both.part.breaks.is_some(), "read word by word");
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..20 {
        let text = text().new_tree(&mut runner).expect("a text").current();
        both.compare(&[(text.clone(), None), (text.clone(), Some(text.chars().rev().collect()))]);
    }
}

#[test]
fn a_long_text_is_read_in_part() {
    for (name, json) in tokenizers() {
        let reader = reader(&json, 10, 160);
        assert!(reader.breaks.is_some(), "{name}");
        for unit in ["a ", "ab\n", "a,b "] {
            // Words that the normalizer does not part stay one: they are read whole.
            if name == "the tests' own" || unit != "ab\n" || !["plain unigram", "llama 2"].contains(&name) {
                let text = unit.repeat(100_000);
                let read = reader.enough(0, &text).expect("tokens");
                assert!(read.is_overlong && read.text.len() < 2000, "{name}: {} bytes of {unit:?}", read.text.len());
            }
        }
    }
    let (name, bert) = tokenizers().swap_remove(1);
    for unit in ["中", ",", "a,"] {
        let text = unit.repeat(100_000);
        assert!(reader(&bert, 10, 160).enough(0, &text).expect("tokens").text.len() < 2000, "{name}: {unit}");
    }
}

#[test]
fn what_is_not_known_is_read_whole() {
    let words = || json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary(&["a"])});
    let regex = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let crossing = bpe(&["▁", "a", "b", "a▁", "a▁b"], &["a ▁", "a▁ b"]);
    let cases = [
        ("one word", with(Value::Null, Value::Null, words())),
        ("an unknown pattern", with(Value::Null, regex(".{7}"), words())),
        ("pieces of a length", with(Value::Null, json!({"type": "FixedLength", "length": 5}), words())),
        ("tokens over blanks", with(Value::Null, Value::Null, crossing)),
        (
            "a replacement over blanks",
            with(
                json!({"type": "Replace", "pattern": {"Regex": "a b$"}, "content": "c"}),
                json!({"type": "Whitespace"}),
                words(),
            ),
        ),
    ];
    for (name, json) in cases {
        let both = Both::new(name, &json, 5);
        assert_eq!(both.part.breaks, None, "{name}");
        both.compare(&[("a b ".repeat(100), None), ("a b".to_owned(), Some("a b ".repeat(50)))]);
    }
    let mut added = with(Value::Null, json!({"type": "Whitespace"}), words());
    added["added_tokens"][3]["content"] = json!("of two words");
    added["post_processor"] = Value::Null;
    assert_eq!(reader(&added, 5, 8).breaks, None);
}

#[test]
fn what_would_have_to_be_read_at_once_is_refused_where_it_is_too_much() {
    let refused = |reader: &TextReader, texts: Vec<Text>| {
        let error = reader.encode(texts, Overlong::Cut).expect_err("more than is read at once");
        assert!(matches!(error, Unread::Unbroken { input: 1, .. }), "{error}");
    };
    let giant = "ab".repeat(LONGEST_READ);
    for (name, json) in tokenizers() {
        let reader = reader(&json, 10, 160);
        println!("{name}");
        refused(&reader, vec![("a".to_owned(), None), (giant.clone(), None)]);
        refused(&reader, vec![("a".to_owned(), None), ("a".to_owned(), Some(format!("a b {giant} a")))]);
    }
    let words = json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary(&["a"])});
    let pieces = with(Value::Null, json!({"type": "FixedLength", "length": 5}), words);
    let unknown = reader(&pieces, 10, 160);
    assert!(unknown.breaks.is_none(), "not known to read word by word");
    let spaced = "a ".repeat(LONGEST_READ);
    refused(&unknown, vec![("a".to_owned(), None), (spaced, None)]);
    let most = "a ".repeat(LONGEST_READ / 2);
    assert_eq!(unknown.encode(vec![(most, None)], Overlong::Cut).expect("as much as is read").len(), 1);
}
