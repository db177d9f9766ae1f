"""Method auto against a real host: it stays with side, goes on where that is accepted, and what it chose comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from conftest import same_secret

from blindtune import Tuner
from blindtune.export import load_export
from blindtune.training.auto import AutoTuner

from .conftest import MODEL, RealHost
from .test_training import notes

POOR: dict[str, Any] = {"method": "auto", "wanted": 1.0, "epochs": 1, "networks": 1, "lr": 1e-7}


def test_it_goes_on_to_p3eft_where_that_is_accepted(hosts: list[RealHost], tmp_path: Path) -> None:
    client, data, dev = hosts[0].client(), notes(160), notes(80, seed=1)
    jobs = {job.id for job in client.jobs.list()}
    run = same_secret(tmp_path / "run")  # few rows are held out: who wins follows from it
    how: dict[str, Any] = {"run": run, "progress": False}
    blind = Tuner(MODEL, [client], **how, **POOR)
    blind.fit(data)
    assert isinstance(blind, AutoTuner) and not blind.decision.reached and blind.decision.protection == "blind"
    assert {job.id for job in client.jobs.list()} == jobs, "side opens none"
    more = Tuner(MODEL, [client], **how, **POOR, accept="hurdle", steps=24)
    more.fit(data)
    assert isinstance(more, AutoTuner)
    side, p3eft = more.decision.tried
    assert side == blind.decision.tried[0] and (p3eft.score or 0.0) > (side.score or 0.0)
    (made,) = [job for job in client.jobs.list() if job.id not in jobs]
    assert made.protection == "hurdle" == more.summary()["protection"] and made.id == more.summary()["jobs"][0]
    expected = more.predict_proba(dev.texts)
    np.testing.assert_allclose(_loaded(tmp_path, client).predict_proba(dev.texts), expected, atol=1e-5)
    more.export(tmp_path / "out")
    exported = load_export(tmp_path / "out", client)
    np.testing.assert_allclose(exported.predict_proba(dev.texts), expected, atol=1e-5)
    assert exported.settings.method == "p3eft"
    (name,) = more.complete()
    assert name is not None and name.startswith(f"ft:{MODEL}")


def _loaded(folder: Path, client: Any) -> Tuner:
    return Tuner.load(folder / "run", [client], progress=False)
