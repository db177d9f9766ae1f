//! Parts of a body (RFC 9110, section 14): one range of bytes. Owns how the headers are read; several ranges at once are not taken,
//! and the whole is given for them, as the standard allows.

use std::ops::Range;

use axum::http::HeaderMap;
use axum::http::header::IF_RANGE;
use axum::http::header::RANGE;

/// What a request wants of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Nothing,
}

/// What these headers want of a body of so many bytes, which has this entity tag.
pub fn wanted(headers: &HeaderMap, bytes: u64, etag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if text(IF_RANGE).is_some_and(|tag| tag != etag) {
        return Wanted::Whole;
    }
    let Some(range) = text(RANGE).and_then(|range| range.strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((first, last)) = range.trim().split_once('-') else { return Wanted::Whole };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first > last => Wanted::Whole,
        (Ok(first), _) if first >= bytes && (last.is_empty() || last.parse::<u64>().is_ok()) => Wanted::Nothing,
        (Ok(first), Ok(last)) => Wanted::Part(first..last.saturating_add(1).min(bytes)),
        (Ok(first), Err(_)) if last.is_empty() => Wanted::Part(first..bytes),
        (Err(_), Ok(0)) if first.is_empty() => Wanted::Nothing,
        (Err(_), Ok(count)) if first.is_empty() => Wanted::Part(bytes.saturating_sub(count)..bytes),
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(range: &'static str) -> Wanted {
        let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))]);
        wanted(&headers, 10, "\"a\"")
    }

    #[test]
    fn a_range_is_the_part_that_there_is() {
        for (range, part) in
            [("bytes=0-3", 0..4), ("bytes=4-", 4..10), ("bytes=8-99", 8..10), ("bytes=-3", 7..10), ("bytes=-99", 0..10)]
        {
            assert_eq!(of(range), Wanted::Part(part), "{range}");
        }
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(of(range), Wanted::Nothing, "{range}");
        }
        for range in ["bytes=3-1", "bytes=0-1,4-5", "lines=1-2", "bytes=", "bytes=a-b", "bytes=-"] {
            assert_eq!(of(range), Wanted::Whole, "{range}");
        }
    }

    #[test]
    fn a_part_of_another_body_is_not_mixed_in() {
        let mut headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-3"))]);
        headers.insert(IF_RANGE, HeaderValue::from_static("\"b\""));
        assert_eq!(wanted(&headers, 10, "\"a\""), Wanted::Whole);
        assert_eq!(wanted(&headers, 10, "\"b\""), Wanted::Part(0..4));
    }
}
