"""Whether a run keeps its labels well enough: the class of protection, the worst leak against its limit, in words.

Owns: the last lines of a report, and what a user may demand of it. Must never: call what was only measured proven, or
hold a blind run to a limit: what is read there, the texts tell anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..audit.gates import COUNTED, for_classes
from ..audit.report import TIERS
from .protection import MEANING, Protection, strength
from .settings import Settings

USUAL = Settings().max_leak


@dataclass(frozen=True)
class Judgement:
    """What is known about a run's protection. `tiers` are its worst leaks, `limit` is the largest that is accepted."""

    protection: Protection
    tiers: Mapping[int, float]
    classes: int
    limit: float
    hosts: int = 1
    method: str = ""

    @classmethod
    def of(cls, report: Mapping[str, Any], settings: Settings, limit: float | None = None) -> Judgement:
        """Of a report with its `leak`; `limit` wins over the settings' `max_leak`."""
        leak = report["leak"]
        classes = int(leak["classes"])
        return cls(
            report["protection"],
            {int(tier): float(score) for tier, score in leak["tiers"].items()},
            classes,
            limit if limit is not None else limit_of(settings.max_leak, classes),
            max(1, len(report.get("hosts", ()))),
            settings.method,
        )

    @property
    def worst(self) -> tuple[int, float] | None:
        """Tier and score of the worst attack that the limit is for: those that know no label."""
        counted = {tier: score for tier, score in self.tiers.items() if tier in COUNTED}
        return max(counted.items(), key=lambda pair: pair[1]) if counted else None

    @property
    def private_enough(self) -> bool | None:
        """None where nothing was measured. A blind run is, by proof."""
        if self.protection == "blind":
            return True
        return None if self.worst is None else self.worst[1] <= self.limit

    def unmet(self, require: str | None, max_leak: float | None) -> list[str]:
        """What was demanded and does not hold."""
        found = []
        if require is not None and strength(self.protection) > list(MEANING).index(_class(require)):
            found.append(f"required was the class {require} or stronger, and the run is {self.protection}")
        if max_leak is not None and self.protection != "blind":
            if self.worst is None:
                found.append(f"required was a leak of at most {max_leak:g}, and none was measured")
            elif self.worst[1] > max_leak:
                tier, score = self.worst
                found.append(f"required was a leak of at most {max_leak:g}, and tier {tier} found {score:.4g}")
        return found

    def lines(self) -> list[str]:
        """The last lines of a report."""
        first = f"protection: {self.protection}: {MEANING[self.protection]}"
        return [first, self.sentence(), *self._beyond(), *self._mend()]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def sentence(self) -> str:
        """The verdict."""
        if self.protection == "blind":
            told = "" if self.worst is None else f": the texts alone tell anybody {self._score(self.worst[1])}"
            return f"no limit applies{told}"
        if self.worst is None:
            return "NOT KNOWN WHETHER IT IS PRIVATE ENOUGH: no attack was run"
        tier, score = self.worst
        if score <= self.limit:
            return f"private enough: {score:.2f} <= {self.limit:.2f} (worst is tier {tier}, {TIERS[tier]})"
        # Two figures that are the same when rounded say nothing.
        digits = next((n for n in range(2, 9) if f"{score:.{n}f}" != f"{self.limit:.{n}f}"), 9)
        return f"NOT PRIVATE ENOUGH: {score:.{digits}f} > {self.limit:.{digits}f} (tier {tier}, {TIERS[tier]})"

    def _score(self, score: float) -> str:
        return f"{score:.2f} ({1 / self.classes:.2f} is guessing, 1.00 every label)"

    def _beyond(self) -> list[str]:
        others = [f"tier {t} ({TIERS[t]}) {s:.2f}" for t, s in sorted(self.tiers.items()) if t not in COUNTED]
        return [f"beyond this limit: {', '.join(others)}"] if others and self.protection != "blind" else []

    def _mend(self) -> list[str]:
        if self.private_enough is not False:
            return []
        ways = ["--method side sends nothing that depends on a label"]
        if self.hosts < 2:
            ways.append("two hosts, run by others who do not exchange what they see, get one share of a gradient each")
        if self.protection != "bounded":
            ways.append("--label-epsilon 2 bounds by a proof what can be learned of a label")
        else:
            ways.append("a smaller --label-epsilon bounds it closer")
        return ["what would mend it:", *(f"  - {way}" for way in ways)]


def limit_of(max_leak: float, classes: int) -> float:
    """The default is that of two labels, and as far between guessing and knowing for more; others stay as they are."""
    return for_classes(USUAL, classes) if max_leak == USUAL else max_leak


def _class(name: str) -> Protection:
    return next(known for known in MEANING if known == name)
