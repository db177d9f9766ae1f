"""Reading refuses what is malformed with its line; batches and uploads say nothing about labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from blindtune.data import Batches, DataError, evaluation_chunks, read_dataset, read_texts, text_lengths, upload_bytes


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", 'sentence\tlabel\na "fine film\t1\nbad\t0\n'),
        ("a.csv", 'text,label\n"a ""fine film",1\nbad,0\n'),
        ("a.jsonl", '{"text": "a \\"fine film", "label": 1}\n\n{"text": "bad", "label": "0"}\n'),
    ],
)
def test_formats_agree(tmp_path: Path, name: str, content: str) -> None:
    data = read_dataset(write(tmp_path, name, content))
    assert data.texts == ('a "fine film', "bad")
    assert data.labels.tolist() == [1, 0] and data.label_names == ("0", "1")


def test_pairs_and_named_labels(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,text_pair,label\na,b,yes\nc,d,no\n")
    data = read_dataset(path)
    assert data.texts == (("a", "b"), ("c", "d")) and data.label_names == ("no", "yes")
    assert read_dataset(path, ("yes", "no")).labels.tolist() == [0, 1]
    assert read_texts(path) == [("a", "b"), ("c", "d")]


def test_integer_labels_sort_by_value(tmp_path: Path) -> None:
    assert read_dataset(write(tmp_path, "a.tsv", "text\tlabel\na\t10\nb\t9\n")).label_names == ("9", "10")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "sentence\tlabel\nfine\t1\nbad\n", "line 3: 1 columns, the header has 2"),
        ("a.tsv", "words\tlabel\nfine\t1\n", "line 1: no column `text`"),
        ("a.csv", "text,label\nfine,1\nbad,\n", "line 3: no `label`"),
        ("a.csv", "text,label\n ,1\n", "line 2: no `text`"),
        ("a.csv", 'text,label\n"open,1\n', "line 2: unexpected end of data"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": 5, "label": 1}\n', "line 2: no `text`"),
        ("a.jsonl", '{"text": "a", "label": 1}\nnot json\n', "line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1: not a JSON object"),
        (
            "a.jsonl",
            '{"text": "a", "label": [1]}\n',
            "line 1: `label` is a list; .* task multilabel",
        ),
        ("a.tsv", "text\tlabel\nfine\t1\n", "only one label"),
        ("a.tsv", "text\tlabel\n", "no rows"),
        ("a.txt", "text\tlabel\n", "must end in"),
    ],
)
def test_malformed_files_are_refused_with_their_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dataset(write(tmp_path, name, content))


def test_unknown_label_of_a_dev_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="label 'maybe' is not one of no, yes"):
        read_dataset(write(tmp_path, "a.tsv", "text\tlabel\na\tmaybe\n"), ("no", "yes"))


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"text\tlabel\n\xff\xfe\t1\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_dataset(path)


def test_upload_holds_texts_only() -> None:
    rows = [json.loads(line) for line in upload_bytes(["ä\nb", ("c", "d")]).decode().splitlines()]
    assert rows == [{"text": "ä\nb"}, {"text": "c", "text_pair": "d"}]


@pytest.mark.parametrize("count", [1000, 8000])
def test_batches_cover_an_epoch_once_and_follow_from_the_seed(count: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 200, count)
    batches, per_epoch = Batches(lengths, 32, seed=3), count // 32
    rows = np.concatenate(batches.epoch(0))
    assert batches.per_epoch == per_epoch and len(rows) == per_epoch * 32 == len(set(rows.tolist()))
    assert np.array_equal(batches.rows(per_epoch + 4), batches.epoch(1)[4])
    assert not np.array_equal(batches.rows(0), batches.rows(per_epoch))
    assert np.array_equal(Batches(lengths, 32, 3).rows(5), batches.rows(5))


def test_lengths_are_grouped_where_rows_still_meet_others_in_each_epoch() -> None:
    """Grouped, a thousand rows would be the same batches all over again."""
    for count, grouped in ((1000, False), (6368, False), (6400, True), (8000, True)):
        lengths = np.random.default_rng(0).integers(1, 200, count)
        first, second = (Batches(lengths, 32, seed=3).epoch(number) for number in (0, 1))
        assert (np.mean([np.ptp(lengths[rows]) for rows in first]) < 20) == grouped
        company = {int(row): set(rows.tolist()) for rows in second for row in rows}
        again = np.mean([len(company.get(int(row), set()) & set(rows.tolist())) for rows in first for row in rows])
        assert again < 8, "of 32, itself among them"


def test_fewer_rows_than_a_batch() -> None:
    assert len(Batches(np.arange(5), 5, 0).rows(7)) == 5
    assert text_lengths(["abc", ("a", "b")]).tolist() == [3, 2]


def test_evaluation_chunks_hold_to_both_limits() -> None:
    texts = ["x" * 100] * 10 + ["y" * 100_000] * 3
    chunks = list(evaluation_chunks(texts, 4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 3, 1, 1]
    assert [text for chunk in chunks for text in chunk] == texts
    assert list(evaluation_chunks([], 4)) == []
