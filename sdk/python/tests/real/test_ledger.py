"""`blindtune ledger verify` on real hosts: every call matches, and what was altered on either side is named."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from blindtune import ForwardRequest, Tuner
from blindtune.cli import main

from .conftest import RealHost
from .test_cli import STEPS, _kill_after_steps, train
from .test_training import notes, tuner


def verified(capsys: pytest.CaptureFixture[str], hosts: list[RealHost], run: Path, code: int) -> dict[str, Any]:
    """What the command says of a run as JSON."""
    keys = [word for host in hosts for word in ("--api-key", host.api_key)]
    capsys.readouterr()
    assert main(["ledger", "verify", str(run), *keys, "--json"]) == code
    return dict(json.loads(capsys.readouterr().out))


def altered(run: Path, seq: int) -> tuple[str, str]:
    """Another hash in the record of the first host's call number `seq`; the two hashes."""
    lines = [json.loads(line) for line in (run / "sent.jsonl").read_text().splitlines()]
    (line,) = [line for line in lines if (line.get("host"), line.get("seq")) == (0, seq)]
    was, line["sha256"] = line["sha256"], "0" * 64
    (run / "sent.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return was, "0" * 64


def test_all_calls_of_two_hosts_match_and_what_is_altered_is_named(
    hosts: list[RealHost], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps, adapters, texts in JSON; then the run's record is changed; then the second host has a call more."""
    clients, run = [host.client() for host in hosts], tmp_path / "run"
    mine = tuner(clients, method="p3eft", steps=4, run=run)
    mine.fit(notes(40))
    mine.predict(["the man is well again"])
    found = mine.verify_ledgers()
    jobs = mine.summary()["jobs"]
    sizes = [len(list(client.jobs.ledger(job))) for client, job in zip(clients, jobs, strict=True)]
    assert [sum(job.matching for job in of_host) for of_host in found.hosts.values()] == sizes
    assert found.agrees and min(sizes) >= 8 and found.matching == found.calls == sum(sizes)
    assert {entry.kind for entry in clients[0].jobs.ledger(jobs[0])} == {
        "forward",
        "backward",
        "put_adapter",
        "evaluate",
    }
    assert verified(capsys, hosts, run, code=0)["matching"] == sum(sizes)
    mine.complete()
    assert verified(capsys, hosts, run, code=0)["matching"] == sum(sizes) + 2, "each host was left the adapters"

    was, now = altered(run, seq=4)
    told = verified(capsys, hosts, run, code=3)
    assert [host["differing"] for host in told["hosts"]] == [1, 0]
    (one,) = told["hosts"][0]["jobs"][0]["differences"]
    assert (one["what"], one["kind"], one["seq"]) == ("differs", "backward", 4)
    assert (one["sent_sha256"], one["listed_sha256"]) == (now, was)


def test_a_call_that_somebody_else_sent_to_the_job_is_named(
    hosts: list[RealHost], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tuner([host.client() for host in hosts], method="p3eft", steps=2, run=tmp_path / "run")
    mine.fit(notes(40))
    before = verified(capsys, hosts, tmp_path / "run", code=0)
    job = mine.summary()["jobs"][1]
    hosts[1].client().forward(job, ForwardRequest(texts=["a text of another"], train=False, adapters="none", base=True))
    told = verified(capsys, hosts, tmp_path / "run", code=3)
    (one,) = told["hosts"][1]["jobs"][0]["differences"]
    assert (one["what"], one["kind"], one["sent_sha256"]) == ("not in the record", "evaluate", None)
    (entry,) = [entry for entry in hosts[1].client().jobs.ledger(job) if entry.sha256 == one["listed_sha256"]]
    assert [tensor["name"] for tensor in entry.tensors] == ["texts"]
    assert told["matching"] == before["matching"] == told["calls"] - 1


def test_frozen_matches_and_a_deleted_job_is_no_match(
    hosts: list[RealHost], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tuner([hosts[0].client()], method="frozen", steps=3, run=tmp_path / "run")
    mine.fit(notes(40))
    calls = verified(capsys, hosts[:1], tmp_path / "run", code=0)["matching"]
    assert calls >= 1
    (job,) = mine.summary()["jobs"]
    hosts[0].client().jobs.cancel(job)
    assert verified(capsys, hosts[:1], tmp_path / "run", code=0)["matching"] == calls
    hosts[0].client().jobs.delete(job)
    told = verified(capsys, hosts[:1], tmp_path / "run", code=1)
    assert (told["agrees"], told["matching"], told["not_compared"]) == (False, 0, calls)
    assert "no such job" in told["hosts"][0]["jobs"][0]["why"]


def test_a_killed_client_that_went_on_matches(
    hosts: list[RealHost], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps that it made again, and a call of which it never read the answer."""
    data, run, rows = tmp_path / "train.tsv", tmp_path / "run", notes(48)
    lines = [f"{text}\t{label}" for text, label in zip(rows.texts, rows.labels, strict=True)]
    data.write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")
    _kill_after_steps(train(hosts, data, run), run, 3)
    subprocess.run(train(hosts, data, run), check=True, capture_output=True, timeout=300)
    told = verified(capsys, hosts, run, code=0)
    assert told["agrees"] and told["matching"] == told["calls"] >= 2 * 2 * STEPS


def test_a_killed_host_lists_each_call_once(own_host: RealHost, tmp_path: Path) -> None:
    mine = tuner([own_host.client()], method="lora", steps=3, run=tmp_path / "run")
    mine.fit(notes(40))
    own_host.kill()
    own_host.start()
    longer = Tuner.load(tmp_path / "run", [own_host.client()], progress=False)
    longer.predict(["the man is well again"])
    found = longer.verify_ledgers()
    assert found.agrees and found.matching >= 7, found
