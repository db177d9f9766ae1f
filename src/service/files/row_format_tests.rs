use super::*;

fn scan_text(format: Format, text: &str) -> Result<(Shape, Vec<Row>), BadRow> {
    let mut index = Vec::new();
    let Scan { shape, rows, suspicion } = scan(format, text.as_bytes(), 1000, &mut index)?;
    let read = index.as_chunks::<INDEX_ENTRY_BYTES>().0.iter().map(|entry| {
        let (offset, length) = read_entry(entry);
        parse(&shape, &text.as_bytes()[offset as usize..(offset + length) as usize]).expect("checked before")
    });
    let read: Vec<Row> = read.collect();
    assert_eq!((read.len() as u64, suspicion), (rows, None));
    Ok((shape, read))
}

fn text(text: &str) -> Row {
    Row::Text(text.into(), None)
}

#[test]
fn rows_read_back_through_the_index() {
    let (_, rows) =
        scan_text(Format::Jsonl, "\u{feff}{\"text\":\"a\"}\n\n{\"text\":\"b\",\"text_pair\":\"c\"}").expect("valid");
    assert_eq!(rows, [text("a"), Row::Text("b".into(), Some("c".into()))]);
    let (_, rows) = scan_text(Format::Csv, "text\r\n\"a, b\"\r\n\"c\nd \"\"e\"\"\"\n").expect("valid");
    assert_eq!(rows, [text("a, b"), text("c\nd \"e\"")]);
    let (_, rows) = scan_text(Format::Csv, "text\na \"b\n\"c\"").expect("valid: a quote amid a text is a letter");
    assert_eq!(rows, [text("a \"b"), text("c")]);
    let (_, rows) = scan_text(Format::Csv, "text\n\"c\"\r\n\r\n\n").expect("valid: empty lines are none");
    assert_eq!(rows, [text("c")]);
    let (_, rows) = scan_text(Format::Tsv, "text\ttext_pair\n\"a\tb\n").expect("valid");
    assert_eq!(rows, [Row::Text("\"a".into(), Some("b".into()))]);
    let (_, rows) = scan_text(Format::Jsonl, "{\"input_ids\":[1,2]}\n").expect("valid");
    assert_eq!(rows, [Row::Tokens(vec![1, 2])]);
    let (_, rows) = scan_text(Format::Csv, "input_ids\n\"[1, 2]\"\n3 4\n").expect("valid");
    assert_eq!(rows, [Row::Tokens(vec![1, 2]), Row::Tokens(vec![3, 4])]);
}

#[test]
fn each_bad_row_is_refused_with_its_line() {
    let cases: [(Format, &str, u64, bool); 21] = [
        (Format::Jsonl, "{\"text\":\"a\"}\n{\"text\":\"b\",\"label\":1}\n", 2, true),
        (Format::Jsonl, "{\"messages\":[{\"role\":\"assistant\",\"content\":\"yes\"}]}\n", 1, true),
        (Format::Jsonl, "{\"prompt\":\"a\",\"completion\":\"b\"}", 1, true),
        (Format::Jsonl, "{\"completion\":\"b\"}", 1, true),
        (Format::Jsonl, "{\"text\":\"a\"}\n\n{\"text\":", 3, false),
        (Format::Jsonl, "{\"text\":\"0\",\"text\":\"b\"}", 1, false),
        (Format::Requests, "{\"a\":1}\n{\"a\":1,\"\\u0061\":2}", 2, false),
        (Format::Jsonl, "{\"text\":1}", 1, false),
        (Format::Jsonl, "[1]", 1, false),
        (Format::Jsonl, "{\"text\":\"a\"}\n{\"input_ids\":[1]}", 2, false),
        (Format::Jsonl, "{\"input_ids\":[1.5]}", 1, false),
        (Format::Csv, "text,label\na,1\n", 1, true),
        (Format::Csv, "text\na\nb,c\n", 3, false),
        (Format::Csv, "text,text\na,b\n", 1, false),
        (Format::Csv, "text\na\n\"b\nc\n", 3, false),
        (Format::Csv, "text\n\"b\"\"", 2, false),
        (Format::Csv, "\"text\na\n", 1, false),
        (Format::Tsv, "sentence\ta\n", 1, false),
        (Format::Tsv, "text\n", 1, false),
        (Format::Jsonl, "", 1, false),
        (Format::Csv, "", 1, false),
    ];
    for (format, body, line, is_label) in cases {
        let error = scan_text(format, body).expect_err(body);
        assert_eq!((error.line, error.is_label), (line, is_label), "{body}: {error}");
    }
}

#[test]
fn a_row_without_end_stops_the_reader() {
    for (format, begin) in [(Format::Jsonl, "{\"text\":\"a\"}\n"), (Format::Csv, "text\na\n\"")] {
        let endless = begin.as_bytes().chain(std::io::repeat(b'a'));
        let error = scan(format, endless, 1000, &mut std::io::sink()).expect_err("endless");
        assert!(error.reason.contains("longer than 1000 bytes"), "{error}");
    }
}
