"""The sentence for a security officer, and what a user may demand."""

from __future__ import annotations

from typing import Any

import pytest
from frontier_points import leak, point, report

from blindtune.cli.frontier import concluded
from blindtune.cli.options import Demands
from blindtune.frontier.summary import recommend, summarize
from blindtune.frontier.words import in_short, judged
from blindtune.training.settings import Settings
from blindtune.training.verdict import Judgement, limit_of


def of(tiers: dict[int, float], protection: Any = "hurdle", **more: Any) -> Judgement:
    return Judgement(protection, tiers, 2, **({"limit": 0.6} | more))


def test_the_worst_leak_is_set_against_its_limit() -> None:
    bad = of({0: 0.55, 1: 0.64, 4: 0.9})
    assert bad.private_enough is False
    assert bad.sentence() == "NOT PRIVATE ENOUGH: 0.64 > 0.60 (tier 1, unsupervised, over all views)"
    assert "beyond this limit: tier 4 (few labels known) 0.90" in bad.lines()
    assert any("two hosts" in line for line in bad.lines())
    assert not any("two hosts" in line for line in of({1: 0.64}, hosts=2).lines())
    good = of({0: 0.53, 1: 0.5, 3: 0.7})
    assert good.private_enough and good.sentence().startswith("private enough: 0.53 <= 0.60 (worst is tier 0")
    assert "what would mend it:" not in good.lines()
    assert of({1: 0.6004}).sentence().startswith("NOT PRIVATE ENOUGH: 0.6004 > 0.6000"), "not 0.60 > 0.60"


def test_a_blind_run_has_no_limit() -> None:
    blind = of({0: 0.91}, "blind")
    assert blind.private_enough
    told = "no limit applies: the texts alone tell anybody 0.91 (0.50 is guessing, 1.00 every label)"
    assert blind.lines()[1:] == [told]
    assert blind.unmet("blind", 0.5) == []


def test_what_was_not_measured_is_no_pass() -> None:
    unknown = of({4: 0.5})
    assert unknown.private_enough is None and "NOT KNOWN" in unknown.sentence()
    assert unknown.unmet(None, 0.6) == ["required was a leak of at most 0.6, and none was measured"]


@pytest.mark.parametrize(
    ("protection", "require", "met"),
    [("blind", "hurdle", True), ("hurdle", "hurdle", True), ("hurdle", "bounded", False), ("open", "hurdle", False)],
)
def test_a_class_is_met_by_itself_and_by_stronger_ones(protection: str, require: str, met: bool) -> None:
    assert (of({0: 0.5}, protection).unmet(require, None) == []) is met


def test_the_default_limit_is_as_far_between_guessing_and_knowing_for_more_labels() -> None:
    assert limit_of(0.6, 2) == pytest.approx(0.6) and limit_of(0.6, 4) == pytest.approx(0.4)
    assert limit_of(0.55, 4) == 0.55, "as it was given"
    found = {"leak": {"classes": 2, "tiers": {"0": 0.7}}, "protection": "hurdle", "hosts": ["a", "b"]}
    judgement = Judgement.of(found, Settings(max_leak=0.8))
    assert (judgement.limit, judgement.hosts, judgement.tiers) == (0.8, 2, {0: 0.7})
    assert Judgement.of(found, Settings(), 0.9).limit == 0.9


def test_nothing_is_recommended_at_chance() -> None:
    """Of 400 rows with a share of 0.7 four standard errors are 0.092: below 0.792 nothing was learned."""
    low = {0: leak(0.52), 1: leak(0.52)}
    idle = [point("idle", 0, accuracy=0.78, majority=0.7, rows_dev=400, tiers=low)]
    assert recommend(summarize(idle), 0.6) is None
    (first, *_) = in_short(report(idle), summarize(idle))
    assert "“idle”, has accuracy 0.780, and saying the commonest label always has 0.700" in first
    better = [*idle, point("better", 0, accuracy=0.81, majority=0.7, rows_dev=400, tiers=low)]
    best = recommend(summarize(better), 0.6)
    assert concluded(report(idle), summarize(idle), Demands(), say=True) == 0
    assert concluded(report(idle), summarize(idle), Demands(require_max_leak=0.6), say=True) == 3
    assert concluded(report(better), summarize(better), Demands(require_max_leak=0.6), say=True) == 0
    assert concluded(report(better), summarize(better), Demands(require="bounded"), say=True) == 3
    assert best is not None and best.name == "better"
    assert judged(best, 0.6).sentence().startswith("private enough: 0.52 <= 0.60")
