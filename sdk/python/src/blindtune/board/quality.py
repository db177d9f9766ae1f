"""How good a run is on rows with labels: computed at home by the run's private model, and kept in its folder.

Owns: `quality.json`: curves by label, what each threshold would do, the worst errors with their texts. Must never: send
more than `evaluate` does, which is texts; or read rows from anywhere but a file of this machine.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from ..arrays import F32, AnyArray
from ..data import DataError, Dataset, Text, read_dataset
from ..errors import RunError
from ..frontier.point import finite
from ..training.card_facts import EVALUATION, keep_evaluation
from ..training.deciding import RowReport
from ..training.run_folder import RunFolder
from ..training.trainer import Tuner
from .hosts import Hosts

QUALITY = "quality.json"
MOST_LABELS = 20
"""Labels that have curves; the most frequent ones."""
MOST_POINTS = 200
MOST_ERRORS = 50
LONGEST = 2000
"""Characters of a text that are kept."""
STEPS = np.round(np.linspace(0.0, 1.0, 101), 2)
"""Thresholds of the slider."""


def known(place: Path) -> dict[str, Any] | None:
    """What the folder has: what was computed here, or what `blindtune evaluate` left; None where there is neither."""
    folder = RunFolder(place)
    mine, evaluated = folder.read_json(QUALITY), folder.read_json(EVALUATION)
    if mine is not None and (evaluated is None or _same(mine, evaluated)):
        return mine
    if evaluated is None:
        return None
    return {"data": None, "at": None, "curves": [], "worst": [], "errors": None} | evaluated


def _same(mine: Mapping[str, Any], evaluated: Mapping[str, Any]) -> bool:
    """Whether no later evaluation took the place of this one."""
    return bool(mine["report"] == evaluated["report"])


def measure(place: Path, hosts: Hosts, data: str, columns: Mapping[str, str | None]) -> dict[str, Any]:
    """Evaluate a run on the rows of a file; only their texts travel, to the run's own hosts."""
    file = _local(data)
    with hosts.tuner(RunFolder(place)) as tuner:
        rows = read_dataset(str(file), tuner.label_names, task=tuner.task, **columns)
        found = tuner.report_by_row(rows)
        body = _body(tuner, rows, found) | {"data": file.name, "at": time.time()}
        report = finite(found.report.to_dict())
        body |= keep_evaluation(tuner.folder, tuner.summary()["steps"], rows.sha256(), report)
        tuner.folder.write_json(QUALITY, body)
    return body


def _local(data: str) -> Path:
    if data.startswith("hf:") or "://" in data:
        raise DataError(f"{data}: the board reads files of this machine alone; `blindtune evaluate` reads others")
    file = Path(data).expanduser()
    if not file.is_file():
        raise DataError(f"{file.absolute()}: there is no such file; name one by its path on this machine")
    return file


def _body(tuner: Tuner, rows: Dataset, found: RowReport) -> dict[str, Any]:
    errors = _errors(tuner, rows, found)
    body: dict[str, Any] = {
        "curves": [] if found.probabilities is None else _curves(tuner.label_names, rows, found.probabilities),
        "thresholds": _thresholds(tuner),
        "worst": errors[:MOST_ERRORS],
        "errors": len(errors),
    }
    plain: dict[str, Any] = finite(body)
    return plain


def _thresholds(tuner: Tuner) -> dict[str, float]:
    """Those in use, by label."""
    chosen = tuner.thresholds
    return {} if chosen is None else {one.label: one.value for one in chosen.of_labels}


# Curves.


def _curves(names: Sequence[str], rows: Dataset, probabilities: F32) -> list[dict[str, Any]]:
    """Of each label against the rest, the most frequent first; one that all rows have, or none, has no curve."""
    truth = np.eye(len(names), dtype=bool)[rows.labels] if rows.sets is None else rows.sets.astype(bool)
    often = np.argsort(-truth.sum(axis=0), kind="stable")[:MOST_LABELS]
    defined = [int(k) for k in often if 0 < truth[:, k].sum() < len(truth)]
    return [_curve(names[k], truth[:, k], probabilities[:, k].astype(np.float64)) for k in defined]


def _curve(name: str, truth: AnyArray, likely: AnyArray) -> dict[str, Any]:
    false_rate, true_rate, _ = roc_curve(truth, likely)
    precision, recall, _ = precision_recall_curve(truth, likely, drop_intermediate=True)
    said = likely[None, :] >= STEPS[:, None]
    hits, alarms = (said & truth).sum(axis=1), (said & ~truth).sum(axis=1)
    counts = np.stack([hits, alarms, truth.sum() - hits, (~truth).sum() - alarms], axis=1)
    return {
        "label": name,
        "rows": int(truth.sum()),
        "roc": _thinned(false_rate, true_rate),
        "pr": _thinned(recall[::-1], precision[::-1]),
        "sweep": counts.tolist(),
    }


def _thinned(x: AnyArray, y: AnyArray) -> list[list[float]]:
    """At most so many points, the first and the last among them."""
    places = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(np.int64))
    return [[round(float(x[k]), 5), round(float(y[k]), 5)] for k in places]


# Errors.


def _errors(tuner: Tuner, rows: Dataset, found: RowReport) -> list[dict[str, Any]]:
    """Every wrong row, the worst first: by how sure the wrong answer was, or how far off."""
    of_task = {"regression": _far_off, "multilabel": _wrong_sets, "tokens": _wrong_spans}
    wrong = of_task.get(rows.task, _wrong_classes)(tuner, rows, found)
    wrong.sort(key=lambda one: -one["badness"])
    for one in wrong[:MOST_ERRORS]:
        one |= {"text": _shown(rows.texts[one["row"]])}
    return wrong


def _wrong_classes(tuner: Tuner, rows: Dataset, found: RowReport) -> list[dict[str, Any]]:
    assert found.probabilities is not None
    place = {name: k for k, name in enumerate(tuner.label_names)}
    wrong = []
    for row, (truth, guess) in enumerate(zip(rows.labels.tolist(), found.answers, strict=True)):
        if place[guess] == truth:
            continue
        sure, right = (float(found.probabilities[row, k]) for k in (place[guess], truth))
        one = {"row": row, "truth": tuner.label_names[truth], "guess": guess, "badness": 1.0 - right}
        wrong.append(one | {"sure": sure, "of_truth": right})
    return wrong


def _wrong_sets(tuner: Tuner, rows: Dataset, found: RowReport) -> list[dict[str, Any]]:
    assert found.probabilities is not None and rows.sets is not None
    distance = np.abs(found.probabilities - rows.sets).max(axis=1)
    wrong = []
    for row, guess in enumerate(found.answers):
        truth = [name for name, yes in zip(tuner.label_names, rows.sets[row], strict=True) if yes]
        if set(truth) != set(guess):
            named = {"truth": ", ".join(truth) or "none", "guess": ", ".join(guess) or "none"}
            wrong.append({"row": row, **named, "badness": float(distance[row])})
    return wrong


def _far_off(_tuner: Tuner, rows: Dataset, found: RowReport) -> list[dict[str, Any]]:
    assert rows.values is not None
    pairs = enumerate(zip(rows.values.tolist(), found.answers, strict=True))
    return [
        {"row": row, "truth": f"{truth:.6g}", "guess": f"{guess:.6g}", "badness": abs(truth - guess)}
        for row, (truth, guess) in pairs
        if truth != guess
    ]


def _wrong_spans(_tuner: Tuner, rows: Dataset, found: RowReport) -> list[dict[str, Any]]:
    assert rows.spans is not None
    wrong = []
    for row, (truth, guess) in enumerate(zip(rows.spans, found.answers, strict=True)):
        amiss = len(set(truth) ^ set(guess))
        if amiss:
            wrong.append({"row": row, "truth": _spans(truth), "guess": _spans(guess), "badness": float(amiss)})
    return wrong


def _spans(spans: Sequence[Any]) -> str:
    return ", ".join(f"{one.label} {one.start}-{one.end}" for one in spans) or "none"


def _shown(text: Text) -> list[str]:
    parts = [text] if isinstance(text, str) else list(text)
    return [part if len(part) <= LONGEST else f"{part[:LONGEST]} …" for part in parts]


# One text.


def tried(place: Path, hosts: Hosts, text: Text) -> dict[str, Any]:
    """What the run says of one text, with all probabilities, spans, or the value."""
    with hosts.tuner(RunFolder(place)) as tuner:
        _check_pair(tuner, text)
        if tuner.task == "regression":
            return {"task": tuner.task, "value": float(tuner.predict_values([text])[0])}
        if tuner.task == "tokens":
            return {"task": tuner.task, "spans": [asdict(span) for span in tuner.predict([text])[0]]}
        (answer,), likely = tuner.predict_with_proba([text])
        said = [answer] if isinstance(answer, str) else list(answer)
        pairs = zip(tuner.label_names, map(float, likely[0]), strict=True)
        ranked = sorted(({"label": name, "probability": value} for name, value in pairs), key=_probability)
        return {"task": tuner.task, "said": said, "labels": ranked, "thresholds": _thresholds(tuner)}


def _probability(one: Mapping[str, Any]) -> float:
    return -float(one["probability"])


def _check_pair(tuner: Tuner, text: Text) -> None:
    trained = (tuner.folder.read_json("report.json") or {}).get("pairs")
    if trained is not None and trained != (not isinstance(text, str)):
        raise RunError("the run was trained on pairs of texts: give both" if trained else "the run reads single texts")
