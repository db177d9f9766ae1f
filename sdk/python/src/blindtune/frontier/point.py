"""One measured point: a setting, a seed, what it reached and what leaked. The format of `frontier.json`.

Owns: `Point`, `LeftOut`, `Report` and their JSON. Must never: hold a text, a label, a key or a hash of the data; the
files made from it are shown around. `benches/results/science.json` has the same format.

    {"format": "blindtune-frontier-1", "about": {...}, "points": [Point...], "left_out": [LeftOut...]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..data import DataError
from ..training.protection import Protection, protection_of

FORMAT = "blindtune-frontier-1"
TIERS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class TierLeak:
    """The best attack of one tier that used no labels to choose: leaks lie in [1/classes, 1].

    `low` and `high` are the bootstrap's 95 %; `control` is the same attack on shuffled labels; `excess` what it finds
    on rows trained on beyond fresh rows; `oracle` the best of the attacks that chose with the labels, an upper bound.
    """

    score: float
    low: float | None = None
    high: float | None = None
    attack: str = ""
    assumption: str = ""
    control: float | None = None
    excess: float | None = None
    oracle: float | None = None

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> TierLeak:
        """From `asdict`; unknown keys are left out, so that newer files can be read."""
        return cls(**_known(cls, body))


@dataclass(frozen=True)
class Point:
    """What one setting reached at one seed.

    `settings` are all of `Settings`, as resolved; `tiers` has the tiers that were attacked; `kinds` the leak by kind of
    tensor, None where the host never got one; `history` one entry per audit during training: step, tiers, weight.
    Accuracy is that on `rows_dev` rows not trained on; seconds and bytes are those of training.
    """

    name: str
    seed: int
    settings: Mapping[str, Any]
    hosts: int
    classes: int
    rows_train: int
    rows_dev: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    loss: float
    steps: int
    seconds: float
    bytes_up: int
    bytes_down: int
    norm_ratio: float | None = None
    majority: float | None = None
    """The larger class's share of the dev rows: what saying its name always reaches."""
    tiers: Mapping[int, TierLeak] = field(default_factory=dict)
    kinds: Mapping[str, float | None] = field(default_factory=dict)
    findings: tuple[Mapping[str, Any], ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    exposure: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    """What these leaks are worth: `no_claim`, `gates`, `share_bound`, and the channels that were not looked at."""
    versions: Mapping[str, str] = field(default_factory=dict)
    measured_at: str = ""

    @property
    def method(self) -> str:
        """p3eft, lora, frozen, side, dc or pslf."""
        return str(self.settings.get("method", ""))

    @property
    def protection(self) -> Protection:
        """The class of protection of these settings."""
        return protection_of(self.settings)

    @property
    def chance(self) -> float:
        """The leak of guessing."""
        return 1.0 / self.classes

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {
            "settings": dict(self.settings),
            "tiers": {str(tier): asdict(leak) for tier, leak in sorted(self.tiers.items())},
            "findings": [dict(finding) for finding in self.findings],
            "history": [dict(entry) for entry in self.history],
            "exposure": list(self.exposure),
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Point:
        """From `to_dict`; unknown keys are left out."""
        known = _known(cls, body)
        known["tiers"] = {int(tier): TierLeak.from_dict(leak) for tier, leak in body.get("tiers", {}).items()}
        for name in ("findings", "history", "exposure"):
            known[name] = tuple(body.get(name, ()))
        return cls(**known)


@dataclass(frozen=True)
class LeftOut:
    """A point that was not measured, and why: over the budget, refused by the trainer, failed, or unfinished."""

    name: str
    seed: int
    status: str
    reason: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    estimate_s: float | None = None


@dataclass(frozen=True)
class Report:
    """All that a frontier found. `about` says on what: model, data, seeds, budget, limit, hosts, command."""

    about: Mapping[str, Any]
    points: tuple[Point, ...]
    left_out: tuple[LeftOut, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        points = [point.to_dict() for point in self.points]
        left_out = [asdict(entry) for entry in self.left_out]
        return {"format": FORMAT, "about": dict(self.about), "points": points, "left_out": left_out}

    def to_json(self) -> str:
        """Readable JSON; a number that is not finite is an error of ours, never written."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Report:
        """From `to_dict`; another format is refused."""
        if body.get("format") != FORMAT:
            raise DataError(f"not a frontier ({FORMAT}): format {body.get('format')!r}")
        points = tuple(Point.from_dict(point) for point in body["points"])
        left_out = tuple(LeftOut(**_known(LeftOut, entry)) for entry in body.get("left_out", ()))
        return cls(dict(body.get("about", {})), points, left_out)

    @classmethod
    def read(cls, path: str | Path) -> Report:
        """From a file, such as `frontier.json` or `benches/results/science.json`."""
        try:
            body = json.loads(Path(path).read_bytes())
        except ValueError as error:
            raise DataError(f"{path}: not JSON ({error})") from None
        if not isinstance(body, dict):
            raise DataError(f"{path}: not a JSON object")
        return cls.from_dict(body)


def finite(value: Any) -> Any:
    """Plain values for JSON: numpy's numbers as Python's, what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _known(cls: Any, body: Mapping[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {name: value for name, value in body.items() if name in names}
