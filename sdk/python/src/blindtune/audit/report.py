"""What the attacks found, as a value to print, compare and store.

Owns: `Finding`, `LeakReport`, and what a host learns in words. Must never: call a low number a proof; it says that
these attacks failed on these rows, and stronger ones exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..plots.leak import TierLeak, leak_plot
from .evidence import Evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("activations", "shifts", "differences", "gradients")
TIERS = {
    0: "the authors' attacks",
    1: "unsupervised, over all views",
    2: "what shares give away",
    3: "inverting updates",
    4: "few labels known",
}
HEADLINE_TIERS = {"activations": (0,), "shifts": (0,), "differences": (0,), "gradients": (0, 2)}
"""Which tiers the headline figure of each kind covers; the first three are those of the authors' metric."""

BLIND = "Blind: the same was sent as under any labels, so no limit applies; this the texts alone tell anybody"


@dataclass(frozen=True)
class Finding:
    """One attack's success.

    `score` is the leak in [1/C, 1] (score.py). `low` and `high` bound it at 95 % (bootstrap over rows or batches);
    `control` is the same with shuffled labels; `excess` is the score minus that of the same
    attack on fresh rows. `picked_with_labels`: the true labels chose among components, so this is an upper bound.
    """

    tier: int
    kind: str
    attack: str
    score: float
    auc: float | None
    accuracy: float | None
    low: float
    high: float
    control: float
    excess: float | None
    picked_with_labels: bool
    assumption: str

    @property
    def name(self) -> str:
        """Kind and attack."""
        return f"{self.kind}/{self.attack}"


@dataclass(frozen=True)
class LeakReport:
    """Leak per kind of tensor: the best attack, on the worst adapter set, at the host that can guess best.

    1 / classes is chance, 1 is all; None where the host never got such a tensor. `activations`, `shifts` and
    `differences` are tier 0, as the authors measure; `gradients` is tier 0 and 2. `tiers` has the worst score of each
    tier that an attacker reaches, `oracle` that of attacks which chose a component by the true labels. `evidence` says
    what these numbers are worth.
    """

    activations: float | None
    shifts: float | None
    differences: float | None
    gradients: float | None
    classes: int
    rows: int
    attacks: Mapping[str, float] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)
    exposure: tuple[str, ...] = ()
    tiers: Mapping[int, float] = field(default_factory=dict)
    oracle: Mapping[int, float] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    evidence: Evidence = field(default_factory=Evidence)

    @classmethod
    def of(cls, findings: Iterable[Finding], classes: int, rows: int, exposure: Sequence[str] = ()) -> LeakReport:
        """Sum up findings."""
        every = tuple(findings)
        reached = [f for f in every if not f.picked_with_labels]

        def headline(kind: str) -> float | None:
            mine = (f for f in reached if f.kind == kind and f.tier in HEADLINE_TIERS[kind])
            return worst({f.name: f.score for f in mine}, classes)

        return cls(
            activations=headline("activations"),
            shifts=headline("shifts"),
            differences=headline("differences"),
            gradients=headline("gradients"),
            classes=classes,
            rows=rows,
            attacks={f.name: f.score for f in every},
            exposure=tuple(exposure),
            tiers=_worst_by_tier(reached, classes),
            oracle=_worst_by_tier((f for f in every if f.picked_with_labels), classes),
            findings=every,
        )

    def joined(self, other: LeakReport) -> LeakReport:
        """Both reports' findings in one; where both have an attack, the worse of the two. Keeps this report's rows."""
        table = {f.name: f for f in other.findings}
        for finding in self.findings:
            known = table.get(finding.name)
            table[finding.name] = finding if known is None or finding.score >= known.score else known
        report = LeakReport.of(table.values(), self.classes, self.rows, self.exposure or other.exposure)
        return replace(report, excess={**other.excess, **self.excess})

    def over(self, fresh: LeakReport) -> LeakReport:
        """The same report with `excess`: each attack minus the same attack in `fresh`, where it has it."""
        there = {f.name: f.score for f in fresh.findings}
        findings = [replace(f, excess=f.score - there[f.name]) if f.name in there else f for f in self.findings]
        more = {
            k: getattr(self, k) - getattr(fresh, k) for k in KINDS if None not in (getattr(self, k), getattr(fresh, k))
        }
        return replace(LeakReport.of(findings, self.classes, self.rows, self.exposure), excess=more)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `report.json`."""
        kinds = {kind: getattr(self, kind) for kind in KINDS}
        plain = {"classes": self.classes, "chance": 1 / self.classes, "rows": self.rows}
        tiers = {
            "tiers": {str(tier): value for tier, value in self.tiers.items()},
            "oracle": {str(tier): value for tier, value in self.oracle.items()},
        }
        details = {"attacks": dict(self.attacks), "excess": dict(self.excess), "host_learns": list(self.exposure)}
        evidence = {"evidence": self.evidence.to_dict()}
        return kinds | plain | tiers | details | {"findings": [asdict(f) for f in self.findings]} | evidence

    def plot(self) -> Figure:
        """Leak by tier with its interval, chance, and the limit where one applies. Needs the extra `plot`."""
        blind = any(channel.status == "same for any labels" for channel in self.evidence.channels)
        limits = {} if blind else {verdict.gate: verdict.limit for verdict in self.evidence.verdicts}
        tiers = [self._tier_leak(tier, limits.get(f"tier{tier}")) for tier in sorted({*self.tiers, *self.oracle})]
        return leak_plot(tiers, 1 / self.classes, self.rows, BLIND if blind else "")

    def _tier_leak(self, tier: int, limit: float | None) -> TierLeak:
        name, top, oracle = f"tier {tier}: {TIERS.get(tier, 'other')}", self._top(tier), self.oracle.get(tier)
        if top is None:
            return TierLeak(name, self.tiers.get(tier), oracle=oracle, limit=limit)
        chance = 1 / self.classes
        score, low, high, control = (max(chance, one) for one in (top.score, top.low, top.high, top.control))
        return TierLeak(name, score, low, high, control, oracle, limit)

    def _top(self, tier: int) -> Finding | None:
        """The best attack that chose nothing by the labels."""
        mine = (f for f in self.findings if f.tier == tier and not f.picked_with_labels)
        return max(mine, key=lambda f: f.score, default=None)

    def describe(self) -> str:
        """A few lines for people."""
        lines = [
            f"How well a host can guess the labels ({self.rows} rows, {1 / self.classes:.2f} is chance, 1.00 is all):"
        ]
        for kind in KINDS:
            value = getattr(self, kind)
            more = f"  (trained rows {self.excess[kind]:+.3f})" if kind in self.excess else ""
            lines.append(f"  {kind:<12} {'never sent' if value is None else f'{value:.3f}'}{more}")
        lines += [self._tier_line(tier) for tier in sorted({*self.tiers, *self.oracle})]
        lines += ["What the host learns:", *(f"  - {line}" for line in self.exposure)]
        return "\n".join([*lines, *self.evidence.lines()])

    def _tier_line(self, tier: int) -> str:
        top = self._top(tier)
        title = f"  tier {tier}, {TIERS.get(tier, 'other')}: "
        bound = (
            f"; upper bound {self.oracle[tier]:.3f}, the attack chosen with the labels" if tier in self.oracle else ""
        )
        if top is None:
            return title + f"none{bound}"
        excess = f", excess over fresh rows {top.excess:+.3f}" if top.excess is not None else ""
        found = f"{top.score:.3f} [{top.low:.3f}, {top.high:.3f}] by {top.name}"
        return f"{title}{found} (shuffled control {top.control:.3f}{excess}){bound}"


def worst(attacks: Mapping[str, float], classes: int) -> float | None:
    """The best attack; None if there was nothing to attack."""
    return max(1.0 / classes, *attacks.values()) if attacks else None


def exposure(method: str, hosts: int, shares: int, obfuscation: str = "shares") -> tuple[str, ...]:
    """What a host learns in this mode, in words. Never claim more than this."""
    seen = "the texts you send, in an order that is secret and says nothing"
    if method in ("frozen", "side"):
        return (
            seen,
            "the backbone's own activations of them; no gradient and no adapter of yours",
            "nothing of the labels beyond what the texts tell anybody: other labels would give the same requests",
        )
    common = (
        seen,
        "the adapter values of every step, and the activations it computes with them",
        "the gradient of a step, as far as two consecutive adapter values and a guess of the optimizer give it away",
    )
    never = "never: labels, losses, metrics, head, mixing weights, alpha"
    if obfuscation == "decoys" and shares > 1:
        return (
            *common,
            "secret mixtures of each gradient with decoys; they hide it only as far as tier 2 of the audit measured",
            never,
        )
    if method == "lora" or shares == 1:
        return (*common, "the gradient of every row in clear, which is the label in all but name", never)
    if hosts == 1:
        return (*common, "all shares of each gradient; added up rightly they are the gradient, so use two hosts", never)
    share = (
        "one share of each gradient, under noise much larger than itself: little about one row (proven), more "
        "about what rows share; hosts that collude have the gradient"
    )
    return (*common, share, never)


def _worst_by_tier(findings: Iterable[Finding], classes: int) -> dict[int, float]:
    table: dict[int, float] = {}
    for finding in findings:
        table[finding.tier] = max(1.0 / classes, finding.score, table.get(finding.tier, 0.0))
    return dict(sorted(table.items()))
