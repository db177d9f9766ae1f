"""The PyTorch bridge against toy hosts: autograd goes through them, and any loss and optimizer follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import LAYOUT, FakeHost, ToyEngine

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from blindtune import P3EFT, Client, RunError  # noqa: E402
from blindtune.arrays import decode  # noqa: E402
from blindtune.data import Batches, text_lengths  # noqa: E402
from blindtune.optimizers import learning_rate  # noqa: E402
from blindtune.private.heads import LinearHead  # noqa: E402
from blindtune.torch import HostedBackbone, Mixing, PrivacyRegularizer, exchanged  # noqa: E402
from blindtune.training.adapter_folders import read_adapter  # noqa: E402
from blindtune.training.factory import fresh_home  # noqa: E402

TEXTS = ["a good film", "a bad plot", "the music", "an awful scene", "a warm story"]
Hosts = Callable[[int], list[FakeHost]]


def backbone(hosts: list[FakeHost], texts: Any = TEXTS, **settings: Any) -> HostedBackbone:
    clients = [Client(host.url, "key") for host in hosts]
    return HostedBackbone("toy", clients, texts=texts, **({"adapter_sets": 2} | settings))


def test_backward_is_the_hosts_jacobian_product(fake_hosts: Hosts) -> None:
    made = backbone(fake_hosts(2))
    rows = torch.tensor([4, 1])
    sets = made(rows)
    assert [tuple(h.shape) for h in sets] == [(2, made.hidden_size)] * 2
    (sets[0].square().sum() + 3.0 * sets[1].sum()).backward()
    for i, scale in ((0, 2.0 * sets[0].detach()), (1, torch.full_like(sets[1], 3.0))):
        _, context = ToyEngine().forward([TEXTS[4], TEXTS[1]], made.theta[i].detach().numpy())
        exact = ToyEngine().vjp(context, scale.numpy())
        assert np.linalg.norm(made.theta[i].grad.numpy() - exact) < 1e-4 * np.linalg.norm(exact)


def test_texts_and_rows_are_the_same(fake_hosts: Hosts) -> None:
    made = backbone(fake_hosts(2))
    by_row, by_text = made(torch.tensor([2, 0])), made([TEXTS[2], TEXTS[0]])
    assert torch.equal(by_row[0], by_text[0])
    made.eval()
    assert torch.equal(made(["something new", TEXTS[0]])[0][1], by_row[0][1].detach())


def test_evaluation_takes_no_step(fake_hosts: Hosts) -> None:
    hosts = fake_hosts(2)
    made = backbone(hosts)
    with torch.no_grad():
        made(torch.tensor([0]))
    made.eval()(torch.tensor([0]))
    assert all(job["next_seq"] == 1 for host in hosts for job in host.jobs.values())
    assert not made(torch.tensor([0]))[0].requires_grad


def test_two_forwards_before_one_backward(fake_hosts: Hosts) -> None:
    made = backbone(fake_hosts(2))
    together = (made(torch.tensor([0]))[0] * made(torch.tensor([1]))[0]).sum()
    together.backward()
    theta = made.theta[0].detach().numpy()
    engine = ToyEngine()
    (first, a), (second, b) = engine.forward([TEXTS[0]], theta), engine.forward([TEXTS[1]], theta)
    exact = engine.vjp(a, second) + engine.vjp(b, first)
    assert np.linalg.norm(made.theta[0].grad.numpy() - exact) < 1e-4 * np.linalg.norm(exact)


def test_one_host_needs_other_labels(fake_hosts: Hosts) -> None:
    made = backbone(fake_hosts(1))
    loss = made(torch.tensor([0, 1]))[0].sum()
    with pytest.raises(RunError, match="call hide_among_decoys"):
        loss.backward()
    plain = backbone(fake_hosts(1), obfuscation="plain")
    plain(torch.tensor([0, 1]))[0].sum().backward()
    assert plain.theta[0].grad is not None


def test_exchanged_gradients_are_as_sure_as_the_true_ones() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3, requires_grad=True), torch.tensor([0, 1, 2, 0, 1, 2])
    other = torch.tensor([1, 1, 0, 2, 0, 2])
    (true,) = torch.autograd.grad(nn.functional.cross_entropy(logits, labels), logits)
    decoy = exchanged(logits, labels, other)
    assert torch.allclose(decoy.norm(dim=1), true.norm(dim=1)) and torch.allclose(decoy.sum(dim=1), torch.zeros(6))
    assert torch.equal(decoy.argmin(dim=1), other)
    assert torch.allclose(decoy[1], true[1], atol=1e-6)
    assert torch.allclose(exchanged(logits, labels, labels), true, atol=1e-6)


def test_nothing_private_is_sent(fake_hosts: Hosts) -> None:
    hosts = fake_hosts(2)
    made = backbone(hosts)
    mixing, head = Mixing(made), nn.Linear(made.hidden_size, 2)
    nn.functional.cross_entropy(head(mixing(made(torch.tensor([0, 1])))), torch.tensor([0, 1])).backward()
    weights = mixing.weights.numpy().tobytes()[:16]
    for host in hosts:
        for _, path, body in host.seen:
            assert b"label" not in body and weights not in body and "label" not in path


def test_a_saved_state_comes_back(fake_hosts: Hosts, tmp_path: Path) -> None:
    model = nn.ModuleDict({"backbone": backbone(fake_hosts(2))})
    model["mixing"] = Mixing(model["backbone"])
    with torch.no_grad():
        model["backbone"].theta[1].add_(1.0)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    again = nn.ModuleDict({"backbone": backbone(fake_hosts(2))})
    again["mixing"] = Mixing(again["backbone"])
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for part in (model, again):
        part.eval()
    outputs = [part["mixing"](part["backbone"](["a text"])) for part in (model, again)]
    assert torch.allclose(outputs[0], outputs[1], atol=1e-6)


def test_adapters_are_saved_for_peft(tmp_path: Path) -> None:
    host = FakeHost()
    try:
        made = backbone([host])
        made.save_adapters(tmp_path / "out")
    finally:
        host.close()
    layout = {"parameters": made.theta[1].numel(), "layout": LAYOUT}
    assert np.array_equal(read_adapter(tmp_path / "out" / "set1", layout), made.theta[1].detach().numpy())


@pytest.mark.parametrize(("regularizer", "trained"), [("probe", False), ("probe", True), ("camouflage", False)])
def test_it_trains_as_the_numpy_trainer_does(
    fake_hosts: Hosts, tmp_path: Path, regularizer: str, trained: bool
) -> None:
    """The same mixing, head, batches, learning rates and penalty: the same adapters, looks at the leak included."""
    steps, lr = 25, 0.02
    settings = {
        "steps": steps,
        "batch_size": 32,
        "ramp_steps": 10,
        "lr": lr,
        "head": "linear",
        "audit_every": 10,
        "adapter_sets": 2,
    }
    settings |= {"regularizer": regularizer, "decoy_features": 3, "train_coefficients": trained}
    data = sentiment(200)
    clients = [Client(host.url, "key") for host in fake_hosts(2)]
    tuner = P3EFT("toy", clients, run=tmp_path / "run", progress=False, **settings)
    secret = tuner.folder.secret()
    mine = data.take(secret.permutation(len(data), "rows"))
    labels = torch.from_numpy(mine.labels)
    made = backbone(fake_hosts(2), mine.texts, **settings)
    mixing, penalty, head = Mixing(made), PrivacyRegularizer(made, 2), nn.Linear(made.hidden_size, 2)
    home = fresh_home(tuner.settings, made.hidden_size, 2, secret)  # what the trainer starts from
    penalty.penalty = home.penalty
    assert isinstance(home.head, LinearHead)
    with torch.no_grad():
        mixing.weights.copy_(torch.from_numpy(home.mixing.weights))
        if mixing.blind is not None:
            mixing.blind.copy_(torch.from_numpy(home.mixing.blind))
        for mine_, theirs in zip(head.parameters(), home.head.parameters, strict=True):
            mine_.copy_(torch.from_numpy(theirs))
    groups = [{"params": list(made.parameters())}, {"params": [*head.parameters(), *mixing.parameters()]}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    start = [theta.detach().clone() for theta in made.theta]
    for step in range(steps):
        rows = torch.from_numpy(Batches(text_lengths(mine.texts), 32, 0).rows(step))
        sets, base = made.with_base(rows)
        loss = nn.functional.cross_entropy(head(mixing(sets)), labels[rows]) + penalty(sets, base, labels[rows])
        for group, peak in zip(optimizer.param_groups, (lr, tuner.settings.head_lr), strict=True):
            group["lr"] = learning_rate(step, steps, steps // 10, peak)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tuner.fit(data)
    for ours, theirs, first in zip(made.theta, tuner._ready().thetas, start, strict=True):
        moved = torch.from_numpy(theirs) - first
        assert torch.linalg.norm(ours - torch.from_numpy(theirs)) < 0.02 * torch.linalg.norm(moved)


@pytest.mark.parametrize("regularizer", ["probe", "camouflage"])
def test_the_regularizer_comes_back_from_a_saved_state(fake_hosts: Hosts, regularizer: str) -> None:
    settings = {"regularizer": regularizer, "decoy_features": 3, "audit_every": 10}
    made = backbone(fake_hosts(2), **settings)
    rows, labels = torch.arange(5), torch.tensor([0, 1, 0, 1, 1])
    first, second = PrivacyRegularizer(made, 2), PrivacyRegularizer(made, 2)
    for _ in range(3):
        first(*made.with_base(rows), labels)
    second.load_state_dict(first.state_dict())
    sets, base = made.with_base(rows)
    assert second.steps == 3 and torch.equal(first(sets, base, labels), second(sets, base, labels))


def test_decoys_train_a_classifier_on_one_host(fake_hosts: Hosts) -> None:
    """The head stays as it was drawn: trained, it alone would be right about nine rows in ten."""
    torch.manual_seed(0)
    data = sentiment(200)
    (host,) = fake_hosts(1)
    made = backbone([host], data.texts, regularizer="probe")
    mixing, head, labels = Mixing(made), nn.Linear(made.hidden_size, 2), torch.from_numpy(data.labels)
    with pytest.raises(RunError, match="200 zeros and ones"):
        made.hide_among_decoys(labels[:10])
    made.hide_among_decoys(labels)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
    for step in range(60):
        rows = torch.from_numpy(np.random.default_rng(step).permutation(200)[:32])
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(mixing(made(rows))), labels[rows]).backward()
        optimizer.step()
    sent = decode([body for _, path, body in host.seen if "/backward" in path][-1])[0]
    assert len(sent) == 2 * (1 + made.settings.decoys)
    fresh = sentiment(1000, seed=1)
    made.eval()
    guess = head(mixing(made(fresh.texts))).argmax(1).numpy()
    assert np.mean(guess == fresh.labels) > 0.85
