"""What each of several hosts gets, sees and never sees, and what happens when one is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost, Fault
from test_trainer import SMALL, Hosts, before_step, clients, prepared

from blindtune import P3EFT, ApiConnectionError, Client, RunError
from blindtune.arrays import decode
from blindtune.client.transport import RetryPolicy
from blindtune.training.host_group import HostLostError

HASTY = RetryPolicy(patience_s=0.5, first_wait_s=0.01)


def sent(host: FakeHost, kind: str) -> list[dict[str, np.ndarray]]:
    """Tensors of every training call of this kind that the host was sent."""
    return [decode(body)[0] for _, path, body in host.seen if f"/{kind}" in path and body[:1] != b"{"]


def shared(a: list[np.ndarray], b: list[np.ndarray]) -> int:
    return len({x.tobytes() for x in a} & {x.tobytes() for x in b})


@pytest.mark.parametrize("obfuscation", ["decoys", "plain"])
def test_sets_are_kept_apart(fake_hosts: Hosts, obfuscation: str, tmp_path: Path) -> None:
    """Host k sees one set: its job has one, and no adapter, activation or gradient of the other set gets there."""
    hosts = fake_hosts(2)
    settings = {**SMALL, "steps": 60, "placement": "sets", "obfuscation": obfuscation}
    tuner = P3EFT("toy", clients(hosts), run=prepared(tmp_path), **settings)
    tuner.fit(sentiment(400))
    assert [job["sets"] for host in hosts for job in host.jobs.values()] == [1, 1]
    tensors = 4 if obfuscation == "decoys" else 1
    for host in hosts:
        assert {name for call in sent(host, "forward") for name in call} == {"rows", "theta.0"}
        assert {name for call in sent(host, "backward") for name in call} == {f"s.0.{j}" for j in range(tensors)}
        assert len(sent(host, "forward")) == len(sent(host, "backward")) == 60
    thetas = [[call["theta.0"] for call in sent(host, "forward")] for host in hosts]
    assert shared(*thetas) == 0
    final = tuner._ready().thetas
    assert tuner.evaluate(sentiment(1000, seed=1))["accuracy"] > 0.75
    activations, base = tuner.activations(["good film"], base=True)
    assert len(activations) == 2 and base is not None and not np.allclose(activations[0], activations[1])
    assert tuner.complete() == ["ft:ftjob-0", "ft:ftjob-0"]
    for host, mine in zip(hosts, final, strict=True):
        (job,) = host.jobs.values()
        assert set(job["theta"]) == {0} and np.array_equal(job["theta"][0], mine)


def test_sets_apart_train_as_together(fake_hosts: Hosts, tmp_path: Path) -> None:
    """Nothing but the start of set 1 differs: the jobs' seeds do. With that start, the run is the same."""
    data = sentiment(200)
    apart_hosts = fake_hosts(2)
    apart = P3EFT("toy", clients(apart_hosts), run=prepared(tmp_path, "apart"), placement="sets", **SMALL)
    apart.fit(data)
    (host,) = fake_hosts(1)
    engine = host.engine
    engine.initial = lambda seed, index: type(engine).initial(engine, seed + index, 0)
    together = P3EFT("toy", clients([host]), run=prepared(tmp_path, "together"), obfuscation="decoys", **SMALL)
    together.fit(data)
    for a, b in zip(apart._ready().thetas, together._ready().thetas, strict=True):
        assert np.linalg.norm(a - b) < 1e-4 * np.linalg.norm(b)


def test_steps_take_turns(fake_hosts: Hosts, tmp_path: Path) -> None:
    hosts = fake_hosts(3)
    tuner = P3EFT("toy", clients(hosts), placement="steps", run=prepared(tmp_path), **{**SMALL, "steps": 61})
    tuner.fit(sentiment(400))
    assert [len(sent(host, "forward")) for host in hosts] == [21, 20, 20]
    for host in hosts:
        assert {name for call in sent(host, "backward") for name in call} == {
            f"s.{i}.{j}" for i in range(2) for j in range(4)
        }
        assert all({"theta.0", "theta.1"} <= set(call) for call in sent(host, "forward"))
    thetas = [[call["theta.0"] for call in sent(host, "forward")] for host in hosts]
    assert shared(thetas[0], thetas[1]) == shared(thetas[1], thetas[2]) == 0
    assert tuner.evaluate(sentiment(1000, seed=1))["accuracy"] > 0.75


def test_steps_in_turn_train_as_on_one_host(fake_hosts: Hosts, tmp_path: Path) -> None:
    data, ends = sentiment(200), []
    for count in (1, 3):
        run = prepared(tmp_path, str(count))
        tuner = P3EFT("toy", clients(fake_hosts(count)), run=run, placement="steps", **SMALL)
        ends.append(tuner.fit(data).adapter_sha256)
    assert ends[0] == ends[1]


@pytest.mark.parametrize("placement", ["steps", "sets", "shares"])
def test_another_backbone_is_noticed(fake_hosts: Hosts, placement: str) -> None:
    hosts = fake_hosts(2)
    forward = hosts[1].engine.forward
    hosts[1].engine.forward = lambda texts, theta: (forward(texts, theta)[0] * 1.5, forward(texts, theta)[1])
    with pytest.raises(RunError, match="other activations"):
        P3EFT("toy", clients(hosts), placement=placement, **SMALL).fit(sentiment(100))


@pytest.mark.parametrize("placement", ["shares", "steps", "sets"])
@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("again_in", ["the same process", "another process"])
def test_a_lost_host_is_named_and_the_run_continues(
    fake_hosts: Hosts, tmp_path: Path, placement: str, where: str, again_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = sentiment(100)
    settings = {**SMALL, "placement": placement, "save_every": 4}
    calm = P3EFT("toy", clients(fake_hosts(2)), run=prepared(tmp_path, "calm"), **settings).fit(data).adapter_sha256
    hosts, run = fake_hosts(2), prepared(tmp_path, "shaken")
    hasty = [Client(host.url, "key", retry=HASTY) for host in hosts]
    tuner = P3EFT("toy", hasty, run=run, **settings)

    def lose(step: int) -> None:
        if step == 7:
            hosts[1].faults = [Fault(where, cut=True, times=1_000_000)]

    with monkeypatch.context() as patched:
        before_step(patched, lose)
        with pytest.raises(HostLostError, match=rf"{hosts[1].url}.*host lost.*continues") as caught:
            tuner.fit(data)
    assert isinstance(caught.value, RunError) and isinstance(caught.value, ApiConnectionError)
    assert hasty[1].traffic.retries > 0, "it was waited for"
    hosts[1].faults = []
    hosts[1].restart()
    taken_up = tuner if again_in == "the same process" else P3EFT("toy", clients(hosts), run=run, **settings)
    assert taken_up.fit(data).adapter_sha256 == calm
    assert [len(host.jobs) for host in hosts] == [1, 1]
