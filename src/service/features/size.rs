//! How many bytes features take, and how rows are cut into forwards and shards. Owns both rules, which look at the rows and the
//! settings alone: the same job is cut the same way whenever and beside whatever it runs.

use std::ops::Range;

use crate::domain::features::FeatureSettings;
use crate::domain::token_choice::TokenChoice;

/// Tokens of one forward, unless one row has more: others get their turn in between.
const TOKENS_PER_FORWARD: usize = 4096;

/// Rows that a transform is made from at most, evenly spaced in the file.
pub const TRANSFORM_SAMPLE: u64 = 2048;

/// What a row of a job takes in its files, headers left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowSize {
    per_token: u64,
    per_row: u64,
}

impl RowSize {
    /// Of a job with these settings on a backbone of this width.
    pub fn of(settings: &FeatureSettings, width: usize) -> Self {
        let width = settings.project.map_or(width, |project| project.dim);
        let states = (settings.levels().len() * width * settings.dtype.wire().size()) as u64;
        match &settings.tokens {
            // Each row has its length besides, an I64.
            TokenChoice::All(_) => Self { per_token: states, per_row: 8 },
            picks => Self { per_token: 0, per_row: states * picks.picks().len() as u64 },
        }
    }

    /// Bytes of so many rows with so many tokens in all.
    pub fn bytes(self, rows: u64, tokens: u64) -> u64 {
        rows * self.per_row + tokens * self.per_token
    }
}

/// What a shard may still take.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// What a row takes.
    pub size: RowSize,
    /// Bytes that are left.
    pub bytes: u64,
    /// Whether the shard has no row yet: its first may be of any size.
    pub is_empty: bool,
}

/// Forwards of one shard.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// The rows of each, by their place in the list.
    pub forwards: Vec<Range<usize>>,
    /// Whether the shard has no room for the row after them.
    pub is_full: bool,
}

/// Cuts rows with these numbers of tokens into forwards, as far as there is room.
pub fn cut(tokens: &[usize], room: Room) -> Cut {
    let mut forwards: Vec<Range<usize>> = Vec::new();
    let (mut left, mut in_forward) = (room.bytes, 0);
    for (at, &count) in tokens.iter().enumerate() {
        let takes = room.size.bytes(1, count as u64);
        if takes > left && !(room.is_empty && at == 0) {
            return Cut { forwards, is_full: true };
        }
        left = left.saturating_sub(takes);
        in_forward += count;
        match forwards.last_mut() {
            Some(forward) if in_forward <= TOKENS_PER_FORWARD => forward.end = at + 1,
            _ => {
                forwards.push(at..at + 1);
                in_forward = count;
            }
        }
    }
    Cut { forwards, is_full: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::feature_choice::Levels;
    use crate::domain::features::Given;

    fn room(bytes: u64, is_empty: bool) -> Room {
        Room { size: RowSize { per_token: 10, per_row: 8 }, bytes, is_empty }
    }

    /// Where each forward ends, and whether the shard is full.
    fn ends(tokens: &[usize], room: Room) -> (Vec<usize>, bool) {
        let cut = cut(tokens, room);
        (cut.forwards.iter().map(|forward| forward.end).collect(), cut.is_full)
    }

    #[test]
    fn a_shard_ends_before_the_row_that_it_has_no_room_for() {
        assert_eq!(ends(&[1, 2, 3], room(1000, true)), (vec![3], false));
        assert_eq!(ends(&[1, 2, 3], room(18 + 28, true)), (vec![2], true));
        assert_eq!(ends(&[9], room(1, true)), (vec![1], false), "one row is always taken");
        assert_eq!(ends(&[9], room(1, false)), (vec![], true));
    }

    #[test]
    fn a_forward_ends_before_it_is_too_long_for_others() {
        let found = cut(&[2000, 2000, 2000, 9000, 1], room(u64::MAX, false));
        assert_eq!(found, Cut { forwards: vec![0..2, 2..3, 3..4, 4..5], is_full: false });
    }

    #[test]
    fn a_row_takes_its_states_and_its_length() {
        let size = |json: serde_json::Value| {
            let settings: FeatureSettings = serde_json::from_value(json).expect("settings");
            let given = Given { levels: Levels { model: "m", count: 7, most: 0 }, width: 384, dim: 0 };
            RowSize::of(&settings.settle(&given).expect("fits"), 384).bytes(2, 30)
        };
        use serde_json::json;
        assert_eq!(size(json!({})), 30 * 7 * 384 * 4 + 2 * 8);
        assert_eq!(size(json!({"layers": 2, "tokens": ["cls", "mean"], "dtype": "float16"})), 2 * 2 * 2 * 384 * 2);
        let projected = json!({"layers": [0], "dtype": "int8", "project": {"kind": "pca", "dim": 96}});
        assert_eq!(size(projected), 30 * 96 + 2 * 8);
    }
}
