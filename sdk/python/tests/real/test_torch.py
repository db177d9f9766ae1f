"""The PyTorch bridge against real hosts: its gradient against finite differences, and transformers.Trainer on top.

Runs where torch is: `.deps/peft`, made by scripts/setup/peft.sh.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.func import functional_call  # noqa: E402

from blindtune import P3EFT, Dataset  # noqa: E402
from blindtune.torch import HostedBackbone  # noqa: E402

from .conftest import MODEL, RealHost  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"
TEXTS = ["a fine film", "an awful plot with cold actors", "the music is warm", "dreary and hollow"]


def test_gradcheck_against_finite_differences_of_the_host(hosts: list[RealHost]) -> None:
    """`torch.autograd.gradcheck` at relative 1e-4, along directions that are large enough for float32.

    The adapters move by t in [directions]: theta_i = start_i + U_i t, with the loss sum(c * h) summed in float64. The
    backward goes through shares over two hosts.
    """
    torch.manual_seed(0)
    backbone = HostedBackbone(MODEL, [host.client() for host in hosts], texts=TEXTS, adapter_sets=2)
    starts = [theta.detach() + 0.05 * torch.randn_like(theta) for theta in backbone.theta]
    rows = torch.arange(len(TEXTS))
    weights = torch.randn(2, len(TEXTS), backbone.hidden_size, dtype=torch.float64)

    def loss(thetas: list[Any]) -> Any:
        named = {f"theta.{i}": theta for i, theta in enumerate(thetas)}
        return (torch.stack(functional_call(backbone, named, (rows,))).double() * weights).sum()

    leaves = [start.clone().requires_grad_() for start in starts]
    gradients = torch.autograd.grad(loss(leaves), leaves)
    directions = [torch.stack([_towards(g) for _ in range(2)], dim=1) for g in gradients]  # U_i, [P, 2]

    def along(t: Any) -> Any:
        steps = [u @ part for u, part in zip(directions, t.float().view(2, 2), strict=True)]
        return loss([start + step for start, step in zip(starts, steps, strict=True)])

    at = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        along, (at,), eps=5e-3, rtol=1e-4, atol=0.0, nondet_tol=0.1, check_undefined_grad=False
    )


def _towards(gradient: Any) -> Any:
    """A unit vector half along the gradient, half random."""
    random = torch.randn_like(gradient)
    sum_ = gradient / gradient.norm() + random / random.norm()
    return sum_ / sum_.norm()


def test_transformers_trainer_reaches_what_the_numpy_trainer_does(
    hosts: list[RealHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one host, hence among decoys. That both take the same steps, tests/test_torch.py shows."""
    pytest.importorskip("transformers")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from notes import LABELS, make_notes
    from transformers_trainer import train

    rows, fresh, steps, client = 240, 480, 80, hosts[0].client()
    theirs = train(MODEL, [client], rows=rows, fresh=fresh, steps=steps, regularizer="probe")["eval_accuracy"]
    texts, labels = make_notes(rows + fresh)
    data = Dataset(tuple(texts), np.array(labels, dtype=np.int64), LABELS)
    settings = {"batch_size": 16, "ramp_steps": steps // 2, "regularizer": "probe", "progress": False}
    tuner = P3EFT(MODEL, [client], steps=steps, **settings)
    tuner.fit(data.take(np.arange(rows)))
    ours = tuner.evaluate(data.take(np.arange(rows, len(data))))["accuracy"]
    tuner.complete()
    print(f"numpy {ours:.3f}, transformers {theirs:.3f}")
    assert min(ours, theirs) >= 0.9 and abs(ours - theirs) <= 0.1
