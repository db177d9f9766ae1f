"""What a model card is made of: the files of a run, read and brought into one form.

Owns: which file says what, and that what a file says of an earlier state is told apart. Must never: ask a host, or hold
a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import audit as attacks
from ..errors import RunError
from .auto_decision import DECISION, Decision
from .protection import Protection, protection
from .run_folder import RunFolder
from .setting_rules import OF_SIDE
from .settings import Settings
from .temperature import kept as kept_temperature
from .thresholds import kept as kept_thresholds
from .verdict import Judgement

EVALUATION = "evaluation.json"
"""The last evaluation by `blindtune evaluate`: after how many steps, whether on the training's rows, the report."""


@dataclass(frozen=True)
class CardFacts:
    """Of one run. What is not known is None or empty, and the card says so."""

    model: str
    settings: Settings
    """Of the run, of method auto those of the candidate that was chosen."""
    given: Settings
    """As the run was asked for."""
    protection: Protection
    hosts: int | None = None
    task: str | None = None
    label_names: tuple[str, ...] = ()
    steps: int | None = None
    """That were made; of method side those of all its networks."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """`report.json`."""
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    thresholds: tuple[Any, ...] = ()
    """Those of labels that have one."""
    decided_by: tuple[str, ...] = ()
    """The same as an evaluation under them says it."""
    note: str = ""
    """That rows of a choice flatter it."""
    calibrated_by: str = ""
    """The temperature that probabilities are of, where one was fitted, as an evaluation under it says it."""
    fit_note: str = ""
    """That rows of the fit flatter it."""
    judgement: Judgement | None = None
    host_learns: tuple[str, ...] = ()
    decision: tuple[str, ...] = ()
    revision: str | None = None
    """Of the backbone."""
    open_part: bool = False
    """Whether the card is for the open part of an export, in which nothing is that was made of labels."""

    @classmethod
    def of(cls, folder: RunFolder) -> CardFacts:
        """Of a run folder; one without a trained run is refused."""
        outer = folder.about()
        if outer is None:
            raise RunError(f"{folder.path}: no run here (run.json is missing)")
        hosts = len(outer["hosts"])
        given = Settings.from_dict(outer["settings"]).resolve(hosts)
        decision = _decision(folder)
        own = folder if decision is None else _existing(folder.path / decision.chosen.method)
        about, steps = own.about() or outer, _steps(own)
        if not steps:
            raise RunError(f"{folder.path}: nothing is trained here yet: a card is of a trained run")
        settings = Settings.from_dict(about["settings"]).resolve(len(about["hosts"]))
        temperature = kept_temperature(own)
        report, thresholds = folder.read_json("report.json") or {}, kept_thresholds(own)
        whole = protection(given) if decision is None else decision.protection
        found = cls(
            model=outer["model"],
            settings=settings,
            given=given,
            protection=whole,
            hosts=hosts,
            task=about.get("task"),
            label_names=tuple(about["label_names"]),
            steps=steps,
            report=report,
            evaluation=folder.read_json(EVALUATION) or {},
            thresholds=() if thresholds is None else thresholds.of_labels,
            decided_by=() if thresholds is None else thresholds.used_on(""),
            note="" if thresholds is None else thresholds.NOTE,
            calibrated_by="" if temperature is None else temperature.line(),
            fit_note="" if temperature is None else temperature.NOTE,
            decision=() if decision is None else tuple(decision.sentences()),
            revision=((own.read_json("layout.json") or {}).get("peft_config") or {}).get("revision"),
        )
        return found._judged()

    @classmethod
    def of_export(cls, description: Mapping[str, Any], hosts: int | None) -> CardFacts:
        """For the open part of an export, from what that says of model and settings; `hosts` trained it, if known."""
        settings = Settings.from_dict(description["settings"])
        revision = ((description.get("layout") or {}).get("peft_config") or {}).get("revision")
        facts = cls(description["model"], settings, settings, protection(settings), hosts)
        facts = replace(facts, revision=revision, open_part=True)
        return replace(facts, host_learns=facts._learns())

    def _judged(self) -> CardFacts:
        """With the verdict on the leak that `report` has, and what a host learns."""
        leak = self.report.get("leak")
        hosts = {"hosts": [None] * (self.hosts or 1)}
        nothing = {"classes": max(2, len(self.label_names)), "tiers": {}}
        whole = {"protection": self.protection, "leak": leak or nothing} | hosts
        learned = tuple(leak["host_learns"]) if leak and leak.get("host_learns") else self._learns()
        return replace(self, judgement=Judgement.of(whole, self.given), host_learns=learned)

    def _learns(self) -> tuple[str, ...]:
        """What a host learns by the settings, where no audit says it."""
        if self.hosts is None and self.protection != "blind":
            return ()
        return learned_by(self.settings, self.hosts or 1)

    @property
    def evaluated_after(self) -> int | None:
        """How many steps the run had made when it was evaluated."""
        kept = self.evaluation or self.report.get("fit") or {}
        return None if kept.get("steps") is None else int(kept["steps"])

    @property
    def audited_after(self) -> int | None:
        """How many when it was audited; `train` audits at its end."""
        found = self.report.get("audited_steps", (self.report.get("fit") or {}).get("steps"))
        return None if found is None else int(found)

    @property
    def changed(self) -> dict[str, Any]:
        """Settings that are not the default, of those that the method has a use for."""
        usual, mine = Settings().to_dict(), self.settings.to_dict()
        used = OF_SIDE if self.settings.method == "side" else frozenset(mine)
        return {name: value for name, value in mine.items() if value != usual.get(name) and name in used}

    def with_measured(self, evaluation: Mapping[str, Any] | None, leak: Mapping[str, Any] | None) -> CardFacts:
        """With what was measured just now in place of what the folder has."""
        found = self
        if evaluation is not None:
            found = replace(found, evaluation={"steps": self.steps, "report": evaluation})
        if leak is not None:
            measured = {**found.report, "leak": leak, "effort": None, "audited_steps": self.steps}
            found = replace(found, report=measured)._judged()
        return found


def keep_evaluation(folder: RunFolder, steps: int, data_sha256: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the report of an evaluation for the card: no text, but labels and how often each was right. What is kept."""
    seen = (folder.about() or {}).get("data_sha256") == data_sha256
    kept = {"steps": steps, "rows_of_the_training": seen, "report": report}
    folder.write_json(EVALUATION, kept)
    return kept


def learned_by(settings: Settings, hosts: int) -> tuple[str, ...]:
    """What each of so many hosts learns under these settings, in words; `settings` are resolved."""
    sharing = hosts if settings.placement == "shares" else 1
    return attacks.exposure(settings.method, sharing, settings.shares or 1, settings.obfuscation or "shares")


def of_folder(path: Path) -> CardFacts:
    """`CardFacts.of` the folder of this name."""
    return CardFacts.of(_existing(path))


def _existing(path: Path) -> RunFolder:
    """A run folder; none is made."""
    if not path.is_dir():
        raise RunError(f"{path}: no run here (run.json is missing)")
    return RunFolder(path)


def _decision(folder: RunFolder) -> Decision | None:
    """Of a finished run of method auto."""
    body = folder.read_json(DECISION)
    if body is None:
        return None
    if not body.get("finished"):
        raise RunError(f"{folder.path}: method auto is not finished here: a card is of a trained run")
    return Decision.from_dict(body)


def _steps(folder: RunFolder) -> int | None:
    saved = folder.load_state()
    if saved is None:
        return None
    return int(saved[1].get("step", saved[1].get("steps", 0)))
