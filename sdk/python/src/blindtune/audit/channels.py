"""The ways by which something of a label could reach a host, and which of them an audit has looked at.

Owns: the list. Must never: call a channel measured of which no attack has a finding, or leave one out because nothing
measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .evidence import Channel, Status
from .report import Finding, LeakReport

BLIND = ("frozen", "side")


def channels(method: str, report: LeakReport, missing: Mapping[str, str] | None = None) -> tuple[Channel, ...]:
    """Every channel of a run of `method`. `missing` says by a channel's name why an audit could not look at it."""
    reasons = missing or {}
    blind = method in BLIND
    found = [_measurable(name, test, report, blind, reasons.get(name)) for name, test in MEASURABLE.items()]
    fixed = SAME_IF_BLIND if blind else {}
    return (*found, *(Channel(name, *fixed.get(name, ("not measured", remark))) for name, remark in UNMEASURED.items()))


def _kind(*kinds: str) -> Callable[[Finding], bool]:
    return lambda finding: finding.kind in kinds


MEASURABLE: Mapping[str, Callable[[Finding], bool]] = {
    "activations": _kind("activations", "shifts", "differences", "views", "probes"),
    "gradients": _kind("gradients"),
    "shape of the gradients": _kind("support"),
    "updates of the adapters": _kind("updates"),
    "gradients of altered activations": _kind("active"),
}
NEVER_IF_BLIND = frozenset(MEASURABLE) - {"activations"}
UNMEASURED: Mapping[str, str] = {
    "file order": "rows are uploaded in an order drawn from the secret; no attack looks at it",
    "order of rows": "batches follow lengths and the seed, no label; no attack looks at it",
    "which rows are sent": "all of them, as often as the epochs say; no attack looks at it",
    "sizes of requests": "follow from texts, sets and shares; no attack looks at them",
    "timing": "what is computed at home takes time between requests; no attack looks at it",
    "number of steps": "yours to choose, also by looking at the loss; no attack looks at it",
    "evaluation calls": "their activations are attacked; when and how often you evaluate is not",
    "prediction calls": "send texts as they come; which texts you ask about is yours to choose",
    "retries": "repeat the same bytes; no attack looks at them",
}
_BLIND_REMARK = "tests/test_transcripts.py compares every byte under other labels"
_ALIKE = ("file order", "order of rows", "which rows are sent", "sizes of requests", "evaluation calls")
SAME_IF_BLIND: Mapping[str, tuple[Status, str]] = dict.fromkeys(_ALIKE, ("same for any labels", _BLIND_REMARK))


def _measurable(
    name: str, test: Callable[[Finding], bool], report: LeakReport, blind: bool, reason: str | None
) -> Channel:
    mine = [f for f in report.findings if test(f) and not f.picked_with_labels]
    if mine:
        best = max(mine, key=lambda f: f.score)
        return Channel(name, "measured", f"{len(mine)} attacks; the best reads {best.score:.3f}")
    if blind and name in NEVER_IF_BLIND:
        return Channel(name, "never sent", "nothing is trained on the host")
    return Channel(name, "not measured", reason or "this audit has no attack on it")
