"""`blindtune train | evaluate | audit | predict | features | frontier`: the label holder's side from a shell.

Owns: arguments, messages and exit codes (0 done, 1 the run or a host failed, 2 wrong arguments or data, 130
interrupted). Must never: print a key, or send what trainer.py would not.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .audit import sample_rows
from .client import API_KEY_VARIABLE, BASE_URL_VARIABLE
from .data import TASKS, DataError, Dataset, read_dataset
from .errors import BlindtuneError
from .features import FOLDER_VARIABLE
from .frontier.command import add_command as add_frontier
from .training.feature_command import add_command as add_features
from .training.protection import MEANING
from .training.setting_types import SettingType
from .training.settings import SETTING_TYPES, SettingsError
from .training.trainer import Tuner

EXCESS_ROWS = 1000
HELP = {
    "wanted": "of method auto: the score asked for on rows held out, as 0.9; without it side's result is taken",
    "accept": "of method auto: the weakest class of protection that may be tried where side stays below what is wanted",
}
SHOWN = ("accuracy", "f1_macro", "spearman", "loss")
"""What is said of the dev rows in one line; `evaluate` tells the rest."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    try:
        return int(options.command(options))
    except (DataError, SettingsError, FileNotFoundError, IsADirectoryError) as error:
        return _fail(error, 2)
    except BlindtuneError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues where it stopped", file=sys.stderr)
        return 130


def train(options: argparse.Namespace) -> int:
    """Train, evaluate, audit, complete; print the report and write it to the run folder."""
    data = read_dataset(options.data, task=options.task)
    dev = read_dataset(options.dev, data.label_names, task=options.task) if options.dev else None
    given = {name: getattr(options, name) for name in SETTING_TYPES if getattr(options, name) is not None}
    run = options.run or _default_run(options)
    print(f"{len(data)} rows, {data.classes} labels ({', '.join(data.label_names)}), run folder {run}", file=sys.stderr)
    given |= {} if options.tokenizer is None else {"tokenizer": options.tokenizer}
    how = {"run": run, "progress": not options.quiet, "features": options.features}
    tuner = Tuner(options.model, options.host, api_keys=_keys(options), **how, **given)
    result = tuner.fit(data)
    report = tuner.summary() | {"fit": result.to_dict(), "label_names": list(data.label_names)}
    if dev is not None:
        report["dev"] = tuner.evaluate(dev)
    leak = _audit(tuner, data, dev)
    report["leak"] = leak.to_dict()
    if not options.keep_open:
        report["fine_tuned_models"] = tuner.complete()
    tuner.folder.write_json("report.json", report)
    _print_report(report, leak.describe(), options.json)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Print how good a finished run is on labelled rows; the labels stay here."""
    tuner = Tuner.load(options.run, options.host, api_keys=_keys(options), features=options.features)
    report = tuner.report(_read(tuner, options.data))
    print(json.dumps(report.to_dict(), indent=2) if options.json else report)
    return 0


def audit(options: argparse.Namespace) -> int:
    """Attack what the hosts of a finished run saw."""
    tuner = Tuner.load(options.run, options.host, api_keys=_keys(options), features=options.features)
    leak = tuner.audit(_read(tuner, options.data))
    report = (tuner.folder.read_json("report.json") or tuner.summary()) | {"leak": leak.to_dict()}
    tuner.folder.write_json("report.json", report)
    print(json.dumps(leak.to_dict(), indent=2) if options.json else leak.describe())
    return 0


def predict(options: argparse.Namespace) -> int:
    """Print what is predicted of each text, one line each: label and probability, value, or spans as JSON."""
    texts = list(options.text or []) or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    if not texts:
        raise DataError("nothing to predict: pass --text or lines on standard input")
    tuner = Tuner.load(options.run, options.host, api_keys=_keys(options), features=options.features)
    for text, line in zip(texts, _predicted(tuner, texts), strict=True):
        print(f"{line}\t{text}")
    return 0


def _predicted(tuner: Tuner, texts: list[str]) -> list[str]:
    if tuner.task == "regression":
        return [f"{value:.6g}" for value in tuner.predict_values(texts)]
    answers = tuner.predict(texts)
    if tuner.task == "tokens":
        return [json.dumps([asdict(span) for span in spans], ensure_ascii=False) for spans in answers]
    probabilities = tuner.predict_proba(texts)
    if tuner.task == "multilabel":
        place = {name: k for k, name in enumerate(tuner.label_names)}
        pairs = zip(answers, probabilities, strict=True)
        return ["|".join(names) + "\t" + "|".join(f"{row[place[n]]:.4f}" for n in names) for names, row in pairs]
    return [f"{name}\t{row.max():.4f}" for name, row in zip(answers, probabilities, strict=True)]


def _read(tuner: Tuner, file: Path) -> Dataset:
    """Rows with the labels of a run."""
    return read_dataset(file, tuner.label_names, task=tuner.task)


def _audit(tuner: Tuner, data: Dataset, dev: Dataset | None) -> Any:
    some = data.take(sample_rows(len(data), EXCESS_ROWS))
    return tuner.audit(some) if dev is None else tuner.audit(dev, trained_on=some)


def _print_report(report: dict[str, Any], leak: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=2))
        return
    fit = report["fit"]
    print(f"{report['method']} on {report['model']}: {fit['steps']} steps, {fit['seconds']:.0f} s")
    if "dev" in report:
        dev = report["dev"]
        print("dev " + ", ".join(f"{name} {dev[name]:.3f}" for name in SHOWN if name in dev))
    else:
        print(f"training accuracy {fit['accuracy']:.3f} over the last steps, loss {fit['loss']:.3f}")
    print(f"{fit['bytes_up'] / 1e6:.1f} MB sent, {fit['bytes_down'] / 1e6:.1f} MB received, {fit['retries']} retries")
    if report["jobs"]:
        print(f"smallest |h| {fit['norm_ratio']:.2f} of the backbone's, adapters sha256 {fit['adapter_sha256'][:16]}")
    print(leak)
    for line in report.get("decision", {}).get("sentences", ()):
        print(line)
    print(f"protection: {report['protection']}: {MEANING[report['protection']]}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="blindtune", description="Fine-tune without sending a label.")
    commands = parser.add_subparsers(required=True, metavar="train | evaluate | audit | predict | features | frontier")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--host", action="append", default=[], metavar="URL", help=f"may be repeated; else {BASE_URL_VARIABLE}"
    )
    common.add_argument(
        "--api-key", action="append", default=[], metavar="KEY", help=f"one per host; else {API_KEY_VARIABLE}"
    )
    common.add_argument(
        "--features", type=Path, metavar="DIR", help=f"where method side keeps hidden states; else {FOLDER_VARIABLE}"
    )
    common.add_argument("--verbose", action="store_true", help="tell about retries and recovery")
    common.add_argument("--json", action="store_true", help="print the report as JSON")

    command = commands.add_parser("train", parents=[common], help=train.__doc__)
    command.add_argument(
        "--data", required=True, type=Path, metavar="FILE", help=".tsv, .csv or .jsonl with text and label"
    )
    command.add_argument("--task", choices=TASKS, default=TASKS[0], help=f"what labels are, default {TASKS[0]}")
    command.add_argument(
        "--tokenizer", type=Path, metavar="FILE", help="the backbone's tokenizer.json, for task tokens"
    )
    command.add_argument("--dev", type=Path, metavar="FILE", help="labelled rows to evaluate and audit on")
    command.add_argument("--model", required=True, help="a model of the host, see GET /v1/models")
    command.add_argument("--run", type=Path, metavar="DIR", help="run folder; the same command continues it")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.add_argument("--keep-open", action="store_true", help="do not complete the job at the end")
    settings = command.add_argument_group("settings")
    for name, kind in SETTING_TYPES.items():
        _add_setting(settings, name, kind)
    command.set_defaults(command=train)

    for look in (evaluate, audit):
        command = commands.add_parser(look.__name__, parents=[common], help=look.__doc__)
        command.add_argument("--run", required=True, type=Path, metavar="DIR")
        command.add_argument(
            "--data", required=True, type=Path, metavar="FILE", help="labelled rows, best ones not trained on"
        )
        command.set_defaults(command=look)

    command = commands.add_parser("predict", parents=[common], help=predict.__doc__)
    command.add_argument("--run", required=True, type=Path, metavar="DIR")
    command.add_argument("--text", action="append", help="may be repeated; else lines from standard input")
    command.set_defaults(command=predict)

    add_features(commands, common, _keys)
    add_frontier(commands, common, _keys)
    return parser


def _add_setting(group: argparse._ArgumentGroup, name: str, kind: SettingType) -> None:
    option = f"--{name.replace('_', '-')}"
    if kind.kind is bool:
        group.add_argument(option, action="store_true", default=None)
    elif kind.many and kind.kind is not str:
        group.add_argument(option, type=kind.read, default=None, metavar="NUMBERS", help="with commas, or `balanced`")
    elif kind.many:
        group.add_argument(option, nargs="+", default=None, metavar="NAME", help="default: the host's for this model")
    else:
        usual = [] if kind.default is None else [f"default {kind.default}"]
        usual = [HELP[name], *usual] if name in HELP else usual
        metavar = None if kind.choices else kind.kind.__name__.upper()
        group.add_argument(
            option, type=kind.kind, choices=kind.choices or None, default=None, metavar=metavar, help="; ".join(usual)
        )


def _keys(options: argparse.Namespace) -> list[str] | None:
    if options.api_key:
        return list(options.api_key)
    from_environment = os.environ.get(API_KEY_VARIABLE, "")
    return [key.strip() for key in from_environment.split(",") if key.strip()] or None


def _default_run(options: argparse.Namespace) -> Path:
    model = "".join(c if c.isalnum() or c in "-." else "-" for c in options.model)
    return Path("runs") / f"{options.data.stem}-{model}-{options.method or 'p3eft'}"


def _fail(error: Exception, code: int) -> int:
    print(f"blindtune: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
