"""Private backpropagation outside of the trainer: exact gradients, one draw for each, forwards in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_host import FakeHost, ToyEngine

from blindtune import Client, RunError
from blindtune.arrays import F32, decode
from blindtune.training.exchange import Exchange
from blindtune.training.settings import Settings

TEXTS = ["a good film", "a bad plot", "the music", "an awful scene", "a warm story"]
ROWS = np.array([3, 0, 4], dtype=np.int64)
Hosts = Callable[[int], list[FakeHost]]


def exchange(hosts: list[FakeHost], **settings: Any) -> Exchange:
    resolved = Settings.from_dict({"obfuscation": "shares", "adapter_sets": 2, **settings}).resolve(len(hosts))
    return Exchange("toy", [Client(host.url, "key") for host in hosts], TEXTS, resolved)


def expected(theta: F32, rows: np.ndarray, gradient: F32) -> F32:
    engine = ToyEngine()
    _, context = engine.forward([TEXTS[int(row)] for row in rows], theta)
    return engine.vjp(context, gradient)


def random_parts(made: Exchange, seed: int = 0) -> tuple[list[F32], list[F32]]:
    """theta_i away from their start, where half of the gradient is zero, and dL/dh_i."""
    rng = np.random.default_rng(seed)
    thetas = [t + rng.normal(size=t.shape).astype(np.float32) * 0.1 for t in made.first_adapters()]
    gradients = [rng.normal(size=(len(ROWS), made.hidden)).astype(np.float32) for _ in thetas]
    return thetas, gradients


@pytest.mark.parametrize(
    ("hosts", "settings"),
    [
        (1, {"obfuscation": "plain"}),
        (2, {}),
        (2, {"shares": 3, "adapter_sets": 3}),
        (2, {"placement": "steps"}),
        (2, {"placement": "sets"}),
    ],
)
def test_gradients_are_those_of_the_backbone(fake_hosts: Hosts, hosts: int, settings: dict[str, Any]) -> None:
    made = exchange(fake_hosts(hosts), **settings)
    for seed in range(3):  # consecutive steps may go to different hosts
        thetas, gradients = random_parts(made, seed)
        activations, base, ticket = made.forward(ROWS, thetas, base=True)
        assert base is not None and all(h.shape == (3, made.hidden) for h in [*activations, base])
        exact, _ = ToyEngine().forward([TEXTS[r] for r in ROWS], thetas[1])
        np.testing.assert_allclose(activations[1], exact, rtol=1e-5)
        for theta, g, found in zip(thetas, gradients, made.backward(ticket, gradients), strict=True):
            exact = expected(theta, ROWS, g)
            assert np.linalg.norm(found - exact) < 1e-4 * np.linalg.norm(exact)


def test_a_zero_gradient_travels_as_noise_and_comes_back_as_zero(fake_hosts: Hosts) -> None:
    hosts = fake_hosts(2)
    made = exchange(hosts)
    thetas, gradients = random_parts(made)
    _, _, ticket = made.forward(ROWS, thetas, base=False)
    found = made.backward(ticket, [np.zeros_like(gradients[0]), gradients[1]])
    assert not found[0].any() and found[1].any()
    sent = decode(next(body for _, path, body in hosts[0].seen if "/backward" in path))[0]
    assert sent["s.0.0"].any()


def test_decoys_come_from_the_caller(fake_hosts: Hosts) -> None:
    (host,) = fake_hosts(1)
    made = exchange([host], obfuscation="decoys", decoys=2)
    thetas, gradients = random_parts(made)
    _, _, ticket = made.forward(ROWS, thetas, base=False)
    asked: list[int] = []

    def plausible(k: int) -> list[F32]:
        asked.append(k)
        return [np.roll(g, k + 1, axis=0) for g in gradients]

    found = made.backward(ticket, gradients, plausible)
    assert asked == [0, 1]
    exact = expected(thetas[0], ROWS, gradients[0])
    assert np.linalg.norm(found[0] - exact) < 1e-5 * np.linalg.norm(exact)
    sent = decode(next(body for _, path, body in host.seen if "/backward" in path))[0]
    assert len(sent) == 6 and not any(np.allclose(s, g, atol=1e-3) for s in sent.values() for g in gradients)


def test_an_older_forward_is_repeated_with_its_own_adapters(fake_hosts: Hosts) -> None:
    made = exchange(fake_hosts(2))
    thetas, gradients = random_parts(made)
    _, _, first = made.forward(ROWS, thetas, base=False)
    before = [theta.copy() for theta in thetas]
    for theta in thetas:
        theta += 1.0  # as an optimizer does, in place
    made.forward(ROWS, thetas, base=False)
    for _ in range(2):  # and a backward may be repeated
        found = made.backward(first, gradients)
        exact = expected(before[0], ROWS, gradients[0])
        assert np.linalg.norm(found[0] - exact) < 1e-4 * np.linalg.norm(exact)


def test_with_dropout_a_forward_cannot_be_repeated(fake_hosts: Hosts) -> None:
    made = exchange(fake_hosts(1), dropout=0.1)
    thetas, gradients = random_parts(made)
    _, _, first = made.forward(ROWS, thetas, base=False)
    _, _, second = made.forward(ROWS, thetas, base=False)
    with pytest.raises(RunError, match="one forward at a time"):
        made.backward(first, gradients)
    made.backward(second, gradients)


def test_no_draw_is_used_twice(fake_hosts: Hosts) -> None:
    hosts = fake_hosts(2)
    made = exchange(hosts)
    thetas, gradients = random_parts(made)
    for _ in range(2):
        _, _, ticket = made.forward(ROWS, thetas, base=False)
        made.backward(ticket, gradients)
    sent = [decode(body)[0] for _, path, body in hosts[0].seen if "/backward" in path]
    assert len(sent) == 2 and not np.allclose(sent[0]["s.0.0"], sent[1]["s.0.0"])


def test_evaluation_sees_the_current_adapters(fake_hosts: Hosts) -> None:
    made = exchange(fake_hosts(2))
    thetas, _ = random_parts(made)
    made.forward(ROWS, thetas, base=False)
    changed = [theta + np.float32(0.1) for theta in thetas]
    found, base = made.evaluate(["a new text"], changed, base=True)
    np.testing.assert_allclose(found[1], ToyEngine().forward(["a new text"], changed[1])[0], rtol=1e-5)
    assert base is not None and base.shape == (1, made.hidden)


def test_texts_travel_in_a_secret_order_and_are_found_again(fake_hosts: Hosts) -> None:
    (host,) = fake_hosts(1)
    made = exchange([host])
    assert sorted(host.files["file-0"]) == sorted(TEXTS)
    assert made.rows_of([TEXTS[2], TEXTS[0]]).tolist() == [2, 0]
    with pytest.raises(RunError, match="not among the uploaded"):
        made.rows_of(["another"])
    with pytest.raises(RunError, match="rows must be from 0 to 4, not 2 to 5"):
        made.forward(np.array([2, 5]), random_parts(made)[0], base=False)
