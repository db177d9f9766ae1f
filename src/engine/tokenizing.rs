//! Texts into tokens, of a text only as much as can matter. Owns where a text may be cut before it is tokenized, without any token being
//! another than that of the whole; must never guess: where a tokenizer is not known to read word by word, the whole text is read, and
//! refused where that would take too much memory.

use std::path::Path;

use tokenizers::EncodeInput;
use tokenizers::Encoding;
use tokenizers::PostProcessor as _;
use tokenizers::Tokenizer;
use tokenizers::TruncationParams;

use crate::engine::interface::EngineError;
use crate::engine::word_breaks::Parts;
use crate::engine::word_breaks::WordBreaks;

/// Bytes of a text that are read first, for each token that the model takes.
const BYTES_PER_TOKEN: usize = 16;
/// Most tokens that a byte of a text can become: of Unicode's compatibility forms the longest is eleven times as long as what it stands for.
const TOKENS_PER_BYTE: usize = 16;
/// Most bytes of a text that are tokenized at once, where the model's length does not ask for more: a byte takes up to 170 bytes of memory.
const LONGEST_READ: usize = 512 << 10;

/// A text, or a pair of texts.
pub type Text = (String, Option<String>);

/// What becomes of a text that is longer than the model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlong {
    /// It is cut, as in training.
    Cut,
    /// It is refused.
    Refused,
}

/// Why texts have no tokens.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// The tokenizer's own reason.
    #[error("{0}")]
    Tokenizer(#[from] tokenizers::Error),
    /// More would have to be read at once than is.
    #[error(
        "has {bytes} bytes in which it cannot be cut before it is tokenized, at most {longest} are read at once: put blanks between its words, or cut it"
    )]
    Unbroken {
        /// Which of the texts.
        input: usize,
        /// What would have to be read.
        bytes: usize,
        /// What may be.
        longest: usize,
    },
}

/// A folder's tokenizer; inputs are cut at the model's length and never padded.
pub struct TextReader {
    tokenizer: Tokenizer,
    max_tokens: usize,
    breaks: Option<WordBreaks>,
    /// Bytes of a text that are read first.
    first: usize,
}

impl std::fmt::Debug for TextReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextReader").field("max_tokens", &self.max_tokens).field("breaks", &self.breaks).finish()
    }
}

impl TextReader {
    /// Reads the folder's `tokenizer.json`. `None` where there is no such file.
    pub fn open(folder: &Path, max_tokens: usize) -> Result<Option<Self>, EngineError> {
        let path = folder.join("tokenizer.json");
        if !path.is_file() {
            return Ok(None);
        }
        let json = std::fs::read(&path).map_err(|e| EngineError::Backbone(format!("tokenizer.json: {e}")))?;
        Self::read(&json, max_tokens).map(Some)
    }

    fn read(json: &[u8], max_tokens: usize) -> Result<Self, EngineError> {
        let refused = |e: tokenizers::Error| EngineError::Backbone(format!("tokenizer.json: {e}"));
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(refused)?;
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(refused)?;
        let parts = serde_json::from_slice::<Parts>(json).ok();
        let breaks = parts.and_then(|parts| WordBreaks::of(&parts, &tokenizer));
        Ok(Self { tokenizer, max_tokens, breaks, first: max_tokens.saturating_mul(BYTES_PER_TOKEN) })
    }

    /// The tokens of all texts, cut at the model's length. One that was longer has overflowing tokens; how many says nothing.
    pub fn encode(&self, texts: Vec<Text>, overlong: Overlong) -> Result<Vec<Encoding>, Unread> {
        let is_long = |text: &Text| self.is_long(&text.0) || text.1.as_ref().is_some_and(|pair| self.is_long(pair));
        let places: Vec<bool> = texts.iter().map(is_long).collect();
        let (mut long, mut short) = (Vec::new(), Vec::new());
        for (place, (text, is_long)) in texts.into_iter().zip(&places).enumerate() {
            if *is_long { long.push((place, text)) } else { short.push(input(text)) }
        }
        let long: Vec<Encoding> =
            long.iter().map(|(place, text)| self.encode_long(*place, text, overlong)).collect::<Result<_, _>>()?;
        let mut short = self.tokenizer.encode_batch(short, true)?.into_iter();
        let mut long = long.into_iter();
        Ok(places.into_iter().filter_map(|is_long| if is_long { long.next() } else { short.next() }).collect())
    }

    fn is_long(&self, text: &str) -> bool {
        text.len() > self.longest() || (self.breaks.is_some() && text.len() > self.first)
    }

    /// Most bytes of a text that are read at once.
    fn longest(&self) -> usize {
        LONGEST_READ.max(self.first.saturating_mul(2))
    }

    fn encode_long(&self, input: usize, (text, pair): &Text, overlong: Overlong) -> Result<Encoding, Unread> {
        let first = self.enough(input, text)?;
        let Some(pair) = pair else { return Ok(self.tokenizer.encode(first.text, true)?) };
        let second = self.enough(input, pair)?;
        let is_cut = first.text.len() < text.len() || second.text.len() < pair.len();
        let both_are_long = first.is_overlong && second.is_overlong;
        // An odd number of tokens is shared unevenly between two texts that are too long: it takes both to know which is the longer.
        let frame = self.tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(true));
        let room = self.max_tokens.saturating_sub(frame);
        if is_cut && both_are_long && overlong == Overlong::Cut && room % 2 == 1 {
            let whole = (self.readable(input, text)?, self.readable(input, pair)?);
            return Ok(self.tokenizer.encode(whole, true)?);
        }
        Ok(self.tokenizer.encode((first.text, second.text), true)?)
    }

    /// What is to be read at once, where it is not too much.
    fn readable<'a>(&self, input: usize, text: &'a str) -> Result<&'a str, Unread> {
        let (bytes, longest) = (text.len(), self.longest());
        if bytes > longest { Err(Unread::Unbroken { input, bytes, longest }) } else { Ok(text) }
    }

    /// As much of a text as has all tokens that the model takes, and so many more that none of those depends on what is left out.
    fn enough<'a>(&self, input: usize, text: &'a str) -> Result<Enough<'a>, Unread> {
        let mut bytes = self.first;
        loop {
            let cut = self.breaks.as_ref().and_then(|breaks| breaks.cut(text, bytes));
            let read = self.readable(input, cut.as_ref().map_or(text, |cut| &text[..cut.end]))?;
            let encoding = self.tokenizer.encode(read, false)?;
            let over: usize = encoding.get_overflowing().iter().map(Encoding::len).sum();
            match cut {
                // The last word may have become other tokens than it would have in front of what follows; those before it have not.
                Some(cut) if over <= self.max_tokens + cut.last_word.saturating_mul(TOKENS_PER_BYTE) => {
                    bytes = cut.end.saturating_mul(2);
                }
                _ => return Ok(Enough { text: read, is_overlong: over > 0 }),
            }
        }
    }
}

/// The part of a text that is read.
struct Enough<'a> {
    text: &'a str,
    /// Whether it alone is longer than the model takes.
    is_overlong: bool,
}

fn input(text: Text) -> EncodeInput<'static> {
    match text {
        (text, Some(pair)) => (text, pair).into(),
        (text, None) => text.into(),
    }
}

#[cfg(test)]
#[path = "tokenizing_tests.rs"]
mod tests;
