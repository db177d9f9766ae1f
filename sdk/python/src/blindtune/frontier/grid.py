"""Which settings a frontier tries, in which order.

Owns: the built-in grids and the reading of grid files. Must never: start anything. Cheap and informative points come
first, so that a short budget still shows the two ends (blind, plain LoRA) and the defaults between them.

A grid file: {"base": {settings of all points}, "points": [{"name": ..., "hosts": 1, "settings": {...}}, ...]}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..training.setting_rules import OF_SIDE
from ..training.settings import Settings, SettingsError

GRIDS = ("default", "quick")
BASE: dict[str, Any] = {"steps": 400, "batch_size": 64, "ramp_steps": 200}
QUICK: dict[str, Any] = {"steps": 120, "batch_size": 64, "ramp_steps": 60}
PUBLISHED: dict[str, Any] = {
    "regularizer": "probe",
    "shift_weight": 0.0,
    "difference_weight": 0.0,
    "train_coefficients": True,
}
"""The paper's (arXiv 2412.16669) and the authors' code's: the probe's penalty is on the activations alone, so that
nothing keeps shifts and the difference of two sets from telling the label, and the mixing weights are trained beside
the head. The ramp is ours."""
DC_PUBLISHED: dict[str, Any] = {"method": "dc", "shift_dc_weight": 0.0}
"""Distance correlation as the paper compares with it: on the activations alone."""
PROBE_WEIGHTS = ("activation_weight", "shift_weight", "difference_weight")
AUDITS_A_RUN = 8


@dataclass(frozen=True)
class GridPoint:
    """One setting of the grid; `hosts` is how many it needs."""

    name: str
    settings: Mapping[str, Any]
    hosts: int = 1

    def key(self, seed: int) -> str:
        """A folder name that no other setting has."""
        body = json.dumps([self.name, dict(self.settings), self.hosts, seed], sort_keys=True, default=str)
        plain = "".join(c if c.isalnum() or c in "-." else "-" for c in self.name)[:60]
        return f"{plain}-seed{seed}-{hashlib.sha256(body.encode()).hexdigest()[:8]}"

    def resolve(self, seed: int) -> Settings:
        """All settings of this point; `SettingsError` where the trainer would refuse them."""
        return Settings.from_dict({**self.settings, "seed": seed}).resolve(self.hosts)


def make_grid(which: str, hosts: int, overrides: Mapping[str, Any]) -> tuple[GridPoint, ...]:
    """A built-in grid by name, or a file's. `overrides` replace the base (steps, batch size), not a point's own."""
    if which not in GRIDS:
        base, points = _read(Path(which), hosts)
        return tuple(GridPoint(p.name, {**base, **overrides, **p.settings}, p.hosts) for p in points)
    common = {**(BASE if which == "default" else QUICK), **overrides}
    built_in = _default(hosts, int(common["steps"])) if which == "default" else _quick(hosts)
    return tuple(_watched(GridPoint(p.name, {**of_use(common, p), **p.settings}, p.hosts)) for p in built_in)


def of_use(common: Mapping[str, Any], point: GridPoint) -> dict[str, Any]:
    """Of the common settings those that the point's method has a use for; side refuses the others."""
    return {k: v for k, v in common.items() if point.settings.get("method") != "side" or k in OF_SIDE}


def _watched(point: GridPoint) -> GridPoint:
    """With audits for the plot over steps, where they cost no bytes: p3eft asks for the bare backbone's activations
    anyway. An automatic weight looks as often as it needs to, and plain LoRA's price must stay that of plain LoRA."""
    settings = point.resolve(0)
    if settings.method != "p3eft" or settings.audit_every or not settings.steps:
        return point
    every = max(1, settings.steps // AUDITS_A_RUN)
    return GridPoint(point.name, {**point.settings, "audit_every": every}, point.hosts)


def _quick(hosts: int) -> list[GridPoint]:
    several = 2 if hosts > 1 else 1
    return [
        GridPoint("frozen", {"method": "frozen"}),
        GridPoint("side", {"method": "side", "networks": 1}),
        GridPoint("lora", {"method": "lora"}),
        GridPoint("p3eft", {"method": "p3eft"}, several),
        GridPoint("p3eft, probe as published", {"method": "p3eft", **PUBLISHED}, several),
        GridPoint("lora, label epsilon 2", {"method": "lora", "label_epsilon": 2.0}),
    ]


def _default(hosts: int, steps: int) -> list[GridPoint]:
    several = 2 if hosts > 1 else 1

    def p3eft(name: str, count: int = several, **settings: Any) -> GridPoint:
        return GridPoint(f"p3eft{', ' if name else ''}{name}", {"method": "p3eft", **settings}, count)

    def probe(name: str, weight: float = 0.3, **settings: Any) -> GridPoint:
        return p3eft(f"probe{name}", **{"regularizer": "probe", **dict.fromkeys(PROBE_WEIGHTS, weight), **settings})

    blind = [GridPoint("frozen", {"method": "frozen"}), GridPoint("side", {"method": "side"})]
    ends = [*blind, GridPoint("lora", {"method": "lora"})]
    first = [p3eft(""), p3eft("probe as published", **PUBLISHED), probe("")]
    caps = [GridPoint(f"lora, label epsilon {e}", {"method": "lora", "label_epsilon": float(e)}) for e in (1, 2, 4)]
    caps += [p3eft(f"label epsilon {e}", label_epsilon=float(e)) for e in (2, 1, 4)]
    baselines = [GridPoint("dc as published", DC_PUBLISHED), GridPoint("pslf", {"method": "pslf"})]
    schedules = [
        p3eft("constant weight", schedule="constant"),
        p3eft("automatic to 0.55", max_leak=0.55),
        probe(", automatic", schedule="automatic"),
        probe(", constant weight", schedule="constant"),
        probe(", ramp over all steps", ramp_steps=steps),
    ]
    placements = [p3eft(f"one host, {kind}", 1, obfuscation=kind) for kind in ("decoys", "plain")]
    placements += [p3eft("one host, both shares", 1, shares=2)]
    placements += [p3eft("consecutive steps on other hosts", 2, placement="steps")]
    placements += [p3eft("each set on its own host", 2, placement="sets")]
    noise = [p3eft(f"update noise {m}", update_clip=1.0, update_noise=m) for m in (0.5, 2.0)]
    noise += [p3eft("accumulate 4", accumulate=4)]
    weights = [
        probe(" 1", 1.0),
        probe(" 0.1", 0.1),
        probe(" 0", 0.0),
        probe(", one set", adapter_sets=1, difference_weight=0.0),
    ]
    return [*ends, *first, *caps, *baselines, *schedules, *placements, *noise, *weights]


def _read(path: Path, hosts: int) -> tuple[dict[str, Any], list[GridPoint]]:
    try:
        body = json.loads(path.read_bytes())
        entries, base = body["points"], dict(body.get("base", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f'{path.name}: not {{"base": {{...}}, "points": [...]}} ({error})') from None
    _refuse_others(body, ("base", "points"), path.name)
    points = [_entry(path, entry, k, hosts) for k, entry in enumerate(entries)]
    _check_names(path, points, base)
    return base, points


def _entry(path: Path, entry: Any, number: int, hosts: int) -> GridPoint:
    try:
        name, settings = str(entry["name"]), dict(entry.get("settings", {}))
        wanted = entry.get("hosts", hosts if settings.get("method", "p3eft") == "p3eft" else 1)
        count = hosts if wanted == "all" else int(wanted)
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{path.name}, point {number}: needs `name` and `settings` ({error!r})") from None
    _refuse_others(entry, ("name", "hosts", "settings"), f"{path.name}, point {number}")
    if count < 1 or not name.strip():
        raise SettingsError(f"{path.name}, point {number}: needs a name and at least one host")
    return GridPoint(name, settings, count)


def _refuse_others(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """A setting that stands beside `settings` would be left out in silence, and something else measured."""
    for name in given:
        if name in known:
            continue
        kept = {field.name for field in fields(Settings)}
        where_to = "; it is a setting: write it into `settings`" if "settings" in known and name in kept else ""
        raise SettingsError(f"{where}: there is no {name!r}, only {', '.join(known)}{where_to}")


def _check_names(path: Path, points: Sequence[GridPoint], base: Mapping[str, Any]) -> None:
    if not points:
        raise SettingsError(f"{path.name}: no points")
    names = [point.name for point in points]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{path.name}: two points are called {twice[0]!r}")
    for point in points:
        given = Settings.from_dict({**base, **point.settings})  # a misspelt setting ends it here, not after an hour
        if given.method == "auto":
            raise SettingsError(
                f"{path.name}: method auto chooses among methods; name them one by one ({point.name!r})"
            )
        if "seed" in point.settings or "seed" in base:
            raise SettingsError(f"{path.name}: seeds come from --seeds, not from the grid ({point.name!r})")
