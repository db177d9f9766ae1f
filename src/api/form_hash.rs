//! What a multipart form says, as one hash that is made while the form streams by. Owns where its parts begin and end, so that the
//! boundary, which clients draw anew for each attempt, is not in it; must never keep more of a body than a delimiter is long.

use axum::body::Body;
use axum::extract::Request;
use futures::StreamExt;
use memchr::memmem::Finder;
use sha2::Digest;
use sha2::Sha256;

use crate::service::BodyHash;

/// Bytes behind a delimiter that tell the last one from the others.
const END: &[u8] = b"--";

/// Writes the form's hash into `hash` when its last delimiter was read, by whoever reads the body.
pub fn hash_form(request: Request, boundary: &str, hash: BodyHash) -> Request {
    let mut hasher = FormHasher::new(boundary);
    request.map(|body| {
        Body::from_stream(body.into_data_stream().inspect(move |chunk| {
            if let Ok(chunk) = chunk
                && let Some(whole) = hasher.push(chunk)
            {
                hash.set(whole);
            }
        }))
    })
}

struct FormHasher {
    delimiter: Finder<'static>,
    /// What may be the beginning of a delimiter, or lacks the bytes behind it.
    pending: Vec<u8>,
    part: Sha256,
    whole: Sha256,
    is_over: bool,
}

impl FormHasher {
    fn new(boundary: &str) -> Self {
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        // The first delimiter may stand at the very beginning, without a line's end before it.
        Self { delimiter, pending: b"\r\n".to_vec(), part: Sha256::new(), whole: Sha256::new(), is_over: false }
    }

    /// Reads on; gives the hash with the last delimiter. What comes behind that belongs to no part.
    fn push(&mut self, chunk: &[u8]) -> Option<[u8; 32]> {
        if self.is_over {
            return None;
        }
        self.pending.extend_from_slice(chunk);
        let length = self.delimiter.needle().len();
        let mut from = 0;
        let known = loop {
            let Some(at) = self.delimiter.find(&self.pending[from..]).map(|at| from + at) else {
                break from.max(self.pending.len().saturating_sub(length - 1));
            };
            let Some(behind) = self.pending.get(at + length..at + length + END.len()) else { break at };
            self.is_over = behind == END;
            self.part.update(&self.pending[from..at]);
            self.whole.update(self.part.finalize_reset());
            from = at + length;
            if self.is_over {
                return Some(self.whole.finalize_reset().into());
            }
        };
        self.part.update(&self.pending[from..known]);
        self.pending.drain(..known);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(boundary: &str, content: &str) -> String {
        format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n--{boundary}\r\n\
             content-disposition: form-data; name=\"file\"\r\n\r\n{content}\r\n--{boundary}--\r\n"
        )
    }

    fn hashed(boundary: &str, body: &str, step: usize) -> Option<[u8; 32]> {
        let mut hasher = FormHasher::new(boundary);
        body.as_bytes().chunks(step).filter_map(|chunk| hasher.push(chunk)).last()
    }

    #[test]
    fn the_parts_make_the_hash_however_the_form_is_cut_and_delimited() {
        let (body, longer) = (form("x", "\r\n-- w5 --x\r\n-"), form("other-boundary", "\r\n-- w5 --x\r\n-"));
        let expected = hashed("x", &body, body.len()).expect("the form has an end");
        for step in 1..body.len() {
            assert_eq!(hashed("x", &body, step), Some(expected), "in pieces of {step}");
        }
        assert_eq!(hashed("other-boundary", &longer, 7), Some(expected));
        assert_eq!(hashed("x", &format!("{body}and what follows"), 5), Some(expected));
    }

    #[test]
    fn another_byte_or_another_cut_between_parts_is_another_hash() {
        let of = |content: &str| hashed("x", &form("x", content), 9).expect("the form has an end");
        let all = [of("w5"), of("w6"), of("w5 "), of(""), of("w5\r\n--x\r\n"), of("w\r\n--x\r\n5")];
        for (at, hash) in all.iter().enumerate() {
            assert!(!all[..at].contains(hash), "form {at}");
        }
    }

    #[test]
    fn a_form_that_breaks_off_has_no_hash() {
        let body = form("x", "w5");
        let end = body.rfind("--x--").expect("an end") + 4;
        assert_eq!(hashed("x", &body[..end], 3), None);
    }
}
