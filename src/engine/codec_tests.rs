//! Bodies that the codec must refuse, before it reads more of them than it must.

use proptest::prelude::*;

use super::*;

/// A body of this header and this much data.
fn body(header: &str, data: usize) -> Bytes {
    let mut body = (header.len() as u64).to_le_bytes().to_vec();
    body.extend_from_slice(header.as_bytes());
    body.resize(body.len() + data, 0);
    body.into()
}

fn entry(dtype: &str, shape: &str, offsets: &str) -> String {
    format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
}

/// A body with one tensor `a`.
fn one(dtype: &str, shape: &str, offsets: &str, data: usize) -> Bytes {
    body(&format!(r#"{{"a":{}}}"#, entry(dtype, shape, offsets)), data)
}

/// A body with two tensors of two floats each, `a` and `b`.
fn two(a: &str, b: &str, data: usize) -> Bytes {
    body(&format!(r#"{{"a":{},"b":{}}}"#, entry("F32", "[2]", a), entry("F32", "[2]", b)), data)
}

fn parse(body: Bytes) -> Result<(Vec<WireTensor>, BTreeMap<String, String>), CodecError> {
    parse_safetensors(body, &Limits::default())
}

fn metadata(json: &str) -> Bytes {
    body(&format!(r#"{{"__metadata__":{json}}}"#), 0)
}

fn length_only(length: u64, rest: &[u8]) -> Bytes {
    [&length.to_le_bytes()[..], rest].concat().into()
}

/// What is wrong, the body, and a word that the refusal must contain.
fn bad_headers() -> Vec<(&'static str, Bytes, &'static str)> {
    let many: Vec<String> = (0..65).map(|i| format!(r#""t{i}":{}"#, entry("F32", "[1]", "[0,4]"))).collect();
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    let good = entry("F32", "[2]", "[0,8]");
    vec![
        ("empty", Bytes::new(), "0 bytes"),
        ("seven bytes", vec![0; 7].into(), "7 bytes"),
        ("no header", length_only(0, &[]), "begin"),
        ("length of all ones", length_only(u64::MAX, b"{}"), "tensor_header_bytes"),
        ("length with the sign bit", length_only(1 << 63, b"{}"), "tensor_header_bytes"),
        ("length over the limit", length_only(65_537, &[b' '; 65_537]), "tensor_header_bytes"),
        ("length over the body", length_only(100, b"{}"), "are left"),
        ("length one too long", length_only(3, b"{}"), "are left"),
        ("length one too short", length_only(1, b"{}"), "EOF"),
        ("not JSON", body("hello", 0), "begin"),
        ("an array", body("[]", 0), "begin"),
        ("a number", body("7", 0), "begin"),
        ("white space before", body(" {}", 0), "begin"),
        ("half an object", body("{\"a\":", 0), "EOF"),
        ("something after the object", body("{} {}", 0), "trailing"),
        ("not UTF-8", length_only(5, b"{\"\xff\"}"), "invalid"),
        ("a lone surrogate", body(r#"{"\ud800":1}"#, 0), "hex escape"),
        ("deep nesting", body(&deep, 0), "a"),
        ("null for a tensor", body(r#"{"a":null}"#, 0), "'a'"),
        ("a string for a tensor", body(r#"{"a":"F32"}"#, 0), "'a'"),
        ("an empty object for a tensor", body(r#"{"a":{}}"#, 0), "dtype"),
        ("no dtype", body(r#"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, 4), "dtype"),
        ("no shape", body(r#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4), "shape"),
        ("no offsets", body(r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4), "data_offsets"),
        ("a field too many", body(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, 4), "x"),
        ("a field twice", body(r#"{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4), "dup"),
        ("a name twice", body(&format!(r#"{{"a":{good},"a":{good}}}"#), 8), "'a' is a duplicate"),
        ("a name twice, escaped", body(&format!(r#"{{"a":{good},"\u0061":{good}}}"#), 8), "'a' is a duplicate"),
        ("a long name", body(&format!(r#"{{"{}":{good}}}"#, "n".repeat(257)), 8), "257"),
        ("too many tensors", body(&format!("{{{}}}", many.join(",")), 260), "tensors_per_body"),
        ("metadata that is no object", metadata("[]"), "strings"),
        ("metadata with a number", metadata(r#"{"seq":7}"#), "string"),
        ("metadata with an object", metadata(r#"{"seq":{}}"#), "string"),
        ("metadata with a name twice", metadata(r#"{"a":"1","a":"2"}"#), "twice"),
        ("metadata that is too large", metadata(&format!(r#"{{"a":"{}"}}"#, "x".repeat(1024))), "1025"),
        ("metadata twice", body(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), "duplicate"),
    ]
}

/// The same for what the header says of a tensor.
fn bad_entries() -> Vec<(&'static str, Bytes, &'static str)> {
    vec![
        ("half precision", one("F16", "[2]", "[0,4]", 4), "F16"),
        ("double precision", one("F64", "[1]", "[0,8]", 8), "F64"),
        ("bytes", one("U8", "[4]", "[0,4]", 4), "U8"),
        ("an unknown type", one("f32", "[1]", "[0,4]", 4), "f32"),
        ("a negative dimension", one("F32", "[-1]", "[0,4]", 4), "'a'"),
        ("a fractional dimension", one("F32", "[1.5]", "[0,4]", 4), "'a'"),
        ("a zero dimension", one("F32", "[0]", "[0,0]", 0), "zero"),
        ("a zero and a huge dimension", one("F32", "[0,9223372036854775807]", "[0,0]", 0), "zero"),
        ("a product that overflows", one("F32", "[4294967296,4294967296]", "[0,4]", 4), "too large"),
        ("a dimension over 64 bits", one("F32", "[18446744073709551616]", "[0,4]", 4), "'a'"),
        ("five dimensions", one("F32", "[1,1,1,1,1]", "[0,4]", 4), "tensor_rank"),
        ("too few bytes for the shape", one("F32", "[256]", "[0,4]", 4), "needs 1024"),
        ("too many bytes for the shape", one("F32", "[1]", "[0,8]", 8), "needs 4"),
        ("integers of the wrong width", one("I64", "[2]", "[0,8]", 8), "needs 16"),
        ("offsets past the end", one("F32", "[2]", "[0,8]", 7), "7 bytes"),
        ("offsets backwards", one("F32", "[2]", "[8,0]", 8), "must begin"),
        ("offsets not from zero", one("F32", "[2]", "[4,12]", 12), "must begin at 0"),
        ("offsets of one number", one("F32", "[2]", "[8]", 8), "'a'"),
        ("offsets of three numbers", one("F32", "[2]", "[0,8,8]", 8), "'a'"),
        ("offsets over 64 bits", one("F32", "[2]", "[0,18446744073709551616]", 8), "'a'"),
        ("bytes that follow", one("F32", "[2]", "[0,8]", 9), "follow"),
        ("bytes and no tensor", body("{}", 1), "follow"),
        ("a hole", two("[0,8]", "[12,20]", 20), "'b'"),
        ("an overlap", two("[0,8]", "[4,12]", 12), "'b'"),
        ("the same bytes twice", two("[0,8]", "[0,8]", 8), "must begin"),
    ]
}

#[test]
fn bad_bodies_are_refused_with_the_reason() {
    let bodies = [bad_headers(), bad_entries()].concat();
    assert!(bodies.len() >= 40);
    for (what, body, said) in bodies {
        let error = parse(body).expect_err(what).to_string();
        assert!(error.contains(said), "{what}: {error}");
    }
}

#[test]
fn a_header_bomb_is_refused_before_it_is_read() {
    // What stands behind the last name that may be read is no JSON: whoever reads on says so, and not which limit it is over.
    let names = 0..=Limits::default().tensors_per_body;
    let read: String = names.map(|i| format!("\"{i}\":{},", entry("F32", "[0]", "[0,0]"))).collect();
    let bomb = body(&format!("{{{read}{}", "!".repeat(80 << 20)), 0);
    let roomy = Limits { tensor_body_bytes: usize::MAX, ..Limits::default() };
    let widest = Limits { tensor_header_bytes: usize::MAX, ..roomy.clone() };
    for (limits, said) in
        [(Limits::default(), "tensor_body_bytes"), (roomy, "tensor_header_bytes"), (widest, "tensors")]
    {
        let error = parse_safetensors(bomb.clone(), &limits).expect_err("a bomb").to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn what_is_written_reads_back_without_a_copy() {
    let tensors = [
        WireTensor::from_f32("h.0", vec![2, 2], &[1.0, -2.0, 0.5, f32::MIN_POSITIVE]).expect("fits"),
        WireTensor::new("lengths", Dtype::I64, vec![2], vec![7; 16].into()).expect("fits"),
        WireTensor::new("types", Dtype::I32, vec![1], vec![1, 0, 0, 0].into()).expect("fits"),
    ];
    let metadata = BTreeMap::from([("seq".to_owned(), "7".to_owned())]);
    let file = write_safetensors(&tensors, &metadata).expect("writes");
    let (read, found) = parse(file.clone()).expect("reads");
    assert_eq!(found, metadata);
    for tensor in &tensors {
        let same = read.iter().find(|read| read.name() == tensor.name()).expect("is there");
        assert_eq!(same, tensor);
        assert!(file.as_ptr_range().contains(&same.bytes().as_ptr()), "{} was copied", tensor.name());
    }
    let reference = safetensors::SafeTensors::deserialize(&file).expect("the reference reads it");
    assert_eq!(reference.len(), 3);
    let twice = [tensors[0].clone(), tensors[0].clone()];
    assert!(write_safetensors(&twice, &metadata).is_err());
}

#[test]
fn only_finite_floats_become_tensors_and_the_first_bad_one_is_named() {
    let good = WireTensor::from_f32("s.0.1", vec![2, 3], &[0.0, -0.0, 1.0, f32::MAX, 1e-45, -1.0]).expect("fits");
    let tensor = to_tensor(&good).expect("finite");
    assert_eq!(tensor.size(), [2, 3]);
    assert_eq!(to_wire("s.0.1", &tensor), Ok(good));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let wire = WireTensor::from_f32("s.0.1", vec![4], &[0.0, 1.0, bad, bad]).expect("fits");
        let error = to_tensor(&wire).expect_err("not finite").to_string();
        assert!(error.contains("'s.0.1'") && error.contains("element 2"), "{error}");
    }
    let ids = WireTensor::new("ids", Dtype::I64, vec![1], vec![255; 8].into()).expect("fits");
    assert_eq!(
        to_tensor(&ids).and_then(|ids| ids.f_int64_value(&[0]).map_err(|e| wrong("ids", e.to_string()))),
        Ok(-1)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(bytes.into());
    }

    #[test]
    fn a_damaged_body_is_read_or_refused(place in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400) {
        let tensors = [
            WireTensor::from_f32("s.0.0", vec![2, 2], &[1.0; 4]).expect("fits"),
            WireTensor::new("lengths", Dtype::I64, vec![2], vec![1; 16].into()).expect("fits"),
        ];
        let metadata = BTreeMap::from([("seq".to_owned(), "7".to_owned())]);
        let mut bytes = write_safetensors(&tensors, &metadata).expect("writes").to_vec();
        let place = place % bytes.len();
        bytes[place] = byte;
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(200)));
        if let Ok((tensors, _)) = parse(bytes.into()) {
            for tensor in tensors {
                let _ = to_tensor(&tensor);
            }
        }
    }
}
