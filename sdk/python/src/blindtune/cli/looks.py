"""`blindtune evaluate`, `blindtune audit` and `blindtune status`: looks at a run.

Owns: what is said of them. Must never: print a label beside its text.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .failures import DONE
from .groups import Talk
from .options import Attacks, Demands, Hosts, Labelled
from .reading import labelled, tell
from .train import QUICK, demanded

if TYPE_CHECKING:
    from ..data import Dataset
    from ..private.evaluation import EvaluationReport
    from ..training.trainer import Tuner


@dataclass(frozen=True, kw_only=True)
class Finished(Labelled):
    """A run and the rows it is judged on."""

    run: Annotated[Path, typer.Option(metavar="DIR", help="the run folder")]


@dataclass(frozen=True, kw_only=True)
class How(Demands, Attacks):
    """How the audit goes, and what has to hold."""


def _keep(tuner: Tuner, data: Dataset, report: EvaluationReport) -> None:
    """In the run folder, for `blindtune card`."""
    from ..training.card_facts import EVALUATION, keep_evaluation

    try:
        keep_evaluation(tuner.folder, tuner.summary()["steps"], data.sha256(), report.to_dict())
    except OSError as error:  # of a run that somebody else owns, say
        tell(f"{tuner.folder.path / EVALUATION} cannot be written ({error.strerror}): a model card will not have this")


def evaluate(rows: Finished, hosts: Hosts, talk: Talk) -> int:
    """Print how good a finished run is on labelled rows; the labels stay here."""
    tuner = loaded(rows.run, hosts)
    data = _read(tuner, rows)
    report = tuner.report(data)
    _keep(tuner, data, report)
    print(json.dumps(report.to_dict(), indent=2) if talk.as_json else report)
    return DONE


def audit(rows: Finished, hosts: Hosts, how: How, talk: Talk) -> int:
    """Attack what the hosts of a finished run saw."""
    from ..audit import Effort
    from ..training.verdict import Judgement

    tuner = loaded(rows.run, hosts)
    leak = tuner.audit(_read(tuner, rows), effort=Effort.named(how.effort))
    now = tuner.summary()
    found = {"leak": leak.to_dict(), "effort": how.effort, "audited_steps": now["steps"]}
    report = now | (tuner.folder.read_json("report.json") or {}) | found
    tuner.folder.write_json("report.json", report)
    judgement = Judgement.of(report, tuner.settings, how.require_max_leak)
    if talk.as_json:
        print(json.dumps(leak.to_dict() | {"verdict": judgement.sentence()}, indent=2))
    else:
        print("\n".join([leak.describe(), *QUICK[how.effort], *judgement.lines()]))
    return demanded(judgement, how)


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A run folder."""

    run: Annotated[Path, typer.Argument(metavar="RUN", help="the run folder")]


def status(folder: Folder, talk: Talk) -> int:
    """Tell the state of a run folder: method, steps, hosts, jobs, models, and who trains in it. Asks no host."""
    from ..training.run_status import RunStatus

    found = RunStatus.of(folder.run)
    print(json.dumps(asdict(found) | {"folder": str(found.folder)}, indent=2) if talk.as_json else found)
    return DONE


def loaded(run: Path, hosts: Hosts) -> Tuner:
    """A run folder, taken up."""
    from ..training.trainer import Tuner

    return Tuner.load(run, hosts.hosts, api_keys=hosts.keys, features=hosts.features)


def _read(tuner: Tuner, rows: Finished) -> Dataset:
    """Rows with the labels of a run."""
    return labelled(rows.data, rows, tuner.label_names, tuner.task)
