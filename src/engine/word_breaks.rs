//! Where a tokenizer surely reads word by word. Owns what is known of the parts of a `tokenizer.json`; one that is not listed here is
//! taken to look at a text as a whole. Must never tokenize.
//!
//! A text is cut in front of a blank, behind a word. What can differ from the whole text is then that last word: no normalizer, no
//! pre-tokenizer and no model below looks further back than over one of them.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::NormalizedString;
use tokenizers::Normalizer as _;
use tokenizers::Tokenizer;

/// The patterns of GPT-2's descendants: each match is of one word, with the blank in front of it.
const PATTERNS: [&str; 3] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// The parts of a `tokenizer.json` that say how far a token depends on its neighbours.
#[derive(Deserialize)]
pub struct Parts {
    /// What happens to characters.
    pub normalizer: Option<Value>,
    /// What splits a text into words.
    pub pre_tokenizer: Option<Value>,
    /// What splits a word into tokens.
    pub model: Model,
}

/// What is asked of the model of a `tokenizer.json`.
#[derive(Deserialize)]
pub struct Model {
    /// `WordPiece` and the like.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Merges that are left out by chance.
    pub dropout: Option<f64>,
}

/// What ends a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordBreaks {
    /// Line ends and tabs, as blanks do.
    lines: bool,
    /// Each punctuation mark of ASCII and each ideograph is a word.
    marks: bool,
    /// Bytes of the longest token that is found before anything else is done.
    longest_added: usize,
}

/// Where a text may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The first byte that is left out.
    pub end: usize,
    /// Bytes at the end whose tokens may be others than in the whole text.
    pub last_word: usize,
}

/// How a pre-tokenizer splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// Not between words: what the model's vocabulary has decides.
    Nowhere,
    /// At blanks alone.
    Blanks,
    /// At white space of any kind.
    WhiteSpace,
    /// There, and around each punctuation mark.
    Marks,
}

impl WordBreaks {
    /// What ends a word for a tokenizer with these parts. `None`: unknown.
    pub fn of(parts: &Parts, tokenizer: &Tokenizer) -> Option<Self> {
        let added: Vec<String> =
            tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
        if added.iter().any(|token| token.contains(char::is_whitespace)) || parts.model.dropout.is_some_and(|p| p > 0.0)
        {
            return None;
        }
        let normalizer = parts.normalizer.as_ref();
        if !normalizer.is_none_or(is_local) {
            return None;
        }
        let split = parts.pre_tokenizer.as_ref().map_or(Some(Split::Nowhere), split)?;
        let inside = !matches!(split, Split::WhiteSpace | Split::Marks);
        let alone = inside.then(|| Alone::of(tokenizer));
        if split == Split::Nowhere && !(is_subword(&parts.model) && alone.is_some_and(|alone| alone.blank)) {
            return None;
        }
        let lines = alone.is_none_or(|alone| (alone.line && is_subword(&parts.model)) || becomes_blank(tokenizer));
        let is_bert = normalizer.is_some_and(|part| kind(part) == "BertNormalizer");
        let marks = split == Split::Marks && is_bert && flag(normalizer?, "handle_chinese_chars");
        let longest_added = added.iter().map(String::len).max().unwrap_or(0);
        Some(Self { lines, marks, longest_added })
    }

    /// The first place from `from` on where a text may be cut. `None`: it must be read whole.
    pub fn cut(&self, text: &str, from: usize) -> Option<Cut> {
        let mut start = (0..=from.min(text.len())).rev().find(|at| text.is_char_boundary(*at))?;
        // The last word may have begun before.
        let before = text[..start].char_indices().rev().take_while(|(_, c)| self.class(*c) == Class::Letter);
        start = before.last().map_or(start, |(at, _)| at);
        let (mut word, mut last) = (start, None);
        for (at, c) in text[start..].char_indices().map(|(at, c)| (start + at, c)) {
            let class = self.class(c);
            let ends = match last {
                None | Some(Class::Blank) => false,
                Some(Class::Mark) => true,
                Some(Class::Letter) => class != Class::Letter,
            };
            if ends && at >= from {
                return Some(Cut { end: at, last_word: at - word + self.longest_added });
            }
            if last != Some(Class::Letter) || class != Class::Letter {
                word = at;
            }
            last = Some(class);
        }
        None
    }

    fn class(&self, c: char) -> Class {
        match c {
            ' ' => Class::Blank,
            '\n' | '\r' | '\t' if self.lines => Class::Blank,
            '\u{4e00}'..='\u{9fff}' if self.marks => Class::Mark,
            c if self.marks && c.is_ascii_punctuation() => Class::Mark,
            _ => Class::Letter,
        }
    }
}

/// What a character is for words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Blank,
    /// A word by itself.
    Mark,
    Letter,
}

/// Characters that stand in no token behind another character.
#[derive(Debug, Clone, Copy)]
struct Alone {
    blank: bool,
    line: bool,
}

impl Alone {
    fn of(tokenizer: &Tokenizer) -> Self {
        let mut alone = Self { blank: true, line: true };
        for token in tokenizer.get_vocab(false).keys() {
            let behind = |is: fn(char) -> bool| token.trim_start_matches(is).contains(is);
            alone.blank &= !behind(|c| matches!(c, ' ' | '▁'));
            alone.line &= !behind(|c| matches!(c, '\n' | '\r' | '\t'));
        }
        alone
    }
}

fn is_subword(model: &Model) -> bool {
    matches!(model.kind.as_deref(), Some("BPE" | "Unigram"))
}

/// Whether the normalizer makes blanks of line ends and tabs.
fn becomes_blank(tokenizer: &Tokenizer) -> bool {
    let mut text = NormalizedString::from("a\nb\tc\rd");
    let Some(normalizer) = tokenizer.get_normalizer() else { return false };
    normalizer.normalize(&mut text).is_ok() && matches!(text.get().trim_start_matches('▁'), "a b c d" | "a▁b▁c▁d")
}

fn kind(part: &Value) -> &str {
    part["type"].as_str().unwrap_or_default()
}

/// A flag that is set where it is left out.
fn flag(part: &Value, name: &str) -> bool {
    part[name].as_bool().unwrap_or(true)
}

/// Whether a normalizer looks no further than over a word.
fn is_local(part: &Value) -> bool {
    match kind(part) {
        "BertNormalizer" | "NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase" | "StripAccents" | "Strip" | "Nmt"
        | "Precompiled" | "Prepend" | "ByteLevel" => true,
        "Replace" => match (&part["pattern"]["String"], &part["pattern"]["Regex"]) {
            (Value::String(text), _) => text.chars().count() == 1 || !text.contains(char::is_whitespace),
            (_, Value::String(pattern)) => pattern == " {2,}",
            _ => false,
        },
        "Sequence" => part["normalizers"].as_array().is_some_and(|parts| parts.iter().all(is_local)),
        _ => false,
    }
}

/// How a pre-tokenizer splits. `None`: unknown.
fn split(part: &Value) -> Option<Split> {
    match kind(part) {
        "BertPreTokenizer" => Some(Split::Marks),
        "Whitespace" | "WhitespaceSplit" => Some(Split::WhiteSpace),
        "Metaspace" if part["replacement"] == "▁" => {
            Some(if flag(part, "split") { Split::Blanks } else { Split::Nowhere })
        }
        "ByteLevel" if flag(part, "use_regex") => Some(Split::WhiteSpace),
        "Split" => {
            let is_known = part["pattern"]["Regex"].as_str().is_some_and(|pattern| PATTERNS.contains(&pattern));
            (is_known && part["behavior"] == "Isolated" && part["invert"] == false).then_some(Split::WhiteSpace)
        }
        "Sequence" => sequence(part["pretokenizers"].as_array()?),
        _ => None,
    }
}

/// The first one that splits decides; what comes behind it sees its pieces alone.
fn sequence(parts: &[Value]) -> Option<Split> {
    let mut found = Split::Nowhere;
    for part in parts {
        let piecewise = matches!(kind(part), "Punctuation" | "Digits" | "ByteLevel" | "Metaspace");
        match (found, split(part)) {
            (Split::Nowhere, Some(split)) => found = split,
            (Split::Nowhere, None) if matches!(kind(part), "Digits") => {}
            (Split::Nowhere, None) => return None,
            // Pieces are words already.
            (_, _) if piecewise => {}
            (_, split) => drop(split?),
        }
    }
    Some(found)
}
