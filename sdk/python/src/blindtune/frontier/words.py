"""What the numbers mean, in words for people who do not train models.

Owns: the names of tiers and methods, and the sentences of the recommendation. Must never: hold a measured number.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from ..audit import ShareBound
from ..training.protection import MEANING
from ..training.settings import Settings
from ..training.verdict import Judgement
from .point import TIERS, LeftOut, Report
from .summary import GATED, Cost, Row, best_by_class, expected_tiers, least_leaking, most_accurate, recommend

TIER_NAMES = {
    0: "standard attacks",
    1: "unsupervised attacks on combined views",
    2: "putting shares together",
    3: "inverting updates",
    4: "a few labels known",
}
TIER_WORDS = {
    0: "Clustering, the main direction, and the length of what the host computes and is sent: the attacks of the "
    "paper's authors. Anyone can run them.",
    1: "The host compares its views with each other and with the bare backbone, and searches for components that look "
    "like a label, still without knowing one label.",
    2: "The host averages and recombines the pieces of gradient that it is sent, also over repeated rows.",
    3: "The host takes two consecutive values of the adapters, which it needs in order to compute, and works out "
    "which gradient, and so which labels, lead from one to the other.",
    4: "The host knows the labels of a few rows and trains a probe on them. This finds what the model has learned of "
    "the task, also on rows it never saw; the excess says what is found on trained rows beyond that.",
}
METHOD_WORDS = {
    "frozen": "a head trained at home on the bare backbone",
    "lora": "adapters trained with nothing hidden",
    "side": "networks at home on the bare backbone's tokens: blind",
    "p3eft": "several adapter sets, regularized, with gradients split or mixed",
    "dc": "adapters with distance correlation against the labels",
    "pslf": "adapters trained on flipped labels, as PSLF does",
}
PER_RUN = ("seed", "save_every", "eval_batch_size")


def in_short(report: Report, rows: Sequence[Row]) -> list[str]:
    """The recommendation, with what it does not cover, and the command that trains there."""
    limit = float(report.about["limit"])
    if not rows:
        return ["Nothing was measured; see what was left out."]
    best, floor = recommend(rows, limit), _floor(rows, limit)
    if best is None:
        return [_none_passes(rows, limit), *floor]
    lines = [
        f"The most accurate point with a tier 0 and tier 1 leak of at most {limit:.2f} in every seed is "
        f"“{best.name}”: accuracy {best.accuracy:.3f}, leak {best.worst() or 0.0:.2f} "
        f"({1 / best.first.classes:.2f} is guessing, 1.00 is every label). Its class of protection is "
        f"{best.protection}: {MEANING[best.protection]}.",
        _beyond(best, limit),
        *floor,
        f"Measured with {_count(len(best.points), 'seed')}; chosen as the best of {len(rows)} settings on the rows it "
        "was measured on, so expect a little less on others.",
    ]
    if same_host(report.about) and best.first.hosts > 1:
        lines.append(
            "Both addresses are the same host here: its numbers hold only for hosts that are run by others "
            "and do not exchange what they see."
        )
    return lines


def _none_passes(rows: Sequence[Row], limit: float) -> str:
    least, idle = least_leaking(rows), most_accurate(rows, limit)
    if idle is not None:
        return (
            f"No point can be recommended: of those with a leak of at most {limit:.2f} the most accurate, "
            f"“{idle.name}”, has accuracy {idle.accuracy:.3f}, and saying the commonest label always has "
            f"{idle.chance_accuracy:.3f}; on {idle.first.rows_dev} rows that is no difference. Train longer (--steps), "
            "on more rows, or accept a larger --limit."
        )
    if least is None:
        return f"No point can be recommended: none was attacked in both tier 0 and 1, which {limit:.2f} is asked of."
    return (
        f"No point stays at a tier 0 and tier 1 leak of {limit:.2f}. The least leaking is “{least.name}” with "
        f"{least.worst() or 0.0:.2f} at accuracy {least.accuracy:.3f}. With these settings, train only where the "
        "host may know the labels, or keep the backbone frozen and train a head at home."
    )


def judged(best: Row, limit: float) -> Judgement:
    """The verdict on what is recommended."""
    leaks = {tier: leak.score for tier in TIERS if (leak := best.tier(tier)) is not None}
    return Judgement(best.protection, leaks, best.first.classes, limit, best.first.hosts, best.method)


def _floor(rows: Sequence[Row], limit: float) -> list[str]:
    """A frozen backbone is told nothing of a label; what is read off it, the texts tell to anybody."""
    frozen = next((row for row in rows if row.method == "frozen"), None)
    leak = frozen.worst() if frozen is not None else None
    if leak is None or leak <= limit:
        return []
    return [
        f"The frozen backbone reads {leak:.2f} although nothing that depends on a label is ever sent: so much the "
        "texts alone tell anybody about these labels, and training does not take it back."
    ]


def _beyond(best: Row, limit: float) -> str:
    """The tiers that the recommendation does not ask for."""
    others = [tier for tier in expected_tiers(best.method) if tier not in GATED]
    if not others:
        return "No adapter and no gradient is sent, so the attacks of the higher tiers have nothing to work on."
    parts = []
    for tier in others:
        leak = best.tier(tier)
        if leak is None:
            parts.append(f"tier {tier} ({TIER_NAMES[tier]}) was not measured")
        else:
            verdict = "not covered" if leak.score > limit else "also within the limit"
            parts.append(f"tier {tier} ({TIER_NAMES[tier]}) reads {leak.score:.2f}, {verdict}")
    return "Beyond these: " + "; ".join(parts) + "."


def train_command(row: Row, about: Mapping[str, Any]) -> str:
    """The command line that trains at this point."""
    words = ["--model", str(about["model"])]
    for url in list(about.get("hosts", ()))[: row.first.hosts]:
        words += ["--host", str(url)]
    words += setting_words(row.first.settings, row.first.hosts)
    return f"{about.get('command', 'blindtune train')} {shlex.join(words)}"


def setting_words(settings: Mapping[str, Any], hosts: int) -> list[str]:
    """Options for all settings that are not the method's own defaults."""
    method = {"method": settings.get("method", "p3eft")}
    usual = Settings.from_dict(method).resolve(hosts).to_dict()
    words = ["--method", str(method["method"])]
    for f in fields(Settings):
        value = settings.get(f.name)
        if f.name in ("method", *PER_RUN) or value == usual.get(f.name) or value is None or f.default is MISSING:
            continue
        option = f"--{f.name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [option] if value else []
        elif isinstance(value, (list, tuple)):
            words += [option, *map(str, value)]
        else:
            words += [option, str(value)]
    return words


def cost_sentence(cost: Cost) -> str:
    """The price of hiding, against plain LoRA."""
    return (
        f"{cost.name} (n=2 sets, m=2 tensors for each gradient) against {cost.against}: {cost.seconds:.2f} times the "
        f"time, {cost.bytes_up:.2f} times the bytes sent, {cost.bytes_down:.2f} times the bytes received"
    )


def share_sentences(row: Row) -> list[str]:
    """What is proven about the shares of a setting, and beside it what was measured; none where it has no shares."""
    body = row.first.evidence.get("share_bound")
    if not body:
        return []
    leak = row.tier(2)
    return [f"{row.name}: {line}" for line in ShareBound.from_dict(body).sentences(leak.score if leak else None)]


def left_out_sentence(entry: LeftOut) -> str:
    """One line for what was not measured."""
    return f"{entry.name}, seed {entry.seed}: {entry.status} ({entry.reason})"


def same_host(about: Mapping[str, Any]) -> bool:
    """Whether one address was given twice: then 'hosts that do not collude' is a supposition."""
    hosts = list(about.get("hosts", ()))
    return len(set(hosts)) < len(hosts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def class_legend(rows: Sequence[Row]) -> list[tuple[str, str, Row]]:
    """Every class of protection that was measured, what it means, and its most accurate row."""
    return [(row.protection, MEANING[row.protection], row) for row in best_by_class(rows)]


def tier_legend() -> list[tuple[int, str, str]]:
    """Number, name and meaning of every tier."""
    return [(tier, TIER_NAMES[tier], TIER_WORDS[tier]) for tier in TIERS]
