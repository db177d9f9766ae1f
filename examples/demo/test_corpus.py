"""The corpus is the same everywhere, fair, and leaves its labels at home; the report has the promised form."""

# ruff: noqa: D103 (the name of a test says what it tests)

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from blindtune.data import upload_bytes
from corpus import COMPLAINTS, LABEL_NAMES, LABEL_NOISE, PATTERNS, Note, make_corpus
from demo import dataset
from methods import MethodReport, Outcome, Seen
from picture import draw
from plan import Plan, read_plan
from report import failures, make_report, table, write_report

SHA256 = "b4239545b04a5eefd31c0e01e0a7c2faa4774a660144f568f8b6cdb5a68bedd9"


def outcome(accuracy: float, gradients: float | None, hosts: int = 1) -> Outcome:
    report: MethodReport = {
        "accuracy": accuracy,
        "leak": {"activations": 0.55, "shifts": None, "differences": None, "gradients": gradients},
        "hosts": hosts,
        "steps": 150,
        "seconds": 12.3,
        "bytes_up": 1_000_000,
        "bytes_down": 2_000_000,
    }
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    seen = Seen(rows, np.arange(40, dtype=np.int64) % 2)
    return Outcome(report, ("the texts",), 0.8, seen, None if gradients is None else seen)


def good() -> dict[str, Outcome]:
    return {"frozen": outcome(0.74, None), "lora": outcome(0.98, 1.0), "p3eft": outcome(0.975, 0.52, hosts=2)}


def plan(tmp_path: Path) -> Plan:
    return replace(read_plan({}), out=tmp_path)


def test_one_seed_gives_one_corpus() -> None:
    corpus = make_corpus()
    assert (len(corpus.train), len(corpus.dev)) == (4000, 800)
    assert corpus.sha256() == SHA256
    assert make_corpus(seed=1).sha256() != SHA256


def test_labels_are_balanced_and_texts_distinct() -> None:
    corpus = make_corpus()
    for half in (corpus.train, corpus.dev):
        assert abs(np.mean([note.label for note in half]) - 0.5) < 0.02
    texts = [note.text for note in (*corpus.train, *corpus.dev)]
    assert len(set(texts)) == len(texts)
    words = [len(text.split()) for text in texts]
    assert min(words) >= 3 and max(words) <= 22


def test_noise_flips_few_labels() -> None:
    clean = {note.text: k % 2 for k, note in enumerate(make_corpus().train)}
    flipped = np.mean([note.label != clean[note.text] for note in make_corpus().train])
    assert abs(flipped - LABEL_NOISE) < 0.01


def test_a_complaint_says_nothing_about_the_label() -> None:
    corpus = make_corpus()
    labels = np.array([note.label for note in corpus.train])
    complaints = {word for complaint in COMPLAINTS for word in complaint.split()}
    for word in complaints:
        has = np.array([word in re.findall(r"\w+", note.text.lower()) for note in corpus.train])
        if has.sum() >= 200:
            assert abs(labels[has].mean() - 0.5) < 0.15, word
    assert all(yes != no for yes, no in PATTERNS)


def test_the_upload_holds_texts_and_nothing_else() -> None:
    notes = make_corpus().train[:200]
    rows = [json.loads(line) for line in upload_bytes(dataset(notes).texts).decode().splitlines()]
    assert rows == [{"text": note.text} for note in notes]


def test_a_label_does_not_change_the_upload() -> None:
    notes = make_corpus().train[:50]
    flipped = [Note(note.text, 1 - note.label) for note in notes]
    assert upload_bytes(dataset(notes).texts) == upload_bytes(dataset(flipped).texts)


def test_the_report_has_the_promised_form(tmp_path: Path) -> None:
    write_report(make_report(plan(tmp_path), good()), tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report) == ["model", "seed", "data", "methods"]
    assert (report["model"], report["seed"], report["data"]) == ("all-MiniLM-L6-v2", 0, "made-up")
    assert list(report["methods"]) == ["frozen", "lora", "p3eft"]
    for method in report["methods"].values():
        assert list(method) == ["accuracy", "leak", "hosts", "steps", "seconds", "bytes_up", "bytes_down"]
        assert list(method["leak"]) == ["activations", "shifts", "differences", "gradients"]
    assert report["methods"]["frozen"]["leak"]["gradients"] is None


def test_table_and_picture_can_be_drawn(tmp_path: Path) -> None:
    lines = table(make_report(plan(tmp_path), good())["methods"]).splitlines()
    assert len({len(line) for line in lines[1:]}) == 1
    draw(good(), LABEL_NAMES, tmp_path / "leak.png")
    assert (tmp_path / "leak.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("method", "accuracy", "gradients", "words"),
    [
        ("lora", 0.81, 1.0, "above frozen's"),
        ("lora", 0.98, 0.94, "give the labels away"),
        ("p3eft", 0.94, 0.52, "below lora's"),
        ("p3eft", 0.975, 0.61, "the limit is 0.6"),
    ],
)
def test_each_missed_bar_is_named(tmp_path: Path, method: str, accuracy: float, gradients: float, words: str) -> None:
    assert failures(plan(tmp_path), good()) == []
    found = failures(plan(tmp_path), good() | {method: outcome(accuracy, gradients)})
    assert any(words in line for line in found), found
