"""The audits of all candidates of a run of method auto in one report.

Owns: how they are put together. Must never: leave out a candidate that lost, or repeat of one candidate's words what
does not hold for the whole run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from .. import audit as attacks
from ..audit import dose
from ..audit.evidence import Evidence

TOLD = (
    "which methods were tried after side: scores on rows held out decided that, and so labels did; no bound covers it"
)


def audit_of_all(reports: Mapping[str, attacks.LeakReport], gates: attacks.Gates) -> attacks.LeakReport:
    """By method, the weakest protection last: of each attack the worst reading, and all that hosts learn."""
    mine = list(reports.values())
    if len(mine) == 1:
        return mine[0]
    whole = reduce(attacks.LeakReport.joined, mine)
    return replace(whole, exposure=(*_learned(reports), TOLD), evidence=_evidence(reports, whole, gates))


def _learned(reports: Mapping[str, attacks.LeakReport]) -> list[str]:
    """What is learned beside what side tells: of one candidate alone under its name."""
    telling = {method: report.exposure for method, report in reports.items() if method != "side"}
    lines = dict.fromkeys(line for exposure in telling.values() for line in exposure)
    owners = {line: [method for method, exposure in telling.items() if line in exposure] for line in lines}
    return [line if len(who) == len(telling) else f"{', '.join(who)}: {line}" for line, who in owners.items()]


def _evidence(reports: Mapping[str, attacks.LeakReport], whole: attacks.LeakReport, gates: attacks.Gates) -> Evidence:
    """Of one candidate, the weakest, the reasons why channels were not looked at."""
    found = {method: report.evidence for method, report in reports.items()}
    weakest, last = list(found.items())[-1]
    missing = {channel.name: channel.remark for channel in last.channels if channel.status == "not measured"}
    parts = [replace(s, name=f"{method}/{s.name}") for method, one in found.items() for s in one.support]
    return Evidence(
        doses=dose.worst_of(curve for one in found.values() for curve in one.doses),
        gates_sha256=gates.sha256,
        verdicts=gates.judge(whole),
        channels=attacks.channels(weakest, whole, missing),
        support=tuple(parts),
        share_bound=last.share_bound,
        shares_measured=last.shares_measured,
        restarts=min(one.restarts for one in found.values()),
    )
