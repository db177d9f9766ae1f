"""A run as a model card: what the Hub reads, what is missing by name, and what is never in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import sentiment
from fake_host import FakeHost
from huggingface_hub import ModelCard

from blindtune import Client, Dataset, RunError, Tuner, __version__
from blindtune.cli import main
from blindtune.training.card_facts import CardFacts, of_folder
from blindtune.training.model_card import CLOSED, model_card
from blindtune.training.protection import MEANING

SIDE: dict[str, Any] = {"method": "side", "epochs": 1, "networks": 1}
STEPWISE: dict[str, Any] = {"method": "p3eft", "steps": 2, "batch_size": 16}
CASES: dict[str, dict[str, Any]] = {
    "blind": SIDE,
    "hurdle": STEPWISE,
    "open": STEPWISE | {"method": "lora"},
    "bounded": STEPWISE | {"label_epsilon": 2.0, "method": "lora"},
}
NAMES = ("stays home", "readmit|now")
SECTIONS = [
    "What it is",
    "Data",
    "How good it is",
    "From which probability on a label is said",
    "How well the labels were kept",
    "What a host saw",
    "Intended use and limits",
    "How to load it",
]


@pytest.fixture(scope="module")
def host() -> Iterator[FakeHost]:
    made = FakeHost()
    yield made
    made.close()


def named(rows: int, seed: int = 0) -> Dataset:
    return replace(sentiment(rows, seed), label_names=NAMES)


def file_of(folder: Path, data: Dataset, name: str) -> str:
    lines = [f"{text}\t{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    (folder / name).write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    return str(folder / name)


def trained(host: FakeHost, run: Path, **settings: Any) -> Tuner:
    tuner = Tuner("toy", [Client(host.url, "key")], run=run, progress=False, **settings)
    tuner.fit(named(80))
    return tuner


def section(card: str, name: str) -> str:
    return card.partition(f"## {name}\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def whole(host: FakeHost, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run by the commands: trained with dev rows, audited, evaluated, with a threshold."""
    folder = tmp_path_factory.mktemp("card")
    run, where = str(folder / "run"), ["--host", host.url, "--api-key", "k", "--features", str(folder / "features")]
    train, dev = file_of(folder, named(80), "a.tsv"), file_of(folder, named(60, 1), "dev.tsv")
    fast = ["--method", "p3eft", "--steps", "4", "--batch-size", "16", "--quiet", "--effort", "quick"]
    words = ["train", "--data", train, "--dev", dev, "--model", "toy", "--run", run, *where[:4], *fast]
    assert main(words) == 0
    assert main(["threshold", run, "--data", dev, "--positive", NAMES[1], "--recall", "0.9", *where]) == 0
    assert main(["evaluate", "--run", run, "--data", file_of(folder, named(50, 2), "test.tsv"), *where]) == 0
    return folder / "run"


def test_the_hub_can_read_it(whole: Path) -> None:
    card = model_card(of_folder(whole))
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["library_name"] == "blindtune" and front["base_model"] == "toy"
    assert front["base_model_relation"] == "adapter" and front["pipeline_tag"] == "text-classification"
    assert "protection-hurdle" in front["tags"] and {"accuracy", "f1"} <= set(front["metrics"])
    read = ModelCard(card)
    kept = json.loads((whole / "evaluation.json").read_text())["report"]["scores"]
    found = {one.metric_name: one.metric_value for one in read.data.eval_results}
    assert found["accuracy"] == pytest.approx(kept["accuracy"], abs=1e-6) and "f1_macro" in found


def test_it_has_every_part_in_the_words_of_the_report(whole: Path, host: FakeHost) -> None:
    asked = len(host.seen)
    card = model_card(of_folder(whole))
    assert len(host.seen) == asked
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == SECTIONS
    assert "**Missing:**" not in card and "Out of date" not in card and __version__ in section(card, "What it is")
    assert "| `steps` | 4 |" in card and "80 rows, single texts" in card and "60 dev rows" in card
    report = json.loads((whole / "report.json").read_text())
    evaluated = json.loads((whole / "evaluation.json").read_text())["report"]
    good = section(card, "How good it is")
    assert f"| accuracy | {evaluated['scores']['accuracy']:.4f} |" in good and "On 50 rows" in good
    first, second = evaluated["confusion"]
    assert f"| label 1 | {first[0]} | {first[1]} |" in good and f"| label 2 | {second[0]} | {second[1]} |" in good
    assert "other thresholds" not in good, "it was evaluated under the one in use"
    assert "- label 1 is said from probability" in card and "(recall >= 0.9)" in card and "too good" in card
    kept = section(card, "How well the labels were kept")
    assert f"protection: hurdle: {MEANING['hurdle']}" in kept and "Effort of the audit: quick" in kept
    worst = report["leak"]["tiers"]["1"]
    assert f"| 1 | unsupervised, over all views | {worst:.3f} | 0.600 |" in kept
    assert ("NOT PRIVATE ENOUGH" in kept) != ("- private enough: " in kept)
    assert all(f"- {line}" in section(card, "What a host saw") for line in report["leak"]["host_learns"])


def test_texts_are_never_in_it_and_names_only_where_asked_for(whole: Path) -> None:
    without, with_names = model_card(of_folder(whole)), model_card(of_folder(whole), with_label_names=True)
    for text in named(80).texts[:20]:
        assert str(text) not in with_names
    assert "stays home" not in without and "readmit" not in without and "--with-label-names" in without
    assert "stays home" in with_names and "readmit\\|now |" in with_names, "a bar in a name ends no cell"


@pytest.mark.parametrize("name", CASES)
def test_what_is_missing_is_named_and_no_class_is_called_more_than_it_is(
    host: FakeHost, tmp_path: Path, name: str
) -> None:
    tuner = trained(host, tmp_path / "run", **CASES[name])
    card = tuner.card()
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == SECTIONS
    assert "**Missing:** no dev rows were evaluated" in card and "**Missing:** no audit was made" in card
    assert "how many rows it was trained on is not recorded" in card and "No threshold was chosen" in card
    assert "model-index" not in card and f"- protection: {name}: {MEANING[name]}" in card  # type: ignore[index]
    assert ("(proven" in section(card, "How well the labels were kept")) == (name in ("blind", "bounded"))
    assert "- private enough:" not in card
    assert ("NOT KNOWN WHETHER IT IS PRIVATE ENOUGH" in card) == (name != "blind")
    dev = named(40, 1)
    told = tuner.card(tuner.report(dev), tuner.audit(dev, quick=True), with_label_names=True)
    assert "On 40 rows" in told and "| stays home |" in told and "no audit was made" not in told
    assert "What attacks found" in told and ("| none applies |" in told) == (name == "blind")


def test_what_was_measured_earlier_is_told_apart(host: FakeHost, tmp_path: Path, whole: Path) -> None:
    facts = of_folder(whole)
    later = model_card(replace(facts, steps=9))
    assert "the rows of the training**" not in later
    assert later.count("**Out of date:**") == 2 and "measured after 4 steps, and the run has made 9" in later
    tuner = trained(host, tmp_path / "run", **SIDE)
    dev, where = file_of(tmp_path, named(40, 1), "dev.tsv"), ["--host", host.url, "--api-key", "k"]
    assert main(["audit", "--run", str(tmp_path / "run"), "--data", dev, "--effort", "quick", *where]) == 0
    audited = of_folder(tmp_path / "run")
    assert audited.audited_after == audited.steps and audited.evaluated_after is None
    train = file_of(tmp_path, named(80), "train.tsv")
    assert main(["evaluate", "--run", str(tmp_path / "run"), "--data", train, *where]) == 0
    assert "**These are the rows of the training**" in tuner.card()
    before = tuner.report(named(40, 2))
    tuner.choose_thresholds(named(40, 1), positive=NAMES[1])
    assert "Measured under other thresholds than those in use" in tuner.card(before)
    assert "A threshold was chosen on these rows" in tuner.card(tuner.report(named(40, 1)))
    again = replace(facts, steps=9, report={**facts.report, "audited_steps": 9})
    assert model_card(again).count("**Out of date:**") == 1, "it was audited once more, and not evaluated"
    watched = replace(facts, evaluation={}, settings=replace(facts.settings, eval_every=1))
    assert "chosen on these rows, so the scores are a little too good" in model_card(watched)


def test_of_method_auto_it_tells_the_choice(host: FakeHost, tmp_path: Path) -> None:
    tuner = trained(host, tmp_path / "run", method="auto", epochs=1, networks=1)
    card = tuner.card()
    assert "`networks`" in card and "`obfuscation`" not in card, "what does nothing in a method is not listed"
    assert "| method | side: " in card and "Method auto chose it" in card and "result: side (blind)" in card


def test_a_regression_has_no_labels_to_name(host: FakeHost, tmp_path: Path) -> None:
    data = sentiment(80)
    numbers = Dataset.from_lists(data.texts, [float(k) for k in np.arange(80)], task="regression")
    tuner = Tuner("toy", [Client(host.url, "key")], run=tmp_path / "run", progress=False, **SIDE)
    tuner.fit(numbers)
    card = tuner.card(tuner.report(numbers))
    assert "Does not apply to task regression" in card and "spearmanr" in card and "predict_values" in card


@pytest.mark.parametrize("method", ["p3eft", "side"])
def test_an_export_has_one_of_what_hosts_knew_anyway(host: FakeHost, tmp_path: Path, method: str) -> None:
    tuner = trained(host, tmp_path / "run", **(STEPWISE if method == "p3eft" else SIDE))
    tuner.choose_thresholds(named(40, 1), positive=NAMES[1])
    tuner.export(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == SECTIONS
    for name in ("Data", "How good it is", "From which probability on a label is said"):
        assert section(card, name).strip() == CLOSED
    assert "model-index" not in card and "label 1" not in card and "2 labels" not in card
    assert f"**{CardFacts.of(tuner.folder).protection}**" in card and "load_export" in card
    assert "- the texts you send, in an order that is secret" in section(card, "What a host saw")


def test_from_a_shell(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(whole)]) == 0
    printed = capsys.readouterr().out
    assert printed == model_card(of_folder(whole))
    out = tmp_path / "README.md"
    out.write_text("mine")
    assert main(["card", str(whole), "--out", str(out)]) == 2
    assert "already there; --force replaces it" in capsys.readouterr().err and out.read_text() == "mine"
    assert main(["card", str(whole), "--out", str(out), "--force", "--with-label-names"]) == 0
    assert "stays home" in out.read_text()
    assert main(["card", str(whole), "--json"]) == 0
    capsys.readouterr()
    assert main(["card", str(tmp_path / "none")]) == 1
    assert "no run here" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_a_run_that_learned_nothing_has_none(host: FakeHost, tmp_path: Path) -> None:
    tuner = Tuner("toy", [Client(host.url, "key")], run=tmp_path / "run", progress=False, **SIDE)
    with pytest.raises(RunError, match="no run here"):
        tuner.card()
