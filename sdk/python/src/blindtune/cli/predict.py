"""`blindtune predict`: texts, pairs or a table in; labels, values or spans out.

Owns: how predictions look. Must never: leave a text out, or mix two lines up.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import DONE, ArgumentError
from .groups import Talk
from .looks import loaded
from .options import Columns, Hosts
from .reading import opened, tell

if TYPE_CHECKING:
    from ..data import Text
    from ..training.trainer import Tuner

TABLES = (".csv", ".tsv", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class Asked(Columns):
    """What is predicted."""

    run: Annotated[Path, typer.Option(metavar="DIR", help="the run folder")]
    text: Annotated[
        list[str] | None, typer.Option(help="may be repeated; else --data, or lines from standard input")
    ] = None
    pair: Annotated[
        list[str] | None, typer.Option(help="second text of a pair, one for each --text", metavar="TEXT")
    ] = None
    data: Annotated[str | None, typer.Option(metavar="FILE", help="a table with texts, as train reads it")] = None
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="of --data: .csv, .tsv or .jsonl with all its columns and more")
    ] = None


def predict(asked: Asked, hosts: Hosts, talk: Talk) -> int:
    """Print what is predicted of each text, one line each: label and probability, value, or spans as JSON."""
    _check_out(asked.out)
    if asked.data is not None:
        rows, texts = _from_table(asked)
    else:
        rows, texts = [], _given(asked)
    tuner = loaded(asked.run, hosts)
    _check_pairs(tuner, texts)
    for line in _decided_by(tuner, asked.run):
        tell(line)
    if talk.verbose and tuner.temperature is not None:
        tell(tuner.temperature.line())
    answers = _predicted(tuner, texts)
    if talk.as_json and asked.out is None:
        named = [_named(text) | answer for text, answer in zip(texts, answers, strict=True)]
        print(json.dumps(named, indent=2, ensure_ascii=False))
    elif asked.data is None:
        for text, answer in zip(texts, answers, strict=True):
            print("\t".join([*_cells(answer).values(), *([text] if isinstance(text, str) else text)]))
    else:
        _write_table(asked.out, rows, answers)
    return DONE


def _check_out(out: Path | None) -> None:
    """Before the work, not after."""
    if out is None:
        return
    if out.suffix.lower() not in TABLES:
        raise ArgumentError(f"--out {out}: the name must end in {', '.join(TABLES)}")
    if not out.parent.is_dir():
        raise ArgumentError(f"--out {out}: there is no folder {out.parent}")


def _given(asked: Asked) -> list[Text]:
    if asked.out is not None:
        raise ArgumentError("--out is for a table: pass --data too")
    if not asked.text and sys.stdin.isatty():
        tell("reading texts from the keyboard, one a line; Ctrl-D ends")
    texts = list(asked.text or ()) or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not texts:
        raise ArgumentError("nothing to predict: pass --text, --data or lines on standard input")
    if not asked.pair:
        return list(texts)
    if len(asked.pair) != len(texts):
        raise ArgumentError(f"{len(texts)} --text and {len(asked.pair)} --pair: each --text needs its --pair")
    return list(zip(texts, asked.pair, strict=True))


def _from_table(asked: Asked) -> tuple[list[Mapping[str, object]], list[Text]]:
    from ..data.dataset import rows_with_texts

    if asked.text or asked.pair:
        raise ArgumentError("--data and --text: one of them")
    found = rows_with_texts(opened(str(asked.data), asked), asked.text_column, asked.pair_column)
    if not found:
        raise ArgumentError(f"{asked.data}: no rows")
    rows = [row for row, _ in found]
    taken = {"predicted", "probability"} & {name for row in rows for name in row}
    if taken:
        raise ArgumentError(f"{asked.data}: there is a column {sorted(taken)[0]!r} already; rename it")
    return rows, [text for _, text in found]


def _check_pairs(tuner: Tuner, texts: Sequence[Text]) -> None:
    """Where the run's report says what it was trained on."""
    trained = (tuner.folder.read_json("report.json") or {}).get("pairs")
    given = not isinstance(texts[0], str)
    if trained is None or trained == given:
        return
    if trained:
        raise ArgumentError("this run was trained on pairs of texts: pass --pair with each --text, or --pair-column")
    raise ArgumentError("this run was trained on single texts, not on pairs: leave --pair and --pair-column out")


def _decided_by(tuner: Tuner, run: Path) -> list[str]:
    """The thresholds in use, in words."""
    found = tuner.thresholds
    if found is None:
        return []
    return [*map(str, found.of_labels), f"`blindtune threshold {run} --clear` says the likeliest label again"]


def _predicted(tuner: Tuner, texts: Sequence[Text]) -> list[dict[str, Any]]:
    if tuner.task == "regression":
        return [{"value": float(value)} for value in tuner.predict_values(texts)]
    if tuner.task == "tokens":
        return [{"spans": [asdict(span) for span in spans]} for spans in tuner.predict(texts)]
    names, chances = tuner.predict_with_proba(texts)
    place = {name: k for k, name in enumerate(tuner.label_names)}
    pairs = zip(names, chances, strict=True)
    if tuner.task == "multilabel":
        return [{"labels": list(many), "probabilities": [float(row[place[n]]) for n in many]} for many, row in pairs]
    return [{"label": name, "probability": float(row[place[name]])} for name, row in pairs]


def _cells(answer: Mapping[str, Any]) -> dict[str, str]:
    """An answer as cells of a table."""
    if "value" in answer:
        return {"predicted": f"{answer['value']:.6g}"}
    if "spans" in answer:
        return {"predicted": json.dumps(answer["spans"], ensure_ascii=False)}
    if "labels" in answer:
        likely = "|".join(f"{value:.4f}" for value in answer["probabilities"])
        return {"predicted": "|".join(answer["labels"]), "probability": likely}
    return {"predicted": answer["label"], "probability": f"{answer['probability']:.4f}"}


def _named(text: Text) -> dict[str, str]:
    return {"text": text} if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}


def _write_table(out: Path | None, rows: Sequence[Mapping[str, object]], answers: Sequence[Mapping[str, Any]]) -> None:
    kind = ".csv" if out is None else out.suffix.lower()
    if kind == ".jsonl":
        pairs = zip(rows, answers, strict=True)
        whole = [{**row, "predicted": _plain(answer)} | _likely(answer) for row, answer in pairs]
        lines = [json.dumps(one, ensure_ascii=False, default=str) for one in whole]
        content = "\n".join(lines) + "\n"
    else:
        whole = [{**row, **_cells(answer)} for row, answer in zip(rows, answers, strict=True)]
        content = _table(whole, "\t" if kind == ".tsv" else ",", str(out))
    if out is None:
        print(content, end="")
        return
    out.write_text(content, encoding="utf-8", newline="")
    tell(f"{len(rows)} rows written to {out}")


def _plain(answer: Mapping[str, Any]) -> Any:
    return next(answer[name] for name in ("value", "spans", "labels", "label") if name in answer)


def _likely(answer: Mapping[str, Any]) -> dict[str, Any]:
    known = [answer[name] for name in ("probability", "probabilities") if name in answer]
    return {"probability": known[0]} if known else {}


def _table(rows: Sequence[Mapping[str, object]], delimiter: str, name: str) -> str:
    """CSV as everybody reads it; TSV without quotes, as this package reads it."""
    names = list(dict.fromkeys(column for row in rows for column in row))
    if delimiter == "\t":
        cells = [names, *([_cell(row.get(column)) for column in names] for row in rows)]
        if any(mark in cell for line in cells for cell in line for mark in "\t\n\r"):
            raise ArgumentError(f"{name}: a text has a tab or a line break, which TSV cannot have; use .csv")
        return "".join("\t".join(line) + "\n" for line in cells)
    held = io.StringIO(newline="")
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(column)) for column in names] for row in rows)
    return held.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
