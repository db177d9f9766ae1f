"""The record of updates keeps the ends of a run, and audits invert one of them by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost, Fault
from test_inversion import DenseJacobian, everything, secrets

from blindtune import P3EFT, Client
from blindtune.arrays import encode
from blindtune.audit import Effort, Recorder, UpdateRecorder, evaluate
from blindtune.audit.inversion import guesses, updates_of
from blindtune.audit.tier3 import within
from blindtune.client.step_calls import ForwardRequest
from blindtune.training.run_folder import RunFolder


def forward_of(recorder: Recorder, step: int, theta: float) -> None:
    request = ForwardRequest(rows=np.array([step]), theta={0: np.full(3, theta, np.float32)}, seq=2 * step + 1)
    recorder.on(0)(request.call("job"), encode({"h.0": np.ones((1, 2), np.float32)}, {"forward_id": f"f{step}"}))


def test_the_first_and_the_last_update_are_kept_and_survive(tmp_path: Path) -> None:
    recorder = UpdateRecorder(RunFolder(tmp_path))
    for step in range(20):
        forward_of(recorder, step, step // 2)  # two batches make an update
    for mine in (recorder, UpdateRecorder(RunFolder(tmp_path))):
        (first,), (last,) = (updates_of(seen, 0, 0) for seen in (mine.first(), mine.last()))
        assert first.rows.tolist() == [0, 1] and (first.before[0], first.after[0]) == (0.0, 1.0)
        assert last.rows.tolist() == [16, 17] and (last.before[0], last.after[0]) == (8.0, 9.0)
        assert len(mine.seen().forwards) == 8 and not mine.seen().forwards[0].activations
    assert len(list((tmp_path / "seen").iterdir())) == 8


class Counted(DenseJacobian):
    """Counts the products that are asked for."""

    products = 0

    def vjp(self, u: np.ndarray) -> np.ndarray:
        self.products += 1
        return super().vjp(u)

    def jvp(self, v: np.ndarray) -> np.ndarray:
        self.products += 1
        return super().jvp(v)


@pytest.mark.parametrize("products", [1, 4, 26, 74, 180])
def test_tier_3_keeps_to_its_bound(products: int) -> None:
    jacobian, (labels, g) = Counted(), secrets()
    found = within(jacobian, everything(DenseJacobian().vjp(g)), 1, products)
    assert jacobian.products <= max(products, 8)
    best = max(f.score for f in (evaluate(x, labels, 2, 0) for x in guesses(found, np.arange(24), 2, "a")) if f)
    assert products < 74 or best > 0.95


@pytest.mark.parametrize(("method", "optimizer"), [("lora", "adamw"), ("lora", "sgd"), ("p3eft", "adamw")])
def test_an_audit_inverts_an_update_by_itself(fake_host: FakeHost, method: str, optimizer: str) -> None:
    settings = {"steps": 6, "batch_size": 24, "lr": 0.02, "progress": False, "optimizer": optimizer}
    tuner = P3EFT("toy", [Client(fake_host.url, "k")], method=method, **settings)
    tuner.fit(sentiment(100))
    report = tuner.audit(sentiment(60, 1), quick=True)
    mine = [f for f in report.findings if f.tier == 3]
    assert [f.name for f in mine] == ["updates/host0/set0/product"] and report.tiers[3] == mine[0].score
    assert next(c for c in report.evidence.channels if c.name.startswith("updates")).status == "measured"
    states = [job["status"] for job in fake_host.jobs.values()]
    assert states[-1] == "cancelled" and states[0] == "running", "the attack's own job is over, the run's is not"


def test_without_a_job_of_its_own_tier_3_is_not_measured_and_the_reason_is_said(fake_host: FakeHost) -> None:
    settings = {"steps": 3, "batch_size": 24, "progress": False}
    tuner = P3EFT("toy", [Client(fake_host.url, "k")], method="lora", **settings)
    tuner.fit(sentiment(100))
    body = {"error": {"message": "two jobs are open", "type": "x", "param": None, "code": "too_many_jobs"}}
    fake_host.faults.append(Fault(r"fine_tuning/jobs$", 403, body=body, times=99))
    report = tuner.audit(sentiment(60, 1), quick=True)
    channel = next(c for c in report.evidence.channels if c.name.startswith("updates"))
    assert 3 not in report.tiers and channel.status == "not measured" and "two jobs are open" in channel.remark
    left_out = tuner.audit(sentiment(60, 1), effort=Effort(False, products=0, doses=None, active=0))
    assert 3 not in left_out.tiers and "left out" in left_out.describe()
