"""`blindtune frontier` against real hosts: a small grid, reported, with nothing left running on the hosts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blindtune import P3EFT
from blindtune.cli import main
from blindtune.frontier import Report
from blindtune.frontier.summary import costs, summarize

from .conftest import MODEL, RealHost
from .test_training import notes

GRID = {
    "base": {"steps": 8, "batch_size": 8, "warmup": 2, "ramp_steps": 4},
    "points": [
        {"name": "frozen", "settings": {"method": "frozen"}},
        {"name": "lora", "settings": {"method": "lora"}},
        {"name": "p3eft", "hosts": 2, "settings": {"method": "p3eft", "adapter_sets": 2}},
    ],
}


def write(path: Path, count: int, seed: int) -> Path:
    rows = notes(count, seed)
    lines = [f"{text}\t{rows.label_names[label]}" for text, label in zip(rows.texts, rows.labels, strict=True)]
    path.write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")
    return path


def test_a_small_grid_on_two_hosts(hosts: list[RealHost], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "grid.json").write_text(json.dumps(GRID))
    data = ["--data", str(write(tmp_path / "train.tsv", 64, 0)), "--dev", str(write(tmp_path / "dev.tsv", 48, 1))]
    where = [word for host in hosts for word in ("--host", host.url, "--api-key", host.api_key)]
    words = ["frontier", *data, "--model", MODEL, *where, "--out", str(tmp_path / "out")]
    words += ["--grid", str(tmp_path / "grid.json"), "--budget", "30m", "--quiet", "--effort", "quick"]
    assert main(words) == 0
    found = Report.read(tmp_path / "out" / "frontier.json")
    assert [p.name for p in found.points] == ["frozen", "lora", "p3eft"] and not found.left_out
    _frozen, lora, p3eft = found.points
    assert lora.versions["host"] not in ("", "unknown")
    assert max(leak.score for leak in lora.tiers.values()) >= 0.95, "a gradient in clear gives the labels away"
    assert p3eft.settings["shares"] == 2 and p3eft.bytes_up > lora.bytes_up
    (cost,) = costs(summarize(found.points))
    assert cost.name == "p3eft" and cost.bytes_up > 2
    for secret in (hosts[0].api_key, hosts[1].api_key):
        assert all(
            secret not in (tmp_path / "out" / f"frontier.{kind}").read_text() for kind in ("json", "csv", "html")
        )
    _hosts_are_left_alone(hosts, tmp_path / "out" / "points")
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == [p.to_dict() for p in found.points], "nothing is repeated"


def _hosts_are_left_alone(hosts: list[RealHost], points: Path) -> None:
    """The grid's jobs are over, and a run folder still predicts."""
    (run,) = points.glob("p3eft*/run")
    about = json.loads((run / "run.json").read_text())
    for host, entry in zip(hosts, about["hosts"], strict=True):
        assert not host.client().jobs.retrieve(entry["job_id"]).open
    tuner = P3EFT.load(run, [host.client() for host in hosts], progress=False)
    assert set(tuner.predict(["the man is well again", "the child has strong pain"])) <= {"no", "yes"}
