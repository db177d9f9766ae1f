"""What stands beside the leaks: planted leaks are seen, gates stay as fixed, channels are told apart, bounds hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost
from scipy.stats import norm

from blindtune import P3EFT, Client, Tuner
from blindtune.audit import DoseCurve, Doses, Finding, Gates, LeakReport, ShareBound, channels
from blindtune.audit.dose import of_activations, of_gradients, worst_of
from blindtune.audit.support import guesses as support_guesses
from blindtune.audit.support import support_of
from blindtune.audit.tier2 import Step

N, H = 300, 20
EVERY = Doses(sizes=(0.0, 1.0, 4.0), rows=N, thorough=True)


def finding(tier: int, kind: str, score: float, control: float = 0.51) -> Finding:
    return Finding(tier, kind, f"a{score}", score, score, None, score, score, control, None, False, "none")


# Planted leaks.


def curves(sets: int = 2, doses: Doses = EVERY) -> dict[str, DoseCurve]:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(N, H)).astype(np.float32)
    h = [(base + 0.3 * rng.normal(size=(N, H))).astype(np.float32) for _ in range(sets)]
    return {curve.attack: curve for curve in of_activations(h, base, 2, doses)}


def test_every_attack_on_activations_sees_the_largest_planted_leak() -> None:
    found = curves()
    assert {"activations/h0/kmeans", "differences/d01/spectral", "views/residual/pc1", "probes/tuned/16-labels"} <= set(
        found
    )
    assert not [c.attack for c in found.values() if not c.supports_a_claim]
    assert not [name for name in found if "backbone" in name], "what is not sent is no claim"
    quiet = [c.scores[0] for c in found.values() if c.tier < 4]
    assert np.mean(quiet) < 0.56, "without a dose they read chance"


def test_the_quick_form_shows_slow_attacks_the_largest_dose_only() -> None:
    found = curves(1, Doses(sizes=(1.0, 4.0), rows=N))
    assert found["activations/h0/spectral"].doses == (1.0, 4.0)
    assert found["activations/h0/ica"].doses == (4.0,) and found["probes/tuned/64-labels"].supports_a_claim


def test_an_attack_that_misses_the_largest_dose_supports_no_claim() -> None:
    blind = DoseCurve("a", 0, (0.3, 1.0, 3.0), (0.9, 0.95, 0.55), 400, 2)
    sees = replace(blind, scores=(0.55, 0.9, 0.95))
    assert not blind.supports_a_claim and sees.seen_from == 1.0
    assert 0.5 + 4 / np.sqrt(3 * 400) == pytest.approx(blind.threshold)
    assert worst_of([sees, blind]) == (blind,)


def steps(shares: int) -> list[Step]:
    rng = np.random.default_rng(1)
    made = []
    for t in range(10):
        rows = np.arange(t * 40, (t + 1) * 40)
        tensors = {(0, j): np.zeros((40, H), np.float32) for j in range(shares)}
        h = rng.normal(size=(40, H)).astype(np.float32)
        made.append(Step(rows, tensors, rng.normal(size=(40, 30)), {0: h}))
    return made


@pytest.mark.parametrize("shares", [1, 2])
def test_attacks_on_gradients_see_what_is_planted_in_a_share_or_under_the_noise_of_all(shares: int) -> None:
    found = {c.attack: c for c in of_gradients(steps(shares), 0, 2, EVERY)}
    names = ["set0.share0/spectral", "set0.share0/exploit", "set0.share0/enumeration", "set0/texts-span"]
    names += ["set0.combined/batchwise", "set0.combined/exploit", "set0/lowest-rank"] if shares > 1 else []
    for name in names:
        prefix = "gradients/host0/"
        assert found[prefix + name].supports_a_claim, name
    assert np.mean([c.scores[0] for c in found.values()]) < 0.58


# Gates.


def test_gates_are_judged_and_a_tier_that_was_not_attacked_is_no_pass() -> None:
    report = LeakReport.of([finding(0, "activations", 0.55), finding(1, "views", 0.7)], 2, 100)
    verdicts = {v.gate: v for v in Gates().judge(report)}
    assert verdicts["tier0"].passed and verdicts["tier1"].passed is False and verdicts["tier2"].passed is None
    assert verdicts["control"].passed and verdicts.keys() == {"tier0", "tier1", "tier2", "control"}
    four = Gates(tier1=0.6).judge(LeakReport.of([finding(1, "views", 0.39)], 4, 100))
    assert next(v for v in four if v.gate == "tier1").limit == pytest.approx(0.25 + 0.2 * 0.75)


def test_a_gate_that_was_moved_afterwards_is_refused() -> None:
    body = json.loads(json.dumps(Gates(tier3=0.9).to_dict()))
    assert Gates.from_dict(body) == Gates(tier3=0.9) != Gates()
    with pytest.raises(ValueError, match="changed after"):
        Gates.from_dict(body | {"tier3": 0.95})
    with pytest.raises(ValueError, match="tier0 must be in"):
        Gates(tier0=0.2)


def test_the_gates_of_the_first_step_hold_for_the_run(fake_host: FakeHost, tmp_path: Path) -> None:
    def tuner(gates: Gates, steps: int) -> Tuner:
        settings = {"method": "lora", "steps": steps, "batch_size": 16, "progress": False}
        made = P3EFT("toy", [Client(fake_host.url, "k")], run=tmp_path, **settings)
        made.gates = gates
        return made

    strict = Gates(tier2=0.55)
    tuner(strict, 3).fit(sentiment(60))
    found = Tuner.load(tmp_path, [Client(fake_host.url, "k")], progress=False).audit(sentiment(60, 1), quick=True)
    assert found.evidence.gates_sha256 == strict.sha256
    verdict = next(v for v in found.evidence.verdicts if v.gate == "tier2")
    assert (verdict.limit, verdict.passed) == (0.55, False)
    assert "tier2 at most 0.55: FAIL" in found.describe() and strict.sha256[:12] in found.describe()
    assert json.loads(json.dumps(found.to_dict()))["evidence"]["gates"]["sha256"] == strict.sha256


# Channels.


def test_channels_say_what_was_measured_what_was_not_and_what_never_travels() -> None:
    report = LeakReport.of([finding(0, "activations", 0.55), finding(3, "updates", 0.9)], 2, 100)
    found = {c.name: c for c in channels("p3eft", report, {"gradients": "no steps on record"})}
    assert found["activations"].status == "measured" and "0.900" in found["updates of the adapters"].remark
    assert (found["gradients"].status, found["gradients"].remark) == ("not measured", "no steps on record")
    assert {found[name].status for name in ("timing", "file order", "prediction calls")} == {"not measured"}
    blind = {c.name: c.status for c in channels("side", LeakReport.of([], 2, 100))}
    assert blind["gradients"] == blind["updates of the adapters"] == "never sent"
    assert blind["file order"] == "same for any labels" and blind["timing"] == "not measured"
    assert blind.keys() == found.keys()


# The shape of what is sent.


def test_zeros_repeats_rank_and_lengths_are_counted() -> None:
    g = np.diag([1.0, 1.0, 2.0, 0.0]).astype(np.float32)
    g[1] = g[0]
    found = support_of("s", [g, g])
    assert found.repeats == 0.5 and found.rank == (2, 2) and found.norm_ratio == 2.0
    assert found.zeros == pytest.approx(13 / 16)


def test_a_label_in_the_shape_alone_is_found() -> None:
    """Rows of one class are cut to zero, those of the other are noise: a clipped loss does that."""
    rng, labels = np.random.default_rng(2), np.arange(400) % 2
    g = rng.normal(size=(400, H)).astype(np.float32)
    rows = [np.arange(200), np.arange(200, 400)]
    quiet = support_guesses("s", [g[r] for r in rows], rows)
    assert [guess.attack for guess in quiet] == ["s/length"], "nothing is zero or repeated"
    shaped = {x.attack: x for x in support_guesses("s", [g[r] * labels[r, None] for r in rows], rows)}
    assert shaped.keys() == {"s/length", "s/zeros", "s/repeats"}
    for guess in shaped.values():
        assert guess.scores is not None and guess.rows is not None
        assert abs(np.corrcoef(guess.scores[:, 0], labels[guess.rows])[0, 1]) > 0.9


# What is proven about shares.


def test_the_bound_of_one_share_is_that_of_the_gaussian_mechanism() -> None:
    bound = ShareBound(hidden=384, shares=2, scale=100.0, rows=4000, sent=7680)
    assert bound.step_mu == pytest.approx(np.sqrt(384) / 200) == pytest.approx(0.098, abs=1e-4)
    assert bound.row_mu == pytest.approx(np.sqrt(7680 / 4000) * bound.step_mu)
    assert bound.row_accuracy == pytest.approx(norm.cdf(bound.row_mu / 2))
    assert bound.signal == pytest.approx(7680 * 384 / 200**2) == pytest.approx(73.7, abs=0.1)
    assert bound.scale_for_signal(1.0) == pytest.approx(np.sqrt(7680 * 384) / 2)
    assert replace(bound, scale=bound.scale_for_signal(2.0)).signal == pytest.approx(2.0)
    assert replace(bound, scale=bound.scale_for_row(0.01)).row_mu == pytest.approx(0.01)
    assert "0.531 by the best attack" in bound.sentences(0.531)[1] and "not measured" in bound.sentences(None)[1]
    with pytest.raises(ValueError, match="2 of 2"):
        replace(bound, held=2)


@pytest.mark.parametrize("held", [1, 2])
def test_the_bound_is_what_the_best_test_reaches(held: int) -> None:
    """Two of three shares, or one: the likelihood ratio of two gradients of a row, over many draws of the noise."""
    width, shares, scale, count = 6, 3, 2.0, 60_000
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(count, shares, width))
    noise = (noise - noise.mean(axis=1, keepdims=True)) * scale / np.sqrt(1 - 1 / shares)
    covariance = scale**2 / (1 - 1 / shares) * (np.eye(held) - 1 / shares)
    direction = np.linalg.solve(covariance, np.full(held, 1 / shares))
    projected = np.einsum("nkd,k->nd", noise[:, :held], direction).sum(axis=1)  # the gradient moves by ones
    shift = width * direction.sum() / shares
    bound = ShareBound(width, shares, scale, 1, 1, held)
    assert shift / projected.std() == pytest.approx(bound.step_mu, rel=0.02)


def test_a_run_over_two_hosts_states_its_bound_and_one_host_has_none(fake_hosts: object) -> None:
    hosts = fake_hosts(2)  # type: ignore[operator]
    settings = {"steps": 5, "batch_size": 32, "progress": False}
    tuner = P3EFT("toy", [Client(h.url, "k") for h in hosts], **settings)
    tuner.fit(sentiment(80))
    report = tuner.audit(sentiment(80, 1), quick=True)
    bound = report.evidence.share_bound
    assert bound is not None and (bound.sent, bound.rows, bound.shares, bound.hidden) == (160, 80, 2, 16)
    assert f"mu {bound.step_mu:.3f} a step" in report.describe()
    alone = P3EFT("toy", [Client(hosts[0].url, "k")], obfuscation="shares", **settings)
    alone.fit(sentiment(80))
    assert alone.audit(sentiment(80, 1), quick=True).evidence.share_bound is None
