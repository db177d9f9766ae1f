"""Label enumeration, ExPLoit and the cheating host read a plain gradient, and nothing where there is nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import P3EFT, Client
from blindtune.audit import Effort, Seen, SeenBackward, SeenForward, active, enumeration, evaluate, exploit
from blindtune.audit.tier2 import guesses, steps_by_host, steps_of
from blindtune.private.obfuscation.shares import split
from blindtune.private.secret import SecretStream

B, H, STEPS = 32, 24, 60
SURROGATES = ("enumeration", "exploit")
CHANCE = 0.5 + 4 * 1.3 / np.sqrt(3 * B * STEPS)
"""Four standard errors of the mean AUC over so many rows; taking the better way round in each batch makes it a third
wider."""
Mix = Callable[[np.ndarray, int], list[np.ndarray]]


@cache
def lora_like(classes: int = 2) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """h [B, H], g = (p - y) W^T [B, H] of a head half learned, and the labels of all rows."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, classes, B * STEPS)
    w, centres = rng.normal(size=(H, classes)), rng.normal(size=(classes, H))
    h = centres[labels] * 0.5 + rng.normal(size=(B * STEPS, H))
    logits = h @ w * 0.3
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    g = (p - np.eye(classes)[labels]) @ w.T
    return np.split(h.astype(np.float32), STEPS), np.split(g.astype(np.float32), STEPS), labels


def record(mix: Mix, classes: int = 2) -> tuple[Seen, np.ndarray]:
    """The steps as one host saw them; `mix` makes tensors of a gradient."""
    hs, gs, labels = lora_like(classes)
    forwards, backwards = [], []
    for t, (h, g) in enumerate(zip(hs, gs, strict=True)):
        rows = np.arange(t * B, (t + 1) * B)
        forwards.append(SeenForward(0, 2 * t + 1, rows, {}, {0: h}, None, "j", f"f{t}"))
        shares = {(0, j): x.astype(np.float32) for j, x in enumerate(mix(g, t))}
        backwards.append(SeenBackward(0, 2 * t + 2, shares, "j", f"f{t}"))
    return Seen(tuple(forwards), tuple(backwards)), labels


def scores(mix: Mix, classes: int = 2, quick: bool = False) -> dict[str, float]:
    """By the end of the name, the surrogates' scores."""
    seen, labels = record(mix, classes)
    found = {}
    for guess in guesses(steps_of(seen, 0, quick), 0, classes, quick):
        if guess.attack.endswith(SURROGATES):
            finding = evaluate(guess, labels, classes, 0)
            assert finding is not None and finding.tier == 2 and finding.control < CHANCE
            found[guess.attack.removeprefix("host0/set0.")] = finding.score
    return found


def plain(g: np.ndarray, _: int) -> list[np.ndarray]:
    return [g]


def noise(g: np.ndarray, t: int) -> list[np.ndarray]:
    return [np.random.default_rng(t).normal(size=g.shape)]


def shares(held: int) -> Mix:
    secret = SecretStream(b"a secret for tests")
    return lambda g, t: list(split(g, 2, secret, ("step", t, 0)).tensors[:held])


@pytest.mark.parametrize("quick", [False, True])
def test_a_plain_gradient_gives_its_labels_to_both(quick: bool) -> None:
    found = scores(plain, quick=quick)
    assert found.keys() == {f"share0/{name}" for name in SURROGATES}
    assert min(found.values()) > 0.95


def test_tensors_without_a_label_give_none() -> None:
    assert max(scores(noise).values()) < CHANCE


def test_one_share_gives_none_and_both_together_all() -> None:
    assert max(scores(shares(1)).values()) < CHANCE
    together = scores(shares(2))
    assert all(together[f"combined/{name}"] > 0.95 for name in SURROGATES)


def test_exploit_reads_three_classes_and_enumeration_leaves_them_alone() -> None:
    found = scores(plain, classes=3)
    assert found.keys() == {"share0/exploit"} and found["share0/exploit"] > 0.8
    assert scores(noise, classes=3)["share0/exploit"] < 1 / 3 + 4 * 1.3 / np.sqrt(3 * B * STEPS)


def test_enumeration_finds_the_best_labelling_of_all() -> None:
    """Against a search over all 2^8 sign patterns written out."""
    g = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    signs = np.array([[1 - 2 * ((k >> b) & 1) for b in range(8)] for k in range(256)])
    best = np.linalg.norm(signs @ g, axis=1).max()
    mine = np.sign(enumeration.label_scores(g)[:, 0])
    assert np.linalg.norm(mine @ g) == pytest.approx(best, rel=1e-6)


def test_exploit_keeps_the_start_that_fits_best() -> None:
    hs, gs, _ = lora_like()
    fits = exploit.fit(hs[:10], gs[:10], 2, quick=False)
    assert len(fits) == exploit.STARTS and fits[0].left == min(one.left for one in fits) < 0.5


def test_hosts_that_computed_the_same_share_their_features() -> None:
    seen, _ = record(plain)
    twins = Seen(
        tuple(f for f in seen.forwards) + tuple(SeenForward(**{**vars(f), "host": 1}) for f in seen.forwards),
        tuple(b for b in seen.backwards) + tuple(SeenBackward(**{**vars(b), "host": 1}) for b in seen.backwards),
    )
    found = steps_by_host(twins)
    assert found[1][0].features is found[0][0].features is not None
    alone = steps_of(twins, 1)
    np.testing.assert_allclose(found[1][0].features, alone[0].features)


# A host that cheats.


def test_altered_activations_are_nearly_the_same_for_all_rows() -> None:
    h = np.random.default_rng(1).normal(size=(B, H)).astype(np.float32)
    (altered,) = active.same_for_all([h])
    assert np.ptp(altered, axis=0).max() < 0.01 and not np.array_equal(altered[0], altered[1])
    np.testing.assert_allclose(altered.mean(axis=0), h.mean(axis=0), atol=1e-5)


def audited(hosts: list[FakeHost], **settings: object) -> dict[str, float]:
    clients = [Client(host.url, "k") for host in hosts]
    common = {"steps": 12, "batch_size": 64, "lr": 0.02, "progress": False}
    tuner = P3EFT("toy", clients, **{**common, **settings})
    tuner.fit(sentiment(600))
    before, state = [len(host.seen) for host in hosts], tuner.summary()["adapter_sha256"]
    report = tuner.audit(sentiment(1000, seed=1), effort=Effort(False, products=0, doses=None, active=15))
    sent = [path for host, n in zip(hosts, before, strict=True) for _, path, _ in host.seen[n:]]
    assert not [path for path in sent if path.endswith("backward")], "nothing of the simulation is sent"
    assert tuner.summary()["adapter_sha256"] == state
    return {f.attack: f.score for f in report.findings if f.kind == "active"}


def test_a_cheating_host_reads_a_plain_gradient_and_not_one_share(
    fake_hosts: Callable[[int], list[FakeHost]],
) -> None:
    """Without the penalties, whose own gradients differ from row to row and hide the label in one run of twenty."""
    assert min(audited(fake_hosts(1), method="lora").values()) > 0.95
    apart = audited(fake_hosts(2))
    assert apart.keys() == {"host0/set0.share0", "host1/set0.share1"}
    assert max(apart.values()) < 0.5 + 4 * 1.3 / np.sqrt(3 * 15 * 64)
    together = audited(fake_hosts(1), method="lora", obfuscation="shares")
    assert together["host0/set0.combined"] > 0.95
