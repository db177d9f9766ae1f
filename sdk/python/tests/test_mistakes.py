"""The mistakes that people make at the shell: the text that a person would want, and the exit code.

`MISTAKES` lists all that were found when users were watched, and where each is tested.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune.cli import main

CLIENT, RUN = "sdk/python/tests/test_waiting.py", "sdk/python/tests/test_run_folder.py"
KEYS, LABELS, JOBS = "tests/security/keys.rs", "tests/security/labels.rs", "tests/api/fine_tuning/jobs.rs"
ROOT = Path(__file__).resolve().parents[3]
MISTAKES = {
    "wrong port, or the host is down": CLIENT,
    "all places for jobs are taken": CLIENT,
    "rate limit of a key": CLIENT,
    "expired or revoked key": KEYS,
    "two hosts, one key": CLIENT,
    "own column names": "test_what_is_wrong_with_a_file_is_said",
    "Excel's semicolons": "test_semicolons_are_read_and_said",
    "Latin-1": "test_what_is_wrong_with_a_file_is_said",
    "xlsx": "test_an_excel_file_is_read",
    "a folder": "test_what_is_wrong_with_a_file_is_said",
    "an id of the hub": "test_a_data_set_of_the_hub_is_read",
    "OpenAI chat file in the CLI": "test_a_file_of_chats_becomes_texts_and_labels",
    "OpenAI chat file to the host": LABELS,
    "method supervised": JOBS,
    "poll until succeeded": "tests/api/fine_tuning/events.rs",
    "chat.completions of an ft: model": "tests/api/errors.rs",
    "regression through the CLI": "test_a_regression_goes_through_the_shell",
    "regression predict": "test_a_regression_goes_through_the_shell",
    "a long list of labels": "test_long_lists_of_labels_are_cut",
    "a row with several labels": "test_what_is_wrong_with_a_file_is_said",
    "unwritable run folder": "test_a_run_folder_that_cannot_be_written_is_named",
    "missing file": "test_what_is_wrong_with_a_file_is_said",
    "unknown option": "test_a_misspelt_word_is_told_the_right_one",
    "trian": "test_a_misspelt_word_is_told_the_right_one",
    "--version": "test_the_version_is_said",
    "predict --json": "test_a_regression_goes_through_the_shell",
    "--batch-size above the rows": "test_a_batch_larger_than_the_rows_is_said",
    "Ctrl-C": RUN,
    "--steps raised": RUN,
    "the command started twice": RUN,
    "database down": "tests/faults/database.rs",
    "models add offline": "src/cli/mod.rs",
    "models remove": "tests/api/models.rs",
    "two blindtune programs on one PATH": "src/main.rs",
    "unknown column": "test_what_is_wrong_with_a_file_is_said",
    "typo in a setting": "test_a_misspelt_word_is_told_the_right_one",
    "one label only, empty file, another number of columns": "test_what_is_wrong_with_a_file_is_said",
    "dev set with other labels": "test_long_lists_of_labels_are_cut",
}


def test_every_mistake_has_its_test() -> None:
    assert len(MISTAKES) == 38
    for where in MISTAKES.values():
        is_file = (ROOT / where).is_file() if "/" in where else False
        assert where in globals() or is_file, where


def words(folder: Path, data: str, *more: str, host: str = "http://127.0.0.1:9") -> list[str]:
    return ["train", "--data", str(folder / data), "--model", "toy", "--host", host, "--api-key", "k", "--quiet", *more]


FILES: dict[str, bytes] = {
    "own.csv": b"mrn,note_text,readmitted\n1,a,no\n",
    "nolabel.csv": b"text,urgent\na,no\n",
    "latin1.csv": b"text,label\ncaf\xe9,a\nb,b\n",
    "utf16.csv": "text,label\na,x\n".encode("utf-16-le"),
    "several.jsonl": b'{"text": "a", "label": ["x", "y"]}\n',
    "old.xls": b"",
    "short.tsv": b"text\tlabel\na\n",
    "one.tsv": b"text\tlabel\na\tx\n",
    "empty.tsv": b"",
    "comma.csv": b"text;label\na;2,5\nb;3,5\n",
}


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("own.csv", [], "own.csv, line 1: no column `text` or `sentence`"),
        ("own.csv", [], "name yours: --text-column and --label-column"),
        ("own.csv", ["--text-column", "note"], "no column 'note'; there are mrn, note_text, readmitted"),
        ("nolabel.csv", [], "no `label` among the columns text, urgent; name it with --label-column"),
        ("latin1.csv", [], "latin1.csv, line 2: not UTF-8 (byte 14). Say what it is, --encoding latin-1"),
        ("latin1.csv", ["--encoding", "nope"], "there is no encoding 'nope'"),
        ("utf16.csv", [], "--encoding utf-16-le"),
        ("several.jsonl", [], "several.jsonl, line 1: `label` is a list; rows with several labels are task multilabel"),
        ("old.xls", [], "save it as .xlsx or .csv"),
        ("short.tsv", [], "short.tsv, line 2: 1 columns, the header has 2"),
        ("one.tsv", [], "only one label (x); a classifier needs two"),
        ("empty.tsv", [], "empty.tsv"),
        ("nope.tsv", [], "there is no file"),
        (".", [], "is a folder: pass one file of it (comma.csv, empty.tsv, latin1.csv"),
        ("comma.csv", ["--task", "regression"], "('2,5'); write a point for the decimal comma"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, more: list[str], says: str
) -> None:
    for file, content in FILES.items():
        (tmp_path / file).write_bytes(content)
    assert main(words(tmp_path, name, *more, "--run", str(tmp_path / "run"))) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists(), "nothing is left of what did not start"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["trian"], "there is no command `blindtune trian`; did you mean `blindtune train`?"),
        (["jobs", "lst"], "there is no command `blindtune jobs lst`; did you mean `blindtune jobs list`?"),
        (["jobs"], "missing command; see `blindtune jobs --help`"),
        (["train", "--learning-rate", "1e-3"], "no option --learning-rate of `blindtune train`; did you mean --lr?"),
        (["train", "--batchsize", "8"], "did you mean --batch-size?"),
        (["train", "--model", "m"], "missing option '--data'; see `blindtune train --help`"),
        (["train", "--data", "a", "--model", "m", "--lr", "fast"], "'--lr'"),
        (["train", "--data", "a", "--model", "m", "--method", "sid"], "'sid' is not one of 'p3eft', 'lora'"),
        (["train", "--data", "a.tsv", "--model", "m", "--dev"], "'--dev' requires an argument"),
    ],
)
def test_a_misspelt_word_is_told_the_right_one(capsys: pytest.CaptureFixture[str], given: list[str], says: str) -> None:
    assert main(given) == 2
    assert says in capsys.readouterr().err.lower().replace("option '--dev'", "'--dev'")


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("blindtune 0.")
    assert main([]) == 2 and "train" in capsys.readouterr().out


def test_a_run_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.tsv").write_text("text\tlabel\na\tx\nb\ty\n")
    (tmp_path / "file").write_text("")
    assert main(words(tmp_path, "a.tsv", "--run", str(tmp_path / "file" / "run"))) == 2
    said = capsys.readouterr().err
    assert "the run folder" in said and "use another --run" in said and "Errno" not in said


# Files that are read after all.


def tsv(folder: Path, rows: int = 60) -> Path:
    data = sentiment(rows)
    lines = [f"{text}\t{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    (folder / "a.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    return folder / "a.tsv"


FAST = ["--method", "side", "--epochs", "1", "--networks", "1", "--effort", "quick"]


def test_semicolons_are_read_and_said(fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = sentiment(60)
    rows = [f'{k};"{text}; he said";{data.labels[k]}' for k, text in enumerate(data.texts)]
    (tmp_path / "a.csv").write_bytes(("mrn;note;urgent\r\n" + "\r\n".join(rows)).encode("cp1252"))
    named = ["--text-column", "note", "--label-column", "urgent", "--run", str(tmp_path / "run")]
    assert main(words(tmp_path, "a.csv", *named, *FAST, host=fake_host.url)) == 0
    said = capsys.readouterr()
    assert "a.csv: columns are separated by a semicolon" in said.err and "60 rows, 2 labels (0, 1)" in said.err
    look = ["--run", str(tmp_path / "run"), "--data", str(tmp_path / "a.csv"), "--api-key", "k", *named[:4]]
    assert main(["evaluate", *look]) == 0 and main(["audit", *look]) == 0
    out = tmp_path / "out.csv"
    assert main(["predict", *look, "--out", str(out)]) == 0
    lines = out.read_text().splitlines()
    assert lines[0] == "mrn,note,urgent,predicted,probability" and len(lines) == 61


@pytest.mark.parametrize(
    ("encoding", "given"), [("utf-8-sig", None), ("utf-8-sig", "UTF-8"), ("utf-16", None), ("cp1252", "cp1252")]
)
def test_encodings_are_read(tmp_path: Path, encoding: str, given: str | None) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\ncafé,x\nthé,y\n".encode(encoding))
    from blindtune.data import read_dataset
    from blindtune.data.sources import open_source

    data = read_dataset(open_source(tmp_path / "a.csv", given))
    assert data.texts == ("café", "thé") and data.label_names == ("x", "y")


def test_an_excel_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    from blindtune.data import DataError, read_dataset
    from blindtune.data.sources import open_source

    book = openpyxl.Workbook()
    for row in (["text", "label"], ["one\ntwo", 1], [None, None], ["three", 0]):
        book.active.append(row)
    book.create_sheet("more")
    book.save(tmp_path / "a.xlsx")
    source = open_source(tmp_path / "a.xlsx")
    assert source.notes and "the first sheet is read" in source.notes[0]
    data = read_dataset(source)
    assert data.texts == ("one\ntwo", "three") and data.label_names == ("0", "1")
    (tmp_path / "b.xlsx").write_bytes(b"no")
    with pytest.raises(DataError, match=r"b\.xlsx: not an Excel file"):
        read_dataset(tmp_path / "b.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert main(words(tmp_path, "a.xlsx")) == 1
    assert "pip install 'blindtune[xlsx]'" in capsys.readouterr().err


def test_a_data_set_of_the_hub_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    datasets = pytest.importorskip("datasets")
    from blindtune.data import read_dataset

    asked: list[tuple[Any, ...]] = []

    def load(*names: str, split: str) -> Any:
        asked.append((*names, split))
        if names == ("glue/sst2",):
            raise FileNotFoundError("there is no data set glue/sst2")
        return datasets.Dataset.from_dict({"sentence": ["a", "b"], "label": [0, 1]})

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read_dataset("hf:glue/sst2:train").texts == ("a", "b")
    assert read_dataset("hf:someone/set/part:test").texts == ("a", "b")
    assert asked == [("glue/sst2", "train"), ("glue", "sst2", "train"), ("someone/set", "part", "test")]
    assert main(["train", "--data", "hf:glue/sst2", "--model", "m", "--host", "http://127.0.0.1:9"]) == 2
    assert "say which split, as hf:glue/sst2:train" in capsys.readouterr().err


def test_a_file_of_chats_becomes_texts_and_labels(tmp_path: Path) -> None:
    from blindtune.data import DataError, read_dataset
    from blindtune.data.sources import open_source

    def chat(*said: str) -> str:
        roles = ["system", "user", "assistant", "user"]
        messages = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
        return json.dumps({"messages": messages}) + "\n"

    (tmp_path / "a.jsonl").write_text(chat("be brief", "hello", "yes") + chat("be brief", "bye", "no"))
    source = open_source(tmp_path / "a.jsonl")
    assert "the user's message is read as the text, the assistant's as the label" in source.notes[0]
    data = read_dataset(source)
    assert data.texts == ("hello", "bye") and data.label_names == ("no", "yes")
    (tmp_path / "c.jsonl").write_text('{"text": "a", "label": 1, "messages": []}\n{"text": "b", "label": 2}\n')
    assert read_dataset(tmp_path / "c.jsonl").texts == ("a", "b"), "a column of that name is left alone"
    parts = [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}]
    answer = {"role": "assistant", "content": "yes"}
    (tmp_path / "d.jsonl").write_text(json.dumps({"messages": [*parts, answer]}) + "\n" + chat("be kind", "c", "no"))
    with pytest.raises(DataError, match=r"d\.jsonl, line 2: its system message is another than that of .*line 1"):
        read_dataset(tmp_path / "d.jsonl")
    (tmp_path / "d.jsonl").write_text(json.dumps({"messages": [*parts, answer]}) + "\n")
    assert next(iter(open_source(tmp_path / "d.jsonl").records))[1] == {"text": "a\nb", "label": "yes"}
    (tmp_path / "b.jsonl").write_text(chat("be brief", "hello", "yes", "more"))
    with pytest.raises(DataError, match=r"b\.jsonl, line 1: .*here: system, user, assistant, user"):
        read_dataset(tmp_path / "b.jsonl")


def test_a_regression_goes_through_the_shell(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = sentiment(80)
    rows = [f"{text},{label + 0.25}" for text, label in zip(data.texts, data.labels, strict=True)]
    (tmp_path / "a.csv").write_text("text,score\n" + "\n".join(rows) + "\n")
    run, host = str(tmp_path / "run"), ["--host", fake_host.url, "--api-key", "k"]
    more = ["--task", "regression", "--label-column", "score", "--dev", str(tmp_path / "a.csv"), "--run", run, *FAST]
    assert main(words(tmp_path, "a.csv", *more, host=fake_host.url)) == 0
    said = capsys.readouterr()
    assert "80 rows, numbers to predict" in said.err and ", spearman 0." in said.out
    assert main(["predict", "--run", run, "--text", "a good film", *host]) == 0
    value, text = capsys.readouterr().out.strip().split("\t")
    assert text == "a good film"
    assert main(["predict", "--run", run, "--text", "a good film", *host, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["text"] == "a good film" and found["value"] == pytest.approx(float(value), abs=1e-4)


def test_long_lists_of_labels_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"t{k},{k / 100}\n" for k in range(40)))
    (tmp_path / "dev.csv").write_text("text,label\na,0.0\nb,7.77\n")
    assert main(words(tmp_path, "a.csv", "--dev", str(tmp_path / "dev.csv"))) == 2
    said = capsys.readouterr().err
    assert "dev.csv, line 3: label '7.77' is not one of " in said and "and 30 more" in said
    assert "for numbers to predict: task regression" in said and len(said) < 400


def test_a_batch_larger_than_the_rows_is_said(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tsv(tmp_path)
    more = ["--batch-size", "5000", "--run", str(tmp_path / "run"), *FAST]
    assert main(words(tmp_path, "a.tsv", *more, host=fake_host.url)) == 0
    assert "--batch-size 5000 is more than there are rows: every batch has all 60" in capsys.readouterr().err
