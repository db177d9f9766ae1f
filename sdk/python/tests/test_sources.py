"""Frames, datasets, parquet and lists read as files do; what is wrong is refused where it stands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blindtune.data import DataError, Dataset, read_dataset, read_texts
from blindtune.extras import MissingExtraError, need

ROWS = [("fine film", "1"), ("bad", "0")]


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


# Pairs.


@pytest.mark.parametrize(
    "columns", [("sentence1", "sentence2"), ("question", "sentence"), ("premise", "hypothesis"), ("text", "text_pair")]
)
def test_the_pairs_of_glue_are_known(tmp_path: Path, columns: tuple[str, str]) -> None:
    first, second = columns
    path = write(tmp_path, "a.tsv", f"index\t{first}\t{second}\tlabel\n0\ta\tb\tentailment\n1\tc\td\tneutral\n")
    data = read_dataset(path)
    assert data.texts == (("a", "b"), ("c", "d")) and data.label_names == ("entailment", "neutral")
    rows = [{first: "a", second: "b", "label": 1}, {first: "c", second: "d", "label": 0}]
    assert read_dataset(rows).texts == data.texts


def test_mnli_as_distributed_has_a_gold_label(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "sentence1\tsentence2\tlabel1\tgold_label\na\tb\tx\tneutral\nc\td\tx\tentailment\n")
    assert read_dataset(path).label_names == ("entailment", "neutral")


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id,note,answer,urgent\n1,a,b,yes\n2,c,d,no\n")
    data = read_dataset(path, text="note", text_pair="answer", label="urgent")
    assert data.texts == (("a", "b"), ("c", "d")) and data.labels.tolist() == [1, 0]
    assert read_dataset(path, text="note", label="urgent").texts == ("a", "c")
    with pytest.raises(DataError, match=r"a\.csv, line 1: no column 'nope'; there are id, note"):
        read_dataset(path, text="nope", label="urgent")


# Objects.


def test_lists_are_x_and_y() -> None:
    data = Dataset.from_lists(np.array(["fine film", "bad"]), [1, 0])
    assert data.texts == ("fine film", "bad") and data.label_names == ("0", "1") and data.labels.tolist() == [1, 0]
    assert Dataset.from_lists([["a", "b"], ["c", "d"]], ["x", "y"]).texts == (("a", "b"), ("c", "d"))
    assert Dataset.from_lists(["a", "b"], [True, False]).label_names == ("False", "True")
    with pytest.raises(DataError, match="2 texts and 1 labels"):
        Dataset.from_lists(["a", "b"], [1])
    with pytest.raises(DataError, match="row 2: neither a text nor a pair of texts, but int"):
        Dataset.from_lists(["a", 5], [1, 0])
    with pytest.raises(DataError, match="row 2: no `label`"):
        Dataset.from_lists(["a", "b"], [1, float("nan")])
    with pytest.raises(DataError, match="row 1: label '2' is not one of 0, 1"):
        Dataset.from_lists(["a", "b"], [2, 1], ("0", "1"))


def test_a_mapping_of_columns() -> None:
    assert read_dataset({"text": ["a", "b"], "label": [0, 1]}).texts == ("a", "b")
    with pytest.raises(DataError, match="different length: text 2, label 1"):
        read_dataset({"text": ["a", "b"], "label": [0]})


def test_anything_else_is_refused_with_what_can_be_read() -> None:
    with pytest.raises(DataError, match=r"cannot read a int: pass a file \(\.tsv.*xlsx\)"):
        read_dataset(5)


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["fine film", "bad"], "label": [1, 0], "x": [None, 1.0]}, index=["r", "s"])
    data = read_dataset(frame)
    assert data.texts == ("fine film", "bad") and data.label_names == ("0", "1") and data.labels.tolist() == [1, 0]
    holes = frame.assign(label=[1, None])  # floats now, and the names stay whole numbers
    with pytest.raises(DataError, match="DataFrame, index 's': no `label`"):
        read_dataset(holes)
    assert read_dataset(frame.assign(label=[1.0, 0.0])).label_names == ("0", "1")
    with pytest.raises(DataError, match="DataFrame, index 'r': no `text`"):
        read_dataset(frame.assign(text=[None, "b"]))
    with pytest.raises(DataError, match="DataFrame: no column `text`"):
        read_dataset(frame.drop(columns="text"))
    categories = frame.assign(label=pandas.Categorical(["yes", "no"]))
    assert read_dataset(categories).label_names == ("no", "yes")
    series = Dataset.from_lists(frame["text"], frame["label"])
    assert series.texts == data.texts


def test_hugging_face_datasets() -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["positive", "negative"])
    features = datasets.Features({"sentence": datasets.Value("string"), "label": names})
    made = datasets.Dataset.from_dict({"sentence": ["a", "b", "c"], "label": [1, 0, 1]}, features=features)
    data = read_dataset(made)
    assert data.texts == ("a", "b", "c") and data.label_names == ("positive", "negative")
    assert data.labels.tolist() == [1, 0, 1]
    test_split = datasets.Dataset.from_dict({"sentence": ["a"], "label": [-1]}, features=features)
    with pytest.raises(DataError, match="Dataset, row 0: no `label`"):
        read_dataset(test_split)
    assert read_texts(test_split) == ["a"]
    assert read_dataset(made.to_iterable_dataset()).texts == data.texts
    with pytest.raises(DataError, match="pass one of train, test"):
        read_dataset(datasets.DatasetDict({"train": made, "test": made}))


def test_parquet(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"text": ["fine film", "bad"], "label": [1, 0]}), path)
    data = read_dataset(path)
    assert data.texts == ("fine film", "bad") and data.label_names == ("0", "1")
    parquet.write_table(arrow.table({"text": ["a", None], "label": [1, 0]}), path)
    with pytest.raises(DataError, match=r"a\.parquet, row 2: no `text`"):
        read_dataset(path)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match=r"a\.parquet: not parquet"):
        read_dataset(path)
    with pytest.raises(FileNotFoundError):
        read_dataset(tmp_path / "none.parquet")


def test_parquet_keeps_the_names_of_hugging_face_labels(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    note = b'{"info": {"features": {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}'
    table = arrow.table({"text": ["a", "b"], "label": [1, 0]}).replace_schema_metadata({"huggingface": note})
    parquet.write_table(table, tmp_path / "a.parquet")
    data = read_dataset(tmp_path / "a.parquet")
    assert data.label_names == ("no", "yes") and data.labels.tolist() == [1, 0]


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(MissingExtraError, match=r"a\.parquet.*needs pyarrow: pip install 'blindtune\[parquet\]'"):
        read_dataset(tmp_path / "a.parquet")
    with pytest.raises(ImportError, match=r"this needs blindtune_nowhere: pip install 'blindtune\[none\]'"):
        need("blindtune_nowhere", "none", "this")


# Regression.


def test_numbers_are_a_regression_when_asked(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,score\na,1.5\nb,-2\nc,4\nd,1.6\n")
    data = read_dataset(path, task="regression")
    assert data.task == "regression" and data.values is not None and data.values.dtype == np.float32
    assert data.values.tolist() == pytest.approx([1.5, -2, 4, 1.6])
    assert data.labels.tolist() == [0, 0, 1, 1] and data.label_names == ("below", "above")
    some = data.take(np.array([2, 0]))
    assert some.values is not None and some.values.tolist() == [4.0, 1.5] and some.labels.tolist() == [1, 0]
    assert read_dataset(path, data.label_names, task="regression").values is not None
    assert data.sha256() != Dataset(data.texts, data.labels, data.label_names).sha256()


def test_numbers_are_labels_unless_asked() -> None:
    data = Dataset.from_lists(["a", "b"], [3, 4])
    assert data.task == "classification" and data.values is None and data.label_names == ("3", "4")


@pytest.mark.parametrize(("cell", "message"), [("x", "not a number"), ("", "no `label`"), ("nan", "is nan")])
def test_what_is_not_a_number_is_refused_with_its_line(tmp_path: Path, cell: str, message: str) -> None:
    path = write(tmp_path, "a.csv", f"text,label\na,1\nb,{cell}\n")
    with pytest.raises(DataError, match=rf"a\.csv, line 3: .*{message}"):
        read_dataset(path, task="regression")


def test_unknown_tasks_are_refused(tmp_path: Path) -> None:
    path: Any = write(tmp_path, "a.csv", "text,label\na,1\nb,2\n")
    with pytest.raises(DataError, match="task must be one of classification, regression"):
        read_dataset(path, task="ranking")
