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
from methods import Findings, MethodReport, Outcome, Seen
from picture import draw
from plan import Bars, Plan, read_plan
from report import describe, judge_p3eft, make_report, table, write_report
from seeds import SeedReport, conclude, distances

SHA256 = "3dc94567ddf73bc3e8d63700a4271d461764ad494c87b540de3ee9e9ac264bd0"


def outcome(accuracy: float, gradients: float | None, hosts: int = 1) -> Outcome:
    report: MethodReport = {
        "protection": "hurdle",
        "accuracy": accuracy,
        "leak": {"activations": 0.55, "shifts": None, "differences": None, "gradients": gradients, "worst": 0.7},
        "hosts": hosts,
        "steps": 150,
        "seconds": 12.3,
        "bytes_up": 1_000_000,
        "bytes_down": 2_000_000,
    }
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    seen = Seen(rows, np.arange(40, dtype=np.int64) % 2)
    return Outcome(report, ("the texts",), "activations/h0/ica", seen, None if gradients is None else seen, "5e")


def good(other: dict[str, Outcome] | None = None, same: bool = True) -> Findings:
    usual = {"frozen": outcome(0.74, None), "lora": outcome(0.98, 1.0), "p3eft": outcome(0.975, 0.52, hosts=2)}
    return Findings(usual | {"side": outcome(0.965, None)} | (other or {}), same)


def plan(tmp_path: Path) -> Plan:
    return replace(read_plan({}), out=tmp_path)


def test_one_seed_gives_one_corpus() -> None:
    corpus = make_corpus()
    assert (len(corpus.train), len(corpus.dev)) == (4000, 2000)
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
    judged = ["side_transcript", "same_under_other_labels", "bars"]
    assert list(report) == ["model", "seed", "data", "secret", "methods", *judged]
    assert (report["model"], report["seed"], report["data"]) == ("all-MiniLM-L6-v2", 0, "made-up")
    assert all(bar["reached"] for bar in report["bars"]) and len(report["bars"]) == 6
    assert list(report["methods"]) == ["frozen", "lora", "p3eft", "side"]
    for method in report["methods"].values():
        assert list(method) == ["protection", "accuracy", "leak", "hosts", "steps", "seconds", "bytes_up", "bytes_down"]
        assert list(method["leak"]) == ["activations", "shifts", "differences", "gradients", "worst"]
    assert report["methods"]["frozen"]["leak"]["gradients"] is None


def test_table_and_picture_can_be_drawn(tmp_path: Path) -> None:
    lines = table(make_report(plan(tmp_path), good())["methods"]).splitlines()
    assert len({len(line) for line in lines[1:]}) == 1
    draw(good().outcomes, LABEL_NAMES, tmp_path / "leak.png")
    assert (tmp_path / "leak.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("method", "accuracy", "gradients", "words"),
    [
        ("lora", 0.81, 1.0, "well above frozen's"),
        ("lora", 0.98, 0.94, "give the labels away"),
        ("p3eft", 0.94, 0.52, "close to lora's"),
        ("p3eft", 0.975, 0.61, "give little away"),
        ("side", 0.94, None, "side's accuracy is close"),
    ],
)
def test_each_broken_promise_is_named(
    tmp_path: Path, method: str, accuracy: float, gradients: float | None, words: str
) -> None:
    bars = make_report(plan(tmp_path), good({method: outcome(accuracy, gradients)}))["bars"]
    broken = [describe(bar) for bar in bars if not bar["reached"]]
    assert len(broken) == 1 and words in broken[0] and broken[0].strip().startswith("NO"), broken


def test_own_data_are_measured_and_not_judged(tmp_path: Path) -> None:
    mine = replace(read_plan({"DATA": str(tmp_path)}), out=tmp_path)
    report = make_report(mine, good({"p3eft": outcome(0.5, 1.0)}))
    assert report["bars"] == [] and report["secret"] == "random"
    assert mine.secret("lora") != mine.secret("lora")


def test_bytes_that_depend_on_labels_break_the_promise(tmp_path: Path) -> None:
    bars = make_report(plan(tmp_path), good(same=False))["bars"]
    assert [bar["promise"] for bar in bars if not bar["reached"]] == [
        "side's host is sent the same bytes under other labels"
    ]


def test_one_seed_gives_one_secret_and_another_seed_another(tmp_path: Path) -> None:
    secrets = {replace(plan(tmp_path), seed=seed).secret(method) for seed in range(3) for method in ("lora", "p3eft")}
    assert len(secrets) == 6 and plan(tmp_path).secret("lora") in secrets


def seed_report(seed: int, accuracy: float, gradients: float) -> SeedReport:
    report = outcome(accuracy, gradients, hosts=2).report
    return {"seed": seed, "p3eft": report, "worst_attack": "a", "bars": judge_p3eft(Bars(), 0.98, report)}


def test_seeds_pass_only_together_and_away_from_their_bars() -> None:
    good_ones = [seed_report(k, 0.97 + 0.001 * (k % 3), 0.52 + 0.004 * (k % 2)) for k in range(6)]
    assert conclude(good_ones) == 0
    assert conclude([*good_ones, seed_report(6, 0.94, 0.52)]) == 1, "a seed that breaks a promise"
    wide = [seed_report(k, 0.971, 0.50 + 0.015 * k) for k in range(6)]
    assert all(bar["reached"] for one in wide for bar in one["bars"])
    assert min(distance for _, distance in distances(wide)) < 4 and conclude(wide) == 1, "kept by luck"
