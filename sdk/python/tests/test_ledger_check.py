"""A run's record of what it sent, beside the ledgers of its hosts: call by call, by SHA-256."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import sentiment
from fake_host import Fault
from ledger_host import LedgerHost

from blindtune import Client, ForwardRequest, RetryPolicy, RunError, Tuner
from blindtune.cli import main
from blindtune.client.objects import LedgerEntry
from blindtune.client.sent import SentCall, heard_by, ledger_hash
from blindtune.training.ledger_check import GONE, NO_RECORD, OLDER, SIDE, LedgerCheck, Sides, compare
from blindtune.training.run_folder import RunFolder
from blindtune.training.sent_record import Attempt, SentRecord
from blindtune.training.updates import Updates

SMALL: dict[str, Any] = {"steps": 4, "batch_size": 16, "save_every": 100, "progress": False}
IMPATIENT = RetryPolicy(patience_s=0.0)
MakeHosts = Callable[[int], list[LedgerHost]]


@pytest.fixture
def ledger_hosts() -> Iterator[MakeHosts]:
    made: list[LedgerHost] = []

    def make(count: int) -> list[LedgerHost]:
        made.extend(LedgerHost() for _ in range(count))
        return made[-count:]

    yield make
    for host in made:
        host.close()


@pytest.fixture
def host(ledger_hosts: MakeHosts) -> LedgerHost:
    return ledger_hosts(1)[0]


def tuner(hosts: list[LedgerHost], folder: Path, retry: RetryPolicy | None = None, **settings: Any) -> Tuner:
    return Tuner("toy", [Client(host.url, "k", retry=retry) for host in hosts], run=folder, **(SMALL | settings))


def trained(hosts: list[LedgerHost], folder: Path, **settings: Any) -> Tuner:
    mine = tuner(hosts, folder, **settings)
    mine.fit(sentiment(80))
    return mine


def listed(hosts: list[LedgerHost]) -> int:
    return sum(len(job["ledger"]) for host in hosts for job in host.jobs.values())


def matches(found: LedgerCheck, hosts: list[LedgerHost]) -> None:
    """Everything that the hosts list, and nothing else."""
    assert found.agrees is True, found
    assert found.matching == found.calls == listed(hosts) > 0


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "sent.jsonl").read_text().splitlines()]


def rewrite(folder: Path, lines: list[dict[str, Any]]) -> None:
    (folder / "sent.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int) -> str:
    assert main(["ledger", *words, "--api-key", "k"]) == code
    return capsys.readouterr().out


# What agrees.


@pytest.mark.parametrize(
    ("count", "settings"),
    [
        (1, {"method": "lora"}),
        (1, {"method": "p3eft"}),
        (2, {"method": "p3eft"}),
        (2, {"method": "p3eft", "placement": "sets", "adapter_sets": 2}),
        (1, {"method": "frozen"}),
    ],
)
def test_every_call_of_a_run_matches(
    ledger_hosts: MakeHosts, tmp_path: Path, count: int, settings: dict[str, Any]
) -> None:
    """Also what a finished run asks of its job: adapters and evaluations."""
    hosts = ledger_hosts(count)
    mine = trained(hosts, tmp_path, **settings)
    mine.predict(["good film"])
    found = mine.verify_ledgers()
    matches(found, hosts)
    assert list(found.hosts) == [host.url for host in hosts]
    assert str(found).splitlines()[-1] == f"{found.calls} of {found.calls} calls match by SHA-256"


def test_the_record_is_private_and_has_hashes_and_sizes_alone(host: LedgerHost, tmp_path: Path) -> None:
    data = sentiment(80)
    mine = tuner([host], tmp_path, method="frozen")
    mine.fit(data)
    path = tmp_path / "sent.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    words = {word for row in data.texts for word in row.split() if len(word) > 3}
    assert "awful" in words and not any(word in text for word in words)
    (call, *_) = [line for line in lines_of(tmp_path) if "sha256" in line]
    assert call.keys() == {"call", "host", "job", "kind", "seq", "bytes", "sha256"}
    assert (call["kind"], call["seq"], len(call["sha256"])) == ("evaluate", None, 64)


def test_side_makes_no_call_that_a_ledger_has(
    host: LedgerHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = Tuner("toy", [Client(host.url, "k")], run=tmp_path, method="side", networks=1, epochs=1, progress=False)
    mine.fit(sentiment(80))
    found = mine.verify_ledgers()
    assert (found.jobs, found.calls, found.agrees, found.notes) == ((), 0, None, (SIDE,))
    assert told(capsys, "verify", str(tmp_path), code=0).splitlines() == [SIDE, "no call to compare"]


def test_of_method_auto_every_candidate_is_compared(host: LedgerHost, tmp_path: Path) -> None:
    how: dict[str, Any] = {"method": "auto", "accept": "hurdle", "wanted": 1.0, "networks": 1, "epochs": 1}
    mine = Tuner("toy", [Client(host.url, "k")], run=tmp_path, progress=False, **how)
    data = sentiment(120)
    mine.fit(replace(data, labels=np.random.default_rng(0).permutation(data.labels)))
    found = mine.verify_ledgers()
    matches(found, [host])
    assert SIDE in found.notes and len(found.jobs) >= 1


def test_a_call_that_is_sent_again_is_one_call(host: LedgerHost, tmp_path: Path) -> None:
    """Answers are lost after the work and before it, and the host forgets a forward; no bytes differ for all that."""
    host.faults = [
        Fault("/forward$", cut=True, after=True),
        Fault("/forward$", status=503),
        Fault("/backward$", cut=True, after=True),
        Fault("/backward$", status=409, body={"error": {"code": "forward_lost", "message": "lost"}}),
    ]
    fast = RetryPolicy(first_wait_s=0.001, longest_backoff_s=0.001)
    mine = tuner([host], tmp_path, fast, method="lora")
    mine.fit(sentiment(80))
    host.faults = [Fault("/forward$", cut=True, after=True), Fault("/forward$", status=503)]
    mine.predict(["good film"])
    evaluations = [entry for entry in host.ledger("ftjob-0") if entry["kind"] == "evaluate"]
    assert len(evaluations) == 2, "the host did that one twice"
    found = mine.verify_ledgers()
    matches(found, [host])
    assert found.jobs[0].refused == 1 and found.jobs[0].unanswered >= 1
    assert "1 attempt was refused by the host" in str(found)


def test_a_run_that_was_killed_matches_when_it_has_gone_on(
    host: LedgerHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies in its third step, with an answer that it did not read and half a line; its steps are made again."""
    real, calls = Updates.add, [0]

    def dies(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            raise RuntimeError("killed")
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Updates, "add", dies)
        with pytest.raises(RuntimeError, match="killed"):
            trained([host], tmp_path, method="lora")
    lines = (tmp_path / "sent.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["status"] == 200
    (tmp_path / "sent.jsonl").write_text("\n".join(lines[:-1]) + '\n{"call": "')
    mine = trained([host], tmp_path, method="lora")
    matches(mine.verify_ledgers(), [host])
    assert listed([host]) == 2 * (3 + 4), "six calls before, and every step again"


def test_a_job_that_replaces_one_that_is_over_is_compared_beside_it(host: LedgerHost, tmp_path: Path) -> None:
    mine = trained([host], tmp_path, method="lora")
    mine.complete()
    longer = trained([host], tmp_path, method="lora", steps=6)
    found = longer.verify_ledgers()
    matches(found, [host])
    assert [job.job for job in found.jobs] == ["ftjob-0", "ftjob-1"]
    host.ledger("ftjob-1").insert(0, dict(host.ledger("ftjob-1")[0], kind="evaluate", seq=None))
    (one,) = longer.verify_ledgers().differences
    assert one.what == "not in the record", "the new job's record is whole too"


def test_a_run_may_go_on_while_it_is_compared(host: LedgerHost, tmp_path: Path) -> None:
    """A call is begun and listed while the ledger is asked for, and one is answered after that."""
    mine = trained([host], tmp_path, method="lora")
    record, entries = SentRecord(mine.folder), host.ledger("ftjob-0")

    def goes_on() -> None:
        host.meanwhile = lambda: None
        record.on(0)(SentCall("ftjob-0", "forward", 9, 3, "ab"))
        entries.append(dict(entries[0], seq=9, bytes=3, sha256="ab", id="8"))
        record.on(0)(SentCall("ftjob-0", "backward", 10, 3, "cd"))(200)

    host.meanwhile = goes_on
    found = mine.verify_ledgers()
    assert (found.differences, found.matching) == ((), 9)


def test_what_must_be_listed_was_answered_before_the_ledger_was_read() -> None:
    call = SentCall("j", "evaluate", None, 3, "ab")
    early, late = Attempt("1", 0, call, None), Attempt("1", 0, call, 200)
    assert compare("h", "j", Sides([early], [late], [], True)).differences == ()
    assert [one.what for one in compare("h", "j", Sides([late], [late], [], True)).differences] == ["not in the ledger"]
    entry = LedgerEntry.read({"id": "1", "kind": "evaluate", "seq": None, "bytes": 3, "sha256": "ab", "created_at": 1})
    assert compare("h", "j", Sides([], [early], [entry], True)).matching == 1


# What does not.


def test_what_differs_is_named_with_both_hashes(
    ledger_hosts: MakeHosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = ledger_hosts(2)
    trained(hosts, tmp_path, method="p3eft")
    entries = hosts[1].ledger("ftjob-0")
    changed, gone, extra = entries[1], entries.pop(4), dict(entries[0], seq=99, sha256="ee" * 32, id="77")
    sent = {(line["host"], line["seq"]): line["sha256"] for line in lines_of(tmp_path) if "sha256" in line}
    changed["sha256"] = "dd" * 32
    entries.append(extra)
    out = told(capsys, "verify", str(tmp_path), code=3).splitlines()
    assert out[0] == f"{hosts[1].url}, job ftjob-0:"
    named = [" ".join(line.split()) for line in out[1:10]]
    assert named == [
        "seq 2 backward: differs",
        f"sent {sent[1, 2]}, {changed['bytes']} bytes",
        f"listed {'dd' * 32}, {changed['bytes']} bytes",
        "seq 99 forward: not in the record",
        "sent nothing",
        f"listed {'ee' * 32}, {extra['bytes']} bytes",
        "seq 5 forward: not in the ledger",
        f"sent {gone['sha256']}, {gone['bytes']} bytes",
        "listed nothing",
    ]
    starts = [line.split(":")[0] for line in out[10:13]]
    assert starts == ["differs", "not in the record", "not in the ledger"], "what each of them means"
    assert out[-4:] == [
        f"{hosts[0].url}: 8 of 8 calls match by SHA-256",
        f"{hosts[1].url}: 6 of 9 calls match by SHA-256; 3 do not agree",
        "THE LEDGERS DO NOT AGREE WITH WHAT THE RUN SENT",
        "14 of 17 calls match by SHA-256; 3 do not agree",
    ]
    found = json.loads(told(capsys, "verify", str(tmp_path), "--json", code=3))
    assert (found["agrees"], found["complete"], found["calls"], found["matching"]) == (False, True, 17, 14)
    (job,) = found["hosts"][1]["jobs"]
    assert [one["what"] for one in job["differences"]] == starts
    assert job["differences"][0]["sent_sha256"] == sent[1, 2] and job["differences"][0]["listed_sha256"] == "dd" * 32


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda lines: lines[3].update(sha256="0" * 64), ["differs"]),
        (lambda lines: lines[3].update(bytes=1), ["differs"]),
        (lambda lines: lines[3].update(kind="forward"), ["not in the record", "not in the ledger"]),
        (lambda lines: lines[3].update(seq=77), ["not in the record", "not in the ledger"]),
        (lambda lines: lines.pop(3), ["not in the record"]),
        (
            lambda lines: (
                lines.append(lines[3] | {"call": "x", "seq": 78}) or lines.append({"call": "x", "status": 200})
            ),
            ["not in the ledger"],
        ),
    ],
)
def test_an_altered_record_is_named(
    host: LedgerHost, tmp_path: Path, change: Callable[[list[dict[str, Any]]], Any], named: list[str]
) -> None:
    mine = trained([host], tmp_path, method="lora")
    lines = lines_of(tmp_path)
    assert (lines[3]["kind"], lines[3]["seq"]) == ("backward", 2)
    change(lines)
    rewrite(tmp_path, lines)
    assert [one.what for one in mine.verify_ledgers().differences] == named


def test_a_record_of_a_host_that_the_run_has_not_is_no_match(host: LedgerHost, tmp_path: Path) -> None:
    mine = trained([host], tmp_path, method="lora")
    rewrite(tmp_path, [line | ({"host": -1} if "host" in line else {}) for line in lines_of(tmp_path)])
    found = mine.verify_ledgers()
    assert (found.matching, found.agrees) == (0, False) and "the run has no such host" in str(found)


def test_an_unnumbered_call_that_was_changed_is_one_difference(host: LedgerHost, tmp_path: Path) -> None:
    mine = trained([host], tmp_path, method="frozen")
    host.ledger("ftjob-0")[0]["sha256"] = "cc" * 32
    (one,) = mine.verify_ledgers().differences
    assert (one.what, one.kind, one.seq, one.listed_sha256) == ("differs", "evaluate", None, "cc" * 32)


def test_a_call_that_is_listed_twice_is_named(host: LedgerHost, tmp_path: Path) -> None:
    mine = trained([host], tmp_path, method="lora")
    entries = host.ledger("ftjob-0")
    entries.append(dict(entries[2], id="50"))
    assert [one.what for one in mine.verify_ledgers().differences] == ["not in the record"]


def test_what_others_send_to_the_job_is_named(host: LedgerHost, tmp_path: Path) -> None:
    mine = trained([host], tmp_path, method="lora")
    Client(host.url, "k").forward("ftjob-0", ForwardRequest(texts=["another"], train=False))
    (one,) = mine.verify_ledgers().differences
    assert (one.what, one.kind) == ("not in the record", "evaluate")


# What cannot be compared.


def test_a_run_of_before_the_record_says_so_and_goes_on_with_one(
    host: LedgerHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained([host], tmp_path, method="lora")
    (tmp_path / "sent.jsonl").unlink()
    out = told(capsys, "verify", str(tmp_path), code=1).splitlines()
    assert f"  8 calls cannot be compared: {NO_RECORD}" in out
    assert out[-2].startswith("NOT KNOWN WHETHER THE LEDGERS AGREE")
    assert out[-1] == "0 of 8 calls match by SHA-256; 8 could not be compared"
    found = trained([host], tmp_path, method="lora", steps=6).verify_ledgers()
    assert (found.matching, found.not_compared, found.differences) == (4, 8, ())
    assert found.jobs[0].why == OLDER and not found.agrees
    host.ledger("ftjob-0").append(dict(host.ledger("ftjob-0")[0], seq=50, id="50"))
    found = Tuner.load(tmp_path, [Client(host.url, "k")], progress=False).verify_ledgers()
    assert [one.what for one in found.differences] == ["not in the record"], "what is new is compared"


def test_a_job_that_is_gone_and_a_host_that_is_away_are_no_match(
    ledger_hosts: MakeHosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = ledger_hosts(2)
    trained(hosts, tmp_path, method="p3eft")
    hosts[0].lost.add("ftjob-0")
    hosts[1].faults = [Fault("/ledger$", status=403, body={"error": {"message": "no scope jobs:read"}}, times=9)]
    out = told(capsys, "verify", str(tmp_path), code=1)
    assert f"8 calls cannot be compared: {GONE}" in out and "no scope jobs:read" in out
    assert out.splitlines()[-1] == "0 of 16 calls match by SHA-256; 16 could not be compared"
    found = json.loads(told(capsys, "verify", str(tmp_path), "--json", code=1))
    assert (found["agrees"], found["complete"], found["not_compared"]) == (False, False, 16)
    hosts[1].faults, hosts[1].ledger("ftjob-0")[0]["sha256"] = [], "aa" * 32
    assert "1 do not agree" in told(capsys, "verify", str(tmp_path), code=3), "a difference counts for more"


def test_a_run_whose_record_cannot_be_written_trains_and_says_so(
    host: LedgerHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sent.jsonl").mkdir()
    mine = trained([host], tmp_path, method="lora")
    assert [r.message for r in caplog.records if "sent.jsonl cannot be written" in r.message] != []
    (tmp_path / "sent.jsonl").rmdir()
    assert mine.verify_ledgers().not_compared == 8


def test_a_folder_without_a_run_and_too_few_hosts_are_refused(
    ledger_hosts: MakeHosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = ledger_hosts(2)
    assert main(["ledger", "verify", str(tmp_path / "none")]) == 1
    assert "no run here" in capsys.readouterr().err and not (tmp_path / "none").exists()
    mine = trained(hosts, tmp_path / "run", method="p3eft")
    assert main(["ledger", "verify", str(tmp_path / "run"), "--host", hosts[0].url]) == 2
    assert "--host: the run has 2 hosts, not 1" in capsys.readouterr().err
    mine.clients = mine.clients[:1]
    with pytest.raises(RunError, match="the run has 2 hosts, not 1"):
        mine.verify_ledgers()


# Show.


def test_a_ledger_is_shown_of_a_run_and_of_a_job(
    ledger_hosts: MakeHosts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = ledger_hosts(2)
    trained(hosts, tmp_path, method="p3eft")
    rows = json.loads(told(capsys, "show", str(tmp_path), "--json", code=0))
    assert [(row["host"], row["seq"]) for row in rows] == [(host.url, seq) for host in hosts for seq in range(1, 9)]
    assert rows[1]["tensors"] == {"s.0.0": [16, 16]} and len(rows[1]["sha256"]) == 64
    out = told(capsys, "show", str(tmp_path), code=0)
    words = [line.split() for line in out.splitlines()]
    sizes = {kind: sum(row["bytes"] for row in rows if row["kind"] == kind) for kind in ("forward", "backward")}
    totals = [["forward", "8", str(sizes["forward"])], ["backward", "8", str(sizes["backward"])]]
    assert all(line in words for line in [*totals, ["all", "16", str(sum(sizes.values()))]])
    assert rows[0]["sha256"] in out
    of_job = json.loads(told(capsys, "show", "ftjob-0", "--host", hosts[0].url, "--json", code=0))
    assert of_job == rows[:8]
    hosts[0].lost.add("ftjob-0")
    assert main(["ledger", "show", str(tmp_path), "--json", "--api-key", "k"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == rows[8:] and GONE in shown.err
    assert main(["ledger", "show", "ftjob-9", "--host", hosts[0].url]) == 2
    assert "there is no job ftjob-9" in capsys.readouterr().err


# The record.


def test_what_is_hashed_is_kind_parameters_and_body(host: LedgerHost) -> None:
    """As it goes over the wire: of a call in JSON the step number is in the body, and there are no parameters."""
    assert ledger_hash("forward", "seq=1", b"body") == hashlib.sha256(b"forward\0seq=1\0body").hexdigest()
    heard: list[SentCall] = []
    statuses: list[int | None] = []

    def listener(call: SentCall) -> Callable[[int | None], None]:
        heard.append(call)
        return statuses.append

    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(400 if request.url.path.endswith("metrics") else 200, json={"id": "c"})

    client = Client(host.url, "k", transport=httpx.MockTransport(answer))
    with heard_by(listener):
        client.forward("j", ForwardRequest(texts=["one"], seq=7, theta={0: np.ones(2, np.float32)}))
        client.forward("j", ForwardRequest(rows=np.arange(3), train=False))
        client.put_adapter("j", 1, np.ones(2, np.float32))
        client.optim_step("j", {"seq": 8, "lr": 0.1})
        client.jobs.checkpoints.create("j")
        with pytest.raises(Exception, match="400"):
            client.jobs.metrics("j", 1, {"a": 0.5})
        client.jobs.retrieve("j")
    client.put_adapter("j", 1, np.ones(2, np.float32))
    assert [(call.kind, call.seq) for call in (heard[0], heard[3])] == [("forward", 7), ("optim_step", 8)]
    others = [(call.kind, call.seq) for call in (*heard[1:3], *heard[4:])]
    assert others == [(kind, None) for kind in ("evaluate", "put_adapter", "checkpoint", "metrics")]
    assert statuses == [200, 200, 200, 200, 200, 400]
    query = seen[1].url.query.decode()
    expected = [
        ("forward", ""),
        ("forward", query),
        ("put_adapter", "1"),
        ("optim_step", ""),
        ("checkpoint", ""),
        ("metrics", ""),
    ]
    assert query.startswith("adapters=all&")
    for call, request, (kind, parameters) in zip(heard, seen, expected, strict=False):
        assert (call.job, call.bytes) == ("j", len(request.content))
        assert call.sha256 == ledger_hash(kind, parameters, request.content)


def test_lines_that_are_no_lines_are_left_out(tmp_path: Path) -> None:
    record = SentRecord(RunFolder(tmp_path))
    assert record.read().attempts == ()
    record.opened(0, "j")
    record.on(0)(SentCall("j", "forward", 1, 3, "ab"))(200)
    record.on(1)(SentCall("k", "forward", 1, 3, "ab"))
    whole = record.path.read_text()
    for noise in (
        "[]",
        "7",
        "null",
        '{"call": "z", "status": 200}',
        '{"opened": "j"}',
        '{"sha256": "a", "host": 0}',
        '{"ca',
    ):
        with record.path.open("a") as file:
            file.write(f"{noise}\n")
    record.path.write_text(record.path.read_text().removesuffix("\n"))
    record.on(1)(SentCall("k", "forward", 2, 3, "ab"))
    found = record.read()
    assert [(one.host, one.call.seq, one.status) for one in found.attempts] == [(0, 1, 200), (1, 1, None), (1, 2, None)]
    assert found.jobs == {(0, "j"): True, (1, "k"): False} and record.path.read_text().startswith(whole)
