"""Run folders: one process at a time, whole steps after Ctrl-C, more steps later, formats, and what a folder tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune import Client, RunError, Tuner
from blindtune.cli import main
from blindtune.optimizers import learning_rate
from blindtune.private.secret import SecretStream
from blindtune.training import folder_lock
from blindtune.training.private_backprop import PrivateBackprop
from blindtune.training.run_folder import FORMAT, RunFolder
from blindtune.training.run_status import RunStatus
from blindtune.training.updates import Updates

SMALL: dict[str, Any] = {"steps": 6, "batch_size": 16, "lr": 0.02, "save_every": 100, "progress": False}
HOLD = """
import sys, time
from pathlib import Path
from blindtune.training.folder_lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def tuner(host: FakeHost, folder: Path, **settings: Any) -> Tuner:
    """On a run folder with a fixed secret, so that runs can be compared."""
    if not (folder / "secret").exists():
        RunFolder(folder).write("secret", SecretStream(b"same secret").secret.hex().encode())
    return Tuner("toy", [Client(host.url, "key")], run=folder, **(SMALL | settings))


@pytest.mark.parametrize("method", ["lora", "side", "auto"])
def test_a_folder_that_another_process_trains_in_is_refused_until_that_is_killed(
    fake_host: FakeHost, tmp_path: Path, method: str
) -> None:
    mine = Tuner("toy", [Client(fake_host.url, "key")], run=tmp_path, method=method, progress=False)
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        with pytest.raises(RunError, match=rf"process {other.pid} \(since 20.*\) works in this run folder"):
            mine.fit(sentiment(80))
        assert fake_host.seen == [], "nothing was sent"
        held = folder_lock.holder(tmp_path)
        assert held is not None and held.pid == other.pid
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait(30)
    assert folder_lock.holder(tmp_path) is None
    with RunFolder(tmp_path).locked():
        pass


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell without job control has it ignored by what it begins with `&`."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.parametrize(
    ("place", "name", "done"),
    [(PrivateBackprop, "forward", 2), (PrivateBackprop, "backward", 2), (Updates, "add", 3)],
)
def test_ctrl_c_keeps_the_last_whole_step(
    fake_host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: type, name: str, done: int
) -> None:
    straight = tuner(fake_host, tmp_path / "straight").fit(sentiment(80))
    calls, real = [0], getattr(place, name)

    def interrupted(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            tuner(fake_host, tmp_path / "run").fit(sentiment(80))
    saved = RunFolder(tmp_path / "run").load_state()
    assert saved is not None and saved[1]["step"] == done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = tuner(fake_host, tmp_path / "run").fit(sentiment(80))
    assert again.adapter_sha256 == straight.adapter_sha256
    assert [step["step"] for step in RunFolder(tmp_path / "run").steps()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("more", [{"steps": 12}, {"steps": None, "epochs": 2.4}])
def test_steps_can_be_raised(fake_host: FakeHost, tmp_path: Path, more: dict[str, Any]) -> None:
    """The rate is that of the same step in the longer run; the rise is the first run's."""
    first = tuner(fake_host, tmp_path / "run", warmup=2)
    first.fit(sentiment(80))
    first.complete()
    longer = tuner(fake_host, tmp_path / "run", **(more | {"warmup": 2}))
    assert longer.fit(sentiment(80)).steps == 12
    rates = [step["lr"] for step in RunFolder(tmp_path / "run").steps()]
    assert rates[:6] == [learning_rate(step, 6, 2, 0.02) for step in range(6)]
    assert rates[6:] == [learning_rate(step, 12, 2, 0.02) for step in range(6, 12)]
    with pytest.raises(RunError, match="has made 12 steps; they can be raised, and not lowered to 6"):
        tuner(fake_host, tmp_path / "run", warmup=2).fit(sentiment(80))
    with pytest.raises(RunError, match=r"lr was 0\.02, now 0\.03"):
        tuner(fake_host, tmp_path / "run", warmup=2, steps=20, lr=0.03).fit(sentiment(80))


def test_a_rise_that_was_left_open_stays_as_it_was(fake_host: FakeHost, tmp_path: Path) -> None:
    tuner(fake_host, tmp_path, steps=10).fit(sentiment(80))
    tuner(fake_host, tmp_path, steps=40).fit(sentiment(80))
    rates = [step["lr"] for step in RunFolder(tmp_path).steps()]
    assert rates[10:] == [learning_rate(step, 40, 1, 0.02) for step in range(10, 40)]


def test_a_frozen_run_that_goes_on_asks_for_the_rows_it_lacks(fake_host: FakeHost, tmp_path: Path) -> None:
    tuner(fake_host, tmp_path / "run", method="frozen", steps=2).fit(sentiment(80))
    more = tuner(fake_host, tmp_path / "run", method="frozen", steps=5)
    more.fit(sentiment(80))
    tuner(fake_host, tmp_path / "whole", method="frozen", steps=5).fit(sentiment(80))
    caches = [(tmp_path / name / "frozen.safetensors").read_bytes() for name in ("run", "whole")]
    assert caches[0] == caches[1]


def test_side_is_trained_anew_for_other_epochs(fake_host: FakeHost, tmp_path: Path) -> None:
    side = {"method": "side", "networks": 1, "progress": False, "run": tmp_path}
    Tuner("toy", [Client(fake_host.url, "key")], epochs=1, **side).fit(sentiment(80))
    with pytest.raises(
        RunError, match=r"epochs was 1, now 2\); use another folder: what the host gave is kept at home"
    ):
        Tuner("toy", [Client(fake_host.url, "key")], epochs=2, **side).fit(sentiment(80))


def test_a_folder_without_a_format_is_of_the_first(fake_host: FakeHost, tmp_path: Path) -> None:
    mine = tuner(fake_host, tmp_path)
    mine.fit(sentiment(80))
    expected = mine.predict_proba(["good film"])
    body = json.loads((tmp_path / "run.json").read_text())
    assert body.pop("format") == FORMAT == 1
    del body["plan"]
    (tmp_path / "run.json").write_text(json.dumps(body))
    np.testing.assert_array_equal(Tuner.load(tmp_path, progress=False).predict_proba(["good film"]), expected)
    assert tuner(fake_host, tmp_path, steps=8).fit(sentiment(80)).steps == 8
    (tmp_path / "run.json").write_text(json.dumps(body | {"format": 7}))
    for use in (lambda: Tuner.load(tmp_path), lambda: mine.fit(sentiment(80)), lambda: RunStatus.of(tmp_path)):
        with pytest.raises(RunError, match=r"a run folder of format 7; blindtune .* knows formats up to 1"):
            use()


def test_a_folder_tells_its_state(fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="no run here"):
        RunStatus.of(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists(), "looking makes no folder"
    mine = tuner(fake_host, tmp_path / "run", method="lora")
    mine.fit(sentiment(80))
    found = RunStatus.of(tmp_path / "run")
    assert (found.method, found.step, found.steps, found.finished, found.completed) == ("lora", 6, 6, True, False)
    assert "method lora on toy, 6 of 6 steps, trained; its jobs are not completed" in str(found)
    assert f"job {mine.links[0].job_id} on {fake_host.url}" in str(found)
    mine.complete()
    with RunFolder(tmp_path / "run").locked():
        done = RunStatus.of(tmp_path / "run")
    assert main(["status", str(tmp_path / "run")]) == 0 and "completed as ft:" in capsys.readouterr().out
    assert main(["status", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == list(done.models)
    assert main(["status", str(tmp_path / "nothing")]) == 1 and "no run here" in capsys.readouterr().err
    assert done.completed and "completed as ft:" in str(done) and f"process {os.getpid()} works in it" in str(done)
    longer = tuner(fake_host, tmp_path / "run", method="lora", steps=9)
    longer.fit(sentiment(80))
    assert RunStatus.of(tmp_path / "run").steps == 9
    side = Tuner("toy", [fake_host.url], method="side", networks=1, epochs=2, progress=False, run=tmp_path / "side")
    side.fit(sentiment(80))
    assert "method side on toy, 2 epochs, trained" in str(RunStatus.of(tmp_path / "side"))
