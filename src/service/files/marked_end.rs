//! The end of a table, made visible to a reader of CSV, which takes an unclosed quote and the end of the file for one and the same. Owns
//! the mark behind the last row; must never be taken for a row, or counted as bytes of the file.

use std::io::Read;

/// A row behind the last one. It is not UTF-8, as every row of a file must be.
const MARK: &[u8] = b"\n\xff\xfe\xff";

/// A reader with the mark at its end.
pub struct MarkedEnd<R> {
    inner: R,
    mark: &'static [u8],
    bytes: u64,
    is_over: bool,
}

impl<R> MarkedEnd<R> {
    /// Puts the mark behind what `inner` gives.
    pub fn new(inner: R) -> Self {
        Self { inner, mark: MARK, bytes: 0, is_over: false }
    }

    /// Where a row that was read up to `position` ends in the file; `None` where it took bytes of the mark.
    pub fn end(&self, position: u64) -> Option<u64> {
        match self.is_over && position > self.bytes + 1 {
            true => None,
            false => Some(position.min(self.bytes)),
        }
    }
}

impl<R: Read> Read for MarkedEnd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.is_over {
            let read = self.inner.read(buffer)?;
            self.bytes += read as u64;
            self.is_over = read == 0 && !buffer.is_empty();
            if !self.is_over {
                return Ok(read);
            }
        }
        self.mark.read(buffer)
    }
}

/// Whether a record that took bytes of the mark is the mark alone, so that all rows before it were whole.
pub fn is_mark(record: &csv::ByteRecord) -> bool {
    record.len() == 1 && record[0] == MARK[1..]
}
