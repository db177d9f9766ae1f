//! JSON Schema calls 3.0 and 3e0 integers, and the contract is written in it; serde takes neither for one. Owns the rewriting of such
//! numbers; must never touch a text, or a number that is not whole.

/// Above it not every whole number is a double.
const EXACT: f64 = (1_u64 << 53) as f64;

/// The same JSON with 3 for 3.0 and for 3e0. `None` where there is nothing to rewrite.
pub fn rewritten(json: &[u8]) -> Option<Vec<u8>> {
    let (mut written, mut rest, mut changed) = (Vec::with_capacity(json.len()), json, false);
    while let Some(first) = rest.first() {
        let (token, tail) = rest.split_at(match first {
            b'"' => text_length(rest),
            b'-' | b'0'..=b'9' => rest.iter().position(|c| !b"+-.eE0123456789".contains(c)).unwrap_or(rest.len()),
            _ => 1,
        });
        let whole = whole(token);
        changed |= whole.is_some();
        written.extend_from_slice(whole.as_ref().map_or(token, String::as_bytes));
        rest = tail;
    }
    changed.then_some(written)
}

/// With both of its quotes; what has no end is taken to the end.
fn text_length(json: &[u8]) -> usize {
    let mut escaped = false;
    let end = json.iter().skip(1).position(|c| {
        let ends = *c == b'"' && !escaped;
        escaped = *c == b'\\' && !escaped;
        ends
    });
    end.map_or(json.len(), |end| end + 2)
}

fn whole(token: &[u8]) -> Option<String> {
    let is_float = token[0] != b'"' && token.iter().any(|c| b".eE".contains(c));
    let number: f64 = std::str::from_utf8(token).ok().filter(|_| is_float && token.len() > 1)?.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < EXACT).then(|| format!("{}", number as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_lose_their_fraction_and_nothing_else_changes() {
        for (json, expected) in [
            ("3.0", "3"),
            ("-0.0", "0"),
            (r#"{"seq": 3.0, "lr":0.5}"#, r#"{"seq": 3, "lr":0.5}"#),
            (r#"[1e2,-2.50e1 ,"3.0\"4.0",7.000]"#, r#"[100,-25 ,"3.0\"4.0",7]"#),
            (r#"{"3.0":"\\","e":9007199254740991.0}"#, r#"{"3.0":"\\","e":9007199254740991}"#),
        ] {
            assert_eq!(rewritten(json.as_bytes()).as_deref(), Some(expected.as_bytes()), "{json}");
        }
        for json in
            ["", "{}", "3", "1.5", "1e-1", "1e300", "9007199254740993.0", r#"{"a":"3.0"}"#, r#""3.0"#, "1.0.0", "e"]
        {
            assert_eq!(rewritten(json.as_bytes()), None, "{json}");
        }
    }
}
