//! Uploaded rows: JSONL, CSV and TSV, and requests of batches. Owns what a row may contain and the byte index over a file; must never
//! hold a whole file in memory, and never lets a label through.

use std::cell::Cell;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::rc::Rc;

use serde::Deserialize;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

use crate::domain::json_names::first_twice;
use crate::domain::labels::first_label;
use crate::domain::labels::is_label_name;
use crate::service::files::marked_end::MarkedEnd;
use crate::service::files::marked_end::is_mark;
use crate::service::files::values::Suspicion;
use crate::service::files::values::ValueWatch;

/// Bytes of one index entry: offset (u64) and length (u32) of a row, little endian.
pub const INDEX_ENTRY_BYTES: usize = 12;

/// How rows are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// One request of a batch a line: a JSON object.
    Requests,
    /// RFC 4180, with a header line.
    Csv,
    /// Tab-separated without quoting, with a header line.
    Tsv,
}

impl Format {
    /// By the file's name; a name without an extension is taken for JSONL when it begins like it.
    pub fn of(filename: &str, first_byte: Option<u8>) -> Option<Self> {
        match filename.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase()).as_deref() {
            Some("jsonl" | "ndjson" | "json") => Some(Self::Jsonl),
            Some("csv") => Some(Self::Csv),
            Some("tsv") => Some(Self::Tsv),
            _ if first_byte == Some(b'{') => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// Which columns a file has; rows of one file are all alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How rows are written down.
    pub format: Format,
    /// The header of a CSV or TSV file.
    pub columns: Vec<String>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// A text, or a pair.
    Text(String, Option<String>),
    /// Token ids.
    Tokens(Vec<i64>),
}

/// A row that is refused, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadRow {
    /// Line in the file, from 1.
    pub line: u64,
    /// The column at fault, where there is one.
    pub column: Option<String>,
    /// Whether the column looks like a label.
    pub is_label: bool,
    /// What is wrong.
    pub reason: String,
}

fn bad(reason: impl Into<String>) -> BadRow {
    BadRow { line: 0, column: None, is_label: false, reason: reason.into() }
}

fn bad_column(name: &str) -> BadRow {
    let is_label = is_label_name(name);
    let reason = if is_label {
        format!("'{name}' looks like a label; labels stay with you")
    } else {
        format!("there is no column '{name}'; a row has text, text_pair or input_ids")
    };
    BadRow { line: 0, column: Some(name.to_owned()), is_label, reason }
}

/// What a whole file has.
#[derive(Debug)]
pub struct Scan {
    /// Its columns.
    pub shape: Shape,
    /// How many there are.
    pub rows: u64,
    /// What in its values reads like labels.
    pub suspicion: Option<Suspicion>,
}

/// Reads a whole file once: checks every row and writes the index.
pub fn scan(format: Format, reader: impl Read, row_bytes: usize, index: &mut dyn Write) -> Result<Scan, BadRow> {
    let fuse = Fuse::new(row_bytes as u64);
    let reader = FusedReader { inner: reader, fuse: fuse.clone() };
    let scanned = match format {
        Format::Jsonl | Format::Requests => scan_lines(format, reader, &fuse, index),
        Format::Csv | Format::Tsv => scan_table(format, reader, &fuse, index),
    }?;
    match scanned.rows {
        0 => Err(BadRow { line: 1, ..bad("the file has no rows") }),
        _ => Ok(scanned),
    }
}

fn scan_lines(format: Format, reader: impl Read, fuse: &Fuse, index: &mut dyn Write) -> Result<Scan, BadRow> {
    let shape = Shape { format, columns: Vec::new() };
    let mut reader = BufReader::with_capacity(Fuse::SLACK as usize, reader);
    let mut line = 0u64;
    let mut offset = 0u64;
    let mut rows = 0u64;
    let mut check = RowCheck::default();
    let mut record = Vec::new();
    loop {
        record.clear();
        line += 1;
        let at = |error: BadRow| BadRow { line, ..error };
        let length = reader.read_until(b'\n', &mut record).map_err(|error| at(unreadable(&error)))?;
        if length == 0 {
            return Ok(Scan { shape, rows, suspicion: check.values.found() });
        }
        if !record.trim_ascii().is_empty() {
            each_name_once(&record).map_err(at)?;
            match format {
                Format::Requests => check_request(&record).map_err(at)?,
                _ => check.row(line, &parse(&shape, &record).map_err(at)?).map_err(at)?,
            }
            write_entry(index, offset, length).map_err(at)?;
            rows += 1;
        }
        offset += length as u64;
        fuse.reset(offset);
    }
}

fn scan_table(format: Format, reader: impl Read, fuse: &Fuse, index: &mut dyn Write) -> Result<Scan, BadRow> {
    let mut reader = csv_reader(format, MarkedEnd::new(reader));
    let mut shape = Shape { format, columns: Vec::new() };
    let mut record = csv::ByteRecord::new();
    let mut rows = 0u64;
    let mut check = RowCheck::default();
    loop {
        let start = reader.position().byte();
        let more = reader.read_byte_record(&mut record).map_err(|error| csv_error(&error, reader.position().line()))?;
        let line = record.position().map_or(1, csv::Position::line);
        let at = |error: BadRow| BadRow { line, ..error };
        let Some(end) = reader.get_ref().end(reader.position().byte()).filter(|_| more) else {
            return match !more || is_mark(&record) {
                true => Ok(Scan { shape, rows, suspicion: check.values.found() }),
                false => Err(at(bad("a quote is opened here, and the file ends before it is closed"))),
            };
        };
        if shape.columns.is_empty() {
            shape.columns = header(&record).map_err(at)?;
        } else {
            check.row(line, &table_row(&shape.columns, &record).map_err(at)?).map_err(at)?;
            write_entry(index, start, (end - start) as usize).map_err(at)?;
            rows += 1;
        }
        fuse.reset(end);
    }
}

fn csv_reader<R: Read>(format: Format, reader: R) -> csv::Reader<R> {
    let mut builder = csv::ReaderBuilder::new();
    // Flexible: `table_row` counts the fields, and the mark of the end has one.
    builder.has_headers(false).flexible(true).buffer_capacity(Fuse::SLACK as usize);
    match format {
        Format::Tsv => builder.delimiter(b'\t').quoting(false),
        _ => builder.delimiter(b','),
    };
    builder.from_reader(reader)
}

fn header(record: &csv::ByteRecord) -> Result<Vec<String>, BadRow> {
    let names = record.iter().enumerate().map(|(i, name)| {
        let name = std::str::from_utf8(name).map_err(|_| bad("the header is not UTF-8"))?;
        Ok(if i == 0 { name.trim_start_matches('\u{feff}') } else { name }.trim().to_owned())
    });
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    if let Some(name) = names.iter().find(|name| !["text", "text_pair", "input_ids"].contains(&name.as_str())) {
        return Err(bad_column(name));
    }
    let count = |name: &str| names.iter().filter(|column| *column == name).count();
    match (count("text"), count("text_pair"), count("input_ids")) {
        (1, 0 | 1, 0) | (0, 0, 1) => Ok(names),
        _ => Err(bad("the header names the columns: text, or text and text_pair, or input_ids")),
    }
}

/// Refuses a request that is no JSON object, or that has a name that looks like a label at any depth. What else is wrong with it is the
/// batch's to say.
fn check_request(record: &[u8]) -> Result<(), BadRow> {
    let record = record.strip_prefix("\u{feff}".as_bytes()).unwrap_or(record);
    let label = first_label(record).map_err(|error| bad(format!("not JSON: {error}")))?;
    if record.trim_ascii_start().first() != Some(&b'{') {
        return Err(bad("a line is one JSON object"));
    }
    match label {
        None => Ok(()),
        Some(place) => {
            let reason = format!("'{place}' looks like a label; labels stay with you");
            Err(BadRow { line: 0, column: Some(place), is_label: true, reason })
        }
    }
}

/// Reads one row of a file, from the bytes that the index names.
pub fn parse(shape: &Shape, record: &[u8]) -> Result<Row, BadRow> {
    if shape.format != Format::Jsonl {
        let mut fields = csv::ByteRecord::new();
        csv_reader(shape.format, record).read_byte_record(&mut fields).map_err(|error| csv_error(&error, 0))?;
        return table_row(&shape.columns, &fields);
    }
    let text = std::str::from_utf8(record).map_err(|_| bad("the line is not UTF-8"))?.trim_start_matches('\u{feff}');
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => object_row(&fields),
        Ok(_) => Err(bad("a line is one JSON object")),
        Err(error) => Err(bad(format!("not JSON: {error}"))),
    }
}

fn object_row(fields: &Map<String, Value>) -> Result<Row, BadRow> {
    let unknown = || fields.keys().filter(|name| !["text", "text_pair", "input_ids"].contains(&name.as_str()));
    if let Some(name) = unknown().find(|name| is_label_name(name)).or_else(|| unknown().next()) {
        return Err(match (name.as_str(), has_answer(&fields[name])) {
            ("messages", true) => BadRow {
                is_label: true,
                reason: "an assistant message is an answer, and answers are labels; send the input as text".into(),
                ..bad_column(name)
            },
            _ => bad_column(name),
        });
    }
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(BadRow { column: Some(name.into()), ..bad(format!("{name} must be a text")) }),
    };
    match (text("text")?, text("text_pair")?, fields.get("input_ids")) {
        (Some(text), pair, None) => Ok(Row::Text(text, pair)),
        (None, None, Some(Value::Array(ids))) => token_row(ids.iter().map(Value::as_i64)),
        _ => Err(bad("a row has text, or text and text_pair, or input_ids (a list of whole numbers)")),
    }
}

fn has_answer(messages: &Value) -> bool {
    messages.as_array().is_some_and(|list| list.iter().any(|message| message.get("role") == Some(&"assistant".into())))
}

fn table_row(columns: &[String], record: &csv::ByteRecord) -> Result<Row, BadRow> {
    if record.len() != columns.len() {
        return Err(bad(format!("{} fields where the header has {}", record.len(), columns.len())));
    }
    let field = |name: &str| {
        let Some(i) = columns.iter().position(|column| column == name) else { return Ok(None) };
        std::str::from_utf8(&record[i]).map(Some).map_err(|_| bad(format!("{name} is not UTF-8")))
    };
    match (field("text")?, field("text_pair")?, field("input_ids")?) {
        (Some(text), pair, _) => Ok(Row::Text(text.to_owned(), pair.map(str::to_owned))),
        (None, _, Some(ids)) => {
            let plain = ids.trim().trim_start_matches('[').trim_end_matches(']');
            let parts = plain.split([' ', ',']).filter(|part| !part.is_empty());
            token_row(parts.map(|part| part.parse().ok()))
        }
        _ => Err(bad("the row has no text")),
    }
}

fn token_row(ids: impl Iterator<Item = Option<i64>>) -> Result<Row, BadRow> {
    match ids.collect::<Option<Vec<i64>>>() {
        Some(ids) if !ids.is_empty() => Ok(Row::Tokens(ids)),
        _ => Err(BadRow { column: Some("input_ids".into()), ..bad("input_ids must be whole numbers, at least one") }),
    }
}

/// What the rows of a file have to do with each other.
#[derive(Default)]
struct RowCheck {
    is_tokens: Option<bool>,
    values: ValueWatch,
}

impl RowCheck {
    fn row(&mut self, line: u64, row: &Row) -> Result<(), BadRow> {
        let is_tokens = matches!(row, Row::Tokens(_));
        if *self.is_tokens.get_or_insert(is_tokens) != is_tokens {
            return Err(bad("all rows of a file have text, or all have input_ids"));
        }
        if let Row::Text(text, pair) = row {
            self.values.see(line, text, pair.as_deref());
        }
        Ok(())
    }
}

/// Of a name that stands twice, readers keep one value, and the file would hold the other.
fn each_name_once(record: &[u8]) -> Result<(), BadRow> {
    match first_twice(record) {
        None => Ok(()),
        Some(place) => {
            let reason = format!("'{place}' stands twice in one object; write it once");
            Err(BadRow { line: 0, is_label: is_label_name(&place), column: Some(place), reason })
        }
    }
}

fn write_entry(index: &mut dyn Write, offset: u64, length: usize) -> Result<(), BadRow> {
    let length = u32::try_from(length).map_err(|_| bad("the row is too long"))?;
    let mut entry = [0; INDEX_ENTRY_BYTES];
    entry[..8].copy_from_slice(&offset.to_le_bytes());
    entry[8..].copy_from_slice(&length.to_le_bytes());
    index.write_all(&entry).map_err(|error| bad(format!("the index cannot be written: {error}")))
}

/// Reads one index entry: offset and length of a row.
pub fn read_entry(entry: &[u8; INDEX_ENTRY_BYTES]) -> (u64, u64) {
    let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3] = *entry;
    let offset = u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
    (offset, u64::from(u32::from_le_bytes([l0, l1, l2, l3])))
}

fn unreadable(error: &std::io::Error) -> BadRow {
    bad(error.to_string())
}

fn csv_error(error: &csv::Error, line: u64) -> BadRow {
    let line = error.position().map_or(line, csv::Position::line);
    let reason = match error.kind() {
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    };
    BadRow { line, ..bad(reason) }
}

/// Stops a reader that runs on without the end of a row, before the row fills the memory.
#[derive(Clone)]
struct Fuse {
    row_bytes: u64,
    burns_at: Rc<Cell<u64>>,
    position: Rc<Cell<u64>>,
}

impl Fuse {
    /// Readers read ahead by this much.
    const SLACK: u64 = 64 * 1024;

    fn new(row_bytes: u64) -> Self {
        let fuse = Self { row_bytes, burns_at: Rc::default(), position: Rc::default() };
        fuse.reset(0);
        fuse
    }

    fn reset(&self, row_starts_at: u64) {
        self.burns_at.set(row_starts_at + self.row_bytes + 2 * Self::SLACK);
    }
}

struct FusedReader<R> {
    inner: R,
    fuse: Fuse,
}

impl<R: Read> Read for FusedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let position = self.fuse.position.get() + read as u64;
        self.fuse.position.set(position);
        if position > self.fuse.burns_at.get() {
            return Err(std::io::Error::other(format!("a row is longer than {} bytes", self.fuse.row_bytes)));
        }
        Ok(read)
    }
}

#[cfg(test)]
#[path = "row_format_tests.rs"]
mod tests;
