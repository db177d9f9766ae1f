"""`blindtune train`.

Owns: what is said before, during and after a training. Must never: print a label beside its text.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .._version import __version__
from ..tasks import TASKS
from .failures import DONE, UNMET, ArgumentError
from .groups import Talk
from .options import Attacks, Demands, FromFile, Hosts, Labelled
from .reading import labelled, tell
from .setting_options import AllSettings, given_settings

if TYPE_CHECKING:
    from ..data import Dataset
    from ..training.trainer import Tuner
    from ..training.verdict import Judgement

EXCESS_ROWS = 1000
SHOWN = ("accuracy", "f1_macro", "spearman", "loss")
"""What is said of the dev rows in one line; `evaluate` tells the rest."""
NAMES_SHOWN = 8
LEFT_OUT = "a quick audit: attacks that take long were left out; --effort usual has them"
QUICK: dict[str, tuple[str, ...]] = {"quick": (LEFT_OUT,), "usual": (), "full": ()}
"""What is said of an audit's effort."""
Task: Any = Literal[TASKS]


@dataclass(frozen=True, kw_only=True)
class Files(Labelled):
    """What is trained on."""

    dev: Annotated[str | None, typer.Option(metavar="FILE", help="labelled rows to evaluate and audit on")] = None
    task: Annotated[Task, typer.Option(help="what labels are", rich_help_panel="Common settings")] = TASKS[0]
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the backbone's tokenizer.json, for task tokens")
    ] = None


@dataclass(frozen=True, kw_only=True)
class How(Demands, Attacks, FromFile):
    """How the run goes."""

    model: Annotated[str, typer.Option(help="a model of the host, see `blindtune models`")]
    run: Annotated[Path | None, typer.Option(metavar="DIR", help="run folder; the same command continues it")] = None
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress bar")] = False
    report_to: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="tensorboard, mlflow, trackio or wandb; may be repeated", show_default=False),
    ] = None
    keep_open: Annotated[bool, typer.Option("--keep-open", help="do not complete the job at the end")] = False


def train(files: Files, hosts: Hosts, how: How, settings: AllSettings, talk: Talk) -> int:
    """Train, evaluate, audit, complete; print the report and write it to the run folder."""
    given = given_settings(settings)
    run = how.run or _default_run(files.data, how.model, given)
    data = labelled(files.data, files, task=files.task)
    dev = labelled(files.dev, files, data.label_names, files.task) if files.dev else None
    _writable(run)
    _say_what_was_read(data, given, run)
    given |= {} if files.tokenizer is None else {"tokenizer": files.tokenizer}
    tuner = _tuner(how, hosts, run, given)
    result = tuner.fit(data, dev, report_to=how.report_to or ())
    report = tuner.summary() | {"fit": result.to_dict(), "label_names": list(data.label_names)}
    report |= {"pairs": not isinstance(data.texts[0], str), "rows": len(data), "blindtune": __version__}
    if result.dev_scores is not None:
        report["dev"] = result.dev_scores
    leak = _audit(tuner, data, dev, how.effort)
    report |= {"leak": leak.to_dict(), "effort": how.effort}
    if not how.keep_open:
        report["fine_tuned_models"] = tuner.complete()
    tuner.folder.write_json("report.json", report)
    return _conclude(report, leak.describe(), tuner, how, talk)


def _tuner(how: How, hosts: Hosts, run: Path, given: dict[str, Any]) -> Tuner:
    from ..training.trainer import Tuner

    rest: dict[str, Any] = {"run": run, "progress": not how.quiet, "features": hosts.features}
    return Tuner(how.model, hosts.hosts, api_keys=hosts.keys, **rest, **given)


def _conclude(report: dict[str, Any], leak: str, tuner: Tuner, how: How, talk: Talk) -> int:
    from ..training.verdict import Judgement

    judgement = Judgement.of(report, tuner.settings, how.require_max_leak)
    if talk.as_json:
        print(json.dumps(report | {"verdict": judgement.sentence()}, indent=2))
    else:
        _print_report(report, "\n".join([leak, *QUICK[how.effort]]), talk.verbose)
        print("\n".join(judgement.lines()))
    return demanded(judgement, how)


def demanded(judgement: Judgement, demands: Demands) -> int:
    """The exit code of what was demanded, with what does not hold on standard error."""
    unmet = judgement.unmet(demands.require, demands.require_max_leak)
    for line in unmet:
        tell(f"blindtune: {line}")
    return UNMET if unmet else DONE


def _audit(tuner: Tuner, data: Dataset, dev: Dataset | None, name: str) -> Any:
    from ..audit import Effort, sample_rows

    some, effort = data.take(sample_rows(len(data), EXCESS_ROWS)), Effort.named(name)
    return tuner.audit(some, effort=effort) if dev is None else tuner.audit(dev, trained_on=some, effort=effort)


def _say_what_was_read(data: Dataset, given: dict[str, Any], run: Path) -> None:
    labels = f"{data.classes} labels ({listed(data.label_names)})"
    what = "numbers to predict" if data.task == "regression" else labels
    tell(f"{len(data)} rows, {what}, run folder {run}")
    wanted = given.get("batch_size") or 0
    if wanted > len(data):
        tell(f"--batch-size {wanted} is more than there are rows: every batch has all {len(data)}")


def listed(names: tuple[str, ...]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names) if more < 2 else f"{', '.join(names[:NAMES_SHOWN])} and {more} more"


def _print_report(report: dict[str, Any], leak: str, verbose: bool) -> None:
    fit = report["fit"]
    print(f"{report['method']} on {report['model']}: {fit['steps']} steps, {fit['seconds']:.0f} s")
    if fit["best_step"] is not None:
        ended = "; patience ended the training" if fit["stopped"] else ""
        print(f"the state after step {fit['best_step']} was the best on the dev rows, and is kept{ended}")
    if "dev" in report:
        dev = report["dev"]
        print("dev " + ", ".join(f"{name} {dev[name]:.3f}" for name in SHOWN if name in dev))
    else:
        print(f"training accuracy {fit['accuracy']:.3f} over the last steps, loss {fit['loss']:.3f}")
    print(f"{fit['bytes_up'] / 1e6:.1f} MB sent, {fit['bytes_down'] / 1e6:.1f} MB received, {fit['retries']} retries")
    if fit["truncated"]:
        print(f"{fit['truncated']} times a text was read without its end, since it is longer than the model takes")
    if verbose and report["jobs"]:
        print(f"smallest |h| {fit['norm_ratio']:.2f} of the backbone's, adapters sha256 {fit['adapter_sha256'][:16]}")
    print(leak)
    for line in report.get("decision", {}).get("sentences", ()):
        print(line)


def _writable(run: Path) -> None:
    """Before an hour of work, not after."""
    try:
        run.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ArgumentError(f"the run folder {run} cannot be made ({error.strerror}); use another --run") from None
    if not os.access(run, os.W_OK | os.X_OK):
        raise ArgumentError(f"the run folder {run} cannot be written to; name another with --run")


def _default_run(data: str, model: str, given: dict[str, Any]) -> Path:
    plain = "".join(c if c.isalnum() or c in "-." else "-" for c in model)
    stem = Path(data).stem if not data.startswith("hf:") else "".join(c if c.isalnum() else "-" for c in data[3:])
    return Path("runs") / f"{stem}-{plain}-{given.get('method') or 'p3eft'}"
