"""Looking at finished runs of a project that may run two jobs: the third look works as the first did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from blindtune import Tuner
from blindtune.export import load_export

from .conftest import RealHost
from .test_training import notes, tuner

TEXTS = ["the man is well again", "the woman cannot sleep", "nothing of the kind"]
LONG = "the man is well again " * 400
LOOK = "import sys; from blindtune import Tuner; print(Tuner.load(sys.argv[1], progress=False).predict(sys.argv[2:]))"


def statuses(host: RealHost) -> list[str]:
    return [job.status for job in host.client().jobs.list()]


def look(host: RealHost, run: Path, *texts: str) -> str:
    """What another process predicts, and what it says to that."""
    command = [sys.executable, "-c", LOOK, str(run), *texts]
    environment = os.environ | {"BLINDTUNE_API_KEY": host.api_key}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_processes_beyond_the_limit_leave_no_job_and_say_the_same(own_host: RealHost, tmp_path: Path) -> None:
    own_host.stop()
    own_host.running_per_project = 2
    own_host.start()
    mine = tuner([own_host.client()], steps=4, run=tmp_path / "run")
    mine.fit(notes(40))
    before = mine.predict_proba(TEXTS)
    names = mine.complete()
    again = Tuner.load(tmp_path / "run", [own_host.client()], progress=False)
    np.testing.assert_allclose(again.predict_proba(TEXTS), before, atol=1e-4)
    said = {look(own_host, tmp_path / "run", *TEXTS) for _ in range(4)}
    assert said == {f"{mine.predict(TEXTS)}\n"} and statuses(own_host) == ["succeeded"]
    again.export(tmp_path / "out")
    exported = load_export(tmp_path / "out", own_host.client())
    np.testing.assert_allclose(exported.predict_proba(TEXTS), before, atol=1e-4)
    assert statuses(own_host) == ["succeeded"]
    assert "1 of 1 texts are longer than the 512 tokens that" in look(own_host, tmp_path / "run", LONG)
    assert statuses(own_host) == ["cancelled", "succeeded"], "a text longer than the model takes needs a job"
    own_host.client().models.delete(str(names[0]))
    assert look(own_host, tmp_path / "run", *TEXTS) in said
    assert statuses(own_host) == ["cancelled", "cancelled", "succeeded"], "as one that was deleted does"
