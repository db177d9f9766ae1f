"""The run board's server: what it tells of run folders, and whom it answers."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost
from frontier_points import leak, point
from frontier_points import report as frontier_report
from ledger_host import LedgerHost
from sklearn.metrics import confusion_matrix, precision_score, recall_score
from starlette.testclient import TestClient

from blindtune import Tuner
from blindtune.board.app import PAGE, Board
from blindtune.board.curves import MOST_POINTS, leak_charts, training_charts
from blindtune.board.folders import find
from blindtune.board.hosts import Hosts
from blindtune.board.runs import Folders
from blindtune.cli import board as command
from blindtune.cli import main
from blindtune.data import Dataset
from blindtune.errors import RunError
from blindtune.training.folder_lock import locked

TOKEN = "a-token"
SMALL: dict[str, Any] = {"steps": 6, "batch_size": 16, "progress": False}
Get = Callable[..., Any]


def client(root: Path, hosts: Hosts | None = None, token: str = TOKEN) -> TestClient:
    app = Board(root, TOKEN, hosts).app()
    return TestClient(app, base_url="http://127.0.0.1:8091", headers={"authorization": f"Bearer {token}"})


def trained(host: FakeHost, folder: Path, data: Dataset | None = None, **settings: Any) -> Tuner:
    """A finished run with its audit, as `blindtune train` leaves it."""
    tuner = Tuner("toy", [host.url], api_keys="key", run=folder, **(SMALL | settings))
    rows, dev = sentiment(80) if data is None else data, sentiment(40, seed=1)
    result = tuner.fit(rows, dev)
    found = tuner.audit(dev, quick=True)
    body = tuner.summary() | {"fit": result.to_dict(), "dev": result.dev_scores, "leak": found.to_dict()}
    tuner.folder.write_json("report.json", body | {"rows": len(rows)})
    return tuner


@pytest.fixture
def ledger_host() -> Iterator[LedgerHost]:
    host = LedgerHost()
    yield host
    host.close()


@pytest.fixture
def root(fake_host: FakeHost, tmp_path: Path) -> Path:
    trained(fake_host, tmp_path / "runs" / "first", method="frozen")
    return tmp_path / "runs"


def rows(root: Path) -> dict[str, Any]:
    return {row["id"]: row for row in client(root).get("/api/runs").json()["runs"]}


def as_csv(data: Dataset, file: Path) -> Path:
    lines = [f"{text},{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    file.write_text("\n".join(["text,label", *lines]) + "\n")
    return file


def evaluated(asked: TestClient, name: str, **body: str) -> dict[str, Any]:
    """The answer once the evaluation is over."""
    begun = asked.post("/api/run/quality", params={"name": name}, json=body)
    assert begun.status_code == 202, begun.text
    for thread in threading.enumerate():
        if thread.name.startswith("board-"):
            thread.join(60)
    found: dict[str, Any] = asked.get("/api/run/quality", params={"name": name}).json()
    return found


# Whom it answers.


@pytest.mark.parametrize("path", ["/api/runs", "/api/run?name=first", "/api/points", "/api/nothing"])
def test_data_is_for_who_has_the_token(root: Path, path: str) -> None:
    assert client(root, token="another").get(path).status_code == 401
    assert client(root, token="").get(path).status_code == 401
    answer = client(root).get(path)
    assert answer.status_code == (404 if path == "/api/nothing" else 200)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9000", 200),
        ("127.0.0.1.evil.example", 403),
        ("evil.example:8091", 403),
        ("", 403),
    ],
)
def test_another_name_is_refused_though_the_token_is_right(root: Path, host: str, status: int) -> None:
    for path in ("/", "/api/runs"):
        assert client(root).get(path, headers={"host": host}).status_code == status


@pytest.mark.parametrize("name", ["..", "../runs/first", "/etc", "first/../first", ".", "", "first/secret", "nothing"])
def test_a_name_that_leads_elsewhere_is_no_run(root: Path, name: str) -> None:
    for part in ("", "/sent", "/card", "/quality"):
        answer = client(root).get(f"/api/run{part}", params={"name": name})
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_such_run")
    assert client(root).get("/assets/../app.py").status_code == 404
    assert client(root).get("/assets/%2e%2e/%2e%2e/app.py").status_code == 404


def test_every_answer_has_the_strict_policy(root: Path) -> None:
    (script,) = (PAGE / "assets").glob("*.js")
    for path in ("/", f"/assets/{script.name}", "/api/runs", "/nothing"):
        headers = client(root).get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


def test_the_page_is_small_and_asks_no_other_origin() -> None:
    scripts = [file.read_bytes() for file in (PAGE / "assets").glob("*.js")]
    assert sum(len(gzip.compress(script, 9)) for script in scripts) <= 80_000
    page = (PAGE / "board.html").read_text()
    assert re.findall(r"""(?:src|href)="([^"]*)""", page) and "//" not in re.sub(r"<!doctype.*?>", "", page)


# What it tells of runs.


def test_a_finished_run_is_told_by_its_report(root: Path) -> None:
    report = json.loads((root / "first/report.json").read_text())
    row = rows(root)["first"]
    assert (row["state"], row["method"], row["protection"]) == ("finished", "frozen", "blind")
    assert row["score"]["value"] == report["dev"]["accuracy"] and row["score"]["on"] == "dev rows"
    assert row["leak"]["words"] == "blind: no limit applies" and row["leak"]["limit"] is None
    assert (row["steps"], row["planned"], len(row["hosts"])) == (6, 6, 1)
    assert row["bytes_up"] == sum(json.loads(line)["bytes_up"] for line in (root / "first/steps.jsonl").open())


def test_a_leak_over_the_limit_is_said_in_words(fake_host: FakeHost, tmp_path: Path) -> None:
    trained(fake_host, tmp_path / "open", method="lora")
    row, run = rows(tmp_path)["open"], client(tmp_path).get("/api/run", params={"name": "open"}).json()
    assert row["leak"]["worst"] > row["leak"]["limit"] == 0.6
    assert (row["leak"]["enough"], row["leak"]["words"]) == (False, "over the limit 0.60")
    assert any(line.startswith("NOT PRIVATE ENOUGH") for line in run["verdict"])
    over = {tier["tier"]: tier["enough"] for tier in run["tiers"]}
    assert over[row["leak"]["tier"]] is False
    assert "--method lora" in run["command"] and f"--host {fake_host.url}" in run["command"]
    assert {one["name"]: one["value"] for one in run["settings"]}["steps"] == "6"


def test_damaged_and_empty_folders_have_a_word_and_hide_no_other(root: Path) -> None:
    shutil.copytree(root / "first", root / "newer")
    about = json.loads((root / "newer/run.json").read_text())
    (root / "newer/run.json").write_text(json.dumps(about | {"format": 99}))
    for name, content in (("cut", '{"model": "to'), ("list", "[]"), ("bare", "{}")):
        (root / name).mkdir()
        (root / name / "run.json").write_text(content)
    shutil.copytree(root / "first", root / "torn")
    (root / "torn/state.safetensors").write_bytes(b"no tensors")
    (root / "nothing").mkdir()
    (root / "begun").mkdir()
    (root / "begun/secret").write_text("00")
    found = rows(root)
    words = {name: found[name]["state_words"] for name in found}
    assert words["cut"] == words["list"] == "run.json is damaged: it is not a JSON object"
    assert "format 99" in words["newer"] and "install a newer version" in words["newer"]
    assert words["nothing"] == words["begun"] and words["begun"].startswith("no run here yet: run.json is missing")
    assert words["bare"].startswith("the run folder is damaged") and words["torn"].startswith(
        "the run folder is damaged"
    )
    states = {name: found[name]["state"] for name in found}
    assert states == dict.fromkeys(("newer", "cut", "list", "bare", "torn"), "damaged") | {
        "nothing": "empty",
        "begun": "empty",
        "first": "finished",
    }
    for name in found:
        assert client(root).get("/api/run", params={"name": name}).json()["state"] == states[name]


def test_a_run_is_running_while_its_folder_is_locked(root: Path) -> None:
    with locked(root / "first"):
        row = rows(root)["first"]
        assert row["state"] == "running" and "process" in row["state_words"]
        refused = client(root).post("/api/run/quality", params={"name": "first"}, json={"data": "dev.csv"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "running")
    assert rows(root)["first"]["state"] == "finished"


def test_a_step_that_is_recorded_appears_and_a_line_cut_by_a_crash_does_not(root: Path) -> None:
    asked, last = client(root), json.loads((root / "first/steps.jsonl").read_text().splitlines()[-1])
    assert asked.get("/api/runs").json()["runs"][0]["steps"] == 6
    with (root / "first/steps.jsonl").open("a") as file:
        file.write(json.dumps(last | {"step": 7, "loss": float("nan")}) + "\n" + '{"step": 8, "lo')
    assert asked.get("/api/runs").json()["runs"][0]["steps"] == 7
    charts = asked.get("/api/run", params={"name": "first"}).json()["charts"]
    loss = next(chart for chart in charts if chart["key"] == "loss")
    assert loss["x"] == list(range(1, 8))


def test_folders_are_found_at_any_depth_by_names_of_their_own(root: Path, fake_host: FakeHost) -> None:
    shutil.copytree(root / "first", root / "study" / "seed 1")
    (root / "study" / "notes").mkdir()
    (root / "study" / "notes" / "text.md").write_text("no run")
    trained(fake_host, root / "both", method="auto", steps=None, batch_size=None)
    names = [one.name for one in find(root)]
    assert names == ["both", "both/side", "first", "study/seed 1"]
    assert [one.name for one in find(root / "first")] == ["first"]
    assert client(root).get("/api/run", params={"name": "study/seed 1"}).json()["state"] == "finished"
    assert client(root).get("/api/run", params={"name": "both"}).json()["charts"], "those of the chosen candidate"


def test_an_empty_folder_has_no_run_and_one_called_points_may_have_some(root: Path, tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    assert find(tmp_path / "fresh") == [] and client(tmp_path / "fresh").get("/api/runs").json()["runs"] == []
    (tmp_path / "fresh/secret").write_text("00")
    assert [one.kind for one in find(tmp_path / "fresh")] == ["empty"], "a training that has just begun"
    shutil.copytree(root / "first", root / "points" / "second")
    assert [one.name for one in find(root)] == ["first", "points/second"]


# Curves.


def test_a_long_run_is_thinned_and_keeps_its_last_step() -> None:
    steps = [{"step": k, "loss": 1.0 / k, "accuracy": 0.5, "seconds": 0.1} for k in range(1, 5001)]
    for chart in training_charts(steps, []):
        assert len(chart["x"]) <= MOST_POINTS + 1 and chart["every"] == 5
        assert (chart["x"][0], chart["x"][-1]) == (1, 5000)
        assert all(len(line["values"]) == len(chart["x"]) for line in chart["lines"])


def test_leaks_are_drawn_with_the_limit_and_of_a_blind_run_without() -> None:
    audits = [
        {"step": 4, "tiers": {"0": 0.6, "1": 0.7}, "weight": 1.0},
        {"step": 8, "tiers": {"0": 0.5}, "weight": 2.0},
    ]
    leaks, weight = leak_charts(audits, 0.6)
    assert [line["label"] for line in leaks["lines"]] == ["tier 0", "tier 1", "limit"]
    assert [line["values"] for line in leaks["lines"]] == [[0.6, 0.5], [0.7, None], [0.6, 0.6]]
    assert weight["lines"][0]["values"] == [1.0, 2.0]
    assert [line["label"] for line in leak_charts(audits, None)[0]["lines"]] == ["tier 0", "tier 1"]
    assert leak_charts([], 0.6) == []


# Quality.


def test_quality_is_that_of_scikit_learn_and_stays_in_the_folder(root: Path, tmp_path: Path) -> None:
    dev = sentiment(60, seed=3)
    file = as_csv(dev, tmp_path / "dev.csv")
    asked = client(root, Hosts(keys=("key",)))
    found = evaluated(asked, "first", data=str(file))
    assert found["state"] == "done", found["message"]
    result, (second, *_) = found["result"], found["result"]["curves"]
    with Tuner.load(root / "first", api_keys="key", progress=False) as tuner:
        said, likely = tuner.predict_with_proba(list(dev.texts))
    guesses = np.array([dev.label_names.index(name) for name in said])
    assert result["report"]["confusion"] == confusion_matrix(dev.labels, guesses).tolist()
    column = dev.label_names.index(second["label"])
    for step in (20, 50, 80):
        hits, alarms, misses, rejections = second["sweep"][step]
        positive, at = dev.labels == column, likely[:, column] >= step / 100
        assert hits + alarms + misses + rejections == len(dev)
        assert hits / (hits + misses) == pytest.approx(recall_score(positive, at))
        if hits + alarms:
            assert hits / (hits + alarms) == pytest.approx(precision_score(positive, at))
    assert (second["roc"][0], second["roc"][-1]) == ([0.0, 0.0], [1.0, 1.0])
    wrong = np.flatnonzero(guesses != dev.labels)
    assert result["errors"] == len(wrong) and {one["row"] for one in result["worst"]} == set(wrong.tolist())
    assert all(one["text"] == [dev.texts[one["row"]]] for one in result["worst"])
    assert stat.S_IMODE((root / "first/quality.json").stat().st_mode) == 0o600
    again = client(root).get("/api/run/quality", params={"name": "first"}).json()
    assert again["result"] == result


def test_what_evaluate_left_is_shown_and_a_later_one_takes_the_place_of_an_earlier(root: Path, tmp_path: Path) -> None:
    asked = client(root, Hosts(keys=("key",)))
    evaluated(asked, "first", data=str(as_csv(sentiment(60, seed=3), tmp_path / "dev.csv")))
    other = as_csv(sentiment(50, seed=4), tmp_path / "other.csv")
    assert main(["evaluate", "--run", str(root / "first"), "--data", str(other), "--api-key", "key"]) == 0
    result = asked.get("/api/run/quality", params={"name": "first"}).json()["result"]
    assert (result["report"]["scores"]["rows"], result["data"], result["curves"]) == (50, None, [])


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_other_tasks_have_their_errors(fake_host: FakeHost, tmp_path: Path, task: str) -> None:
    data = sentiment(60)
    labels: list[Any] = [float(label) + 0.01 * k for k, label in enumerate(data.labels)]
    if task == "multilabel":
        labels = [["good"] if label else ["bad", "sad"] for label in data.labels]
    mine = Dataset.from_lists(data.texts, labels, task=task)
    Tuner("toy", [fake_host.url], run=tmp_path / "runs/one", method="side", epochs=2, progress=False).fit(mine)
    file = tmp_path / "rows.jsonl"
    column = "labels" if task == "multilabel" else "label"
    lines = [json.dumps({"text": t, column: y}) for t, y in zip(data.texts, labels, strict=True)]
    file.write_text("\n".join(lines) + "\n")
    found = evaluated(client(tmp_path / "runs"), "one", data=str(file))
    assert found["state"] == "done", found["message"]
    assert found["result"]["rows_of_the_training"] is True
    assert len(found["result"]["worst"]) == min(50, found["result"]["errors"])
    assert bool(found["result"]["curves"]) is (task == "multilabel")


@pytest.mark.parametrize(
    ("data", "words"),
    [("nowhere.csv", "there is no such file"), ("hf:sst2", "files of this machine alone"), ("", "name a file")],
)
def test_rows_that_cannot_be_read_are_named(root: Path, data: str, words: str) -> None:
    asked = client(root)
    if not data:
        assert words in asked.post("/api/run/quality", params={"name": "first"}, json={"data": ""}).text
        return
    found = evaluated(asked, "first", data=data)
    assert found["state"] == "failed" and words in found["message"]


def test_a_host_that_is_away_or_refuses_is_named_and_ends_no_session(
    root: Path, fake_host: FakeHost, tmp_path: Path
) -> None:
    asked = client(root, Hosts(urls=("http://127.0.0.1:9",), keys=("key",)))
    answer = asked.post("/api/run/try", params={"name": "first"}, json={"text": "good film"})
    assert answer.status_code == 502 and "127.0.0.1:9" in answer.json()["error"]["message"]
    found = evaluated(asked, "first", data=str(as_csv(sentiment(20, seed=3), tmp_path / "dev.csv")))
    assert found["state"] == "failed" and "127.0.0.1:9" in found["message"]


def test_a_text_is_tried_with_all_probabilities(root: Path) -> None:
    said = client(root).post("/api/run/try", params={"name": "first"}, json={"text": "good great film"}).json()
    assert sum(one["probability"] for one in said["labels"]) == pytest.approx(1.0, abs=1e-5)
    assert said["said"] == [said["labels"][0]["label"]]
    assert client(root).post("/api/run/try", params={"name": "first"}, json={"text": " "}).status_code == 400


def test_the_card_is_that_of_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(root / "first")]) == 0
    card = client(root).get("/api/run/card", params={"name": "first"}).json()["card"]
    assert card == capsys.readouterr().out


# What left the house.


def test_what_was_sent_matches_the_ledgers_and_a_changed_record_is_named(
    ledger_host: LedgerHost, tmp_path: Path
) -> None:
    trained(ledger_host, tmp_path / "mine", method="p3eft")
    asked, named = client(tmp_path, Hosts(keys=("key",))), {"params": {"name": "mine"}}
    sent = asked.get("/api/run/sent", **named).json()
    assert sent["calls"] == sum(kind["calls"] for host in sent["hosts"] for kind in host["kinds"]) > 0
    assert sent["bytes"] == sum(kind["bytes"] for host in sent["hosts"] for kind in host["kinds"])
    assert any(line.startswith("never: labels") for line in sent["learns"])
    check = asked.post("/api/run/ledger", **named).json()
    assert check["agrees"] is True and check["matching"] == check["calls"] > 0
    assert check["lines"][-1] == f"{check['calls']} of {check['calls']} calls match by SHA-256"
    record = tmp_path / "mine/sent.jsonl"
    first = next(line["sha256"] for line in map(json.loads, record.open()) if "sha256" in line)
    record.write_text(record.read_text().replace(first, "0" * 64))
    check = asked.post("/api/run/ledger", **named).json()
    (difference,) = [one for host in check["hosts"] for job in host["jobs"] for one in job["differences"]]
    assert check["agrees"] is False and difference["sent_sha256"] == "0" * 64 and difference["listed_sha256"] == first


def test_each_host_gets_its_own_key_and_none_is_shown() -> None:
    hosts = Hosts(("http://a:1", "http://b:2"), ("key-a", "key-b"))
    assert [hosts._key(url) for url in ("b:2", "http://a:1/v1/", "http://c:3")] == ["key-b", "key-a", None]
    assert Hosts((), ("key",))._key("http://anywhere") == "key"
    assert "key-a" not in repr(hosts)
    with pytest.raises(RunError, match="2 keys for 1 hosts"):
        Hosts(("http://a:1",), ("key-a", "key-b"))


# Leak against accuracy.


def test_runs_and_frontiers_of_the_same_data_share_a_plot_and_its_front(root: Path, fake_host: FakeHost) -> None:
    about = json.loads((root / "first/run.json").read_text())
    points = [
        point("weak", 0, accuracy=0.7, tiers={t: leak(0.9) for t in range(5)}),
        point("good", 0, accuracy=0.99, tiers={t: leak(0.55) for t in range(5)}),
    ]
    (root / "tried").mkdir()
    body = frontier_report(points, [("slow", 0, "over budget", "takes 9 min")])
    (root / "tried/frontier.json").write_text(body.to_json())
    (root / "tried/plan.json").write_text(json.dumps({"train_sha256": about["data_sha256"]}))
    (root / "tried/frontier.json").write_text(body.to_json().replace('"minilm"', '"toy"'))
    run = root / "tried/points/good-0/run"
    shutil.copytree(root / "first", run)
    (run / "report.json").unlink()
    (run.parent / "result.json").write_text(json.dumps({"point": points[1].to_dict(), "rest_s": 1.0}))
    Tuner("toy", [fake_host.url], run=root / "bare", method="frozen", **SMALL).fit(sentiment(80))
    row = rows(root)["tried/good-0"]
    assert (row["score"]["value"], row["leak"]["worst"], row["leak"]["words"]) == (0.99, 0.55, "within the limit 0.60")
    assert len(client(root).get("/api/run", params={"name": "tried/good-0"}).json()["tiers"]) == 5
    found = client(root).get("/api/points").json()
    (group,) = found["groups"]
    by_name = {one["name"]: one for one in group["points"]}
    assert set(by_name) == {"first", "tried: weak", "tried: good"}
    assert by_name["tried: good"]["front"] and not by_name["tried: weak"]["front"]
    assert by_name["first"]["run"] == "first" and by_name["tried: good"]["command"].startswith("blindtune train")
    left_out = {one["name"]: one["why"] for one in found["left_out"]}
    assert "not audited" in left_out["bare"] and "over budget" in left_out["tried: slow"]
    assert group["words"][0]["name"] == "tried" and "good" in group["words"][0]["lines"][0]


def test_a_damaged_frontier_hides_no_run(root: Path) -> None:
    (root / "tried").mkdir()
    (root / "tried/frontier.json").write_text("{")
    found = client(root).get("/api/points").json()
    assert [one["name"] for one in found["groups"][0]["points"]] == ["first"]
    assert [one["name"] for one in found["left_out"]] == ["tried"]


# The command.


def test_a_folder_that_is_not_there_and_a_port_in_use_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["board", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
    with command._listening(0) as taken:
        taken.listen()
        assert taken.getsockname()[0] == "127.0.0.1", "nobody elsewhere can reach it"
        assert main(["board", str(tmp_path), "--no-open", "--port", str(taken.getsockname()[1])]) == 2
    assert "leave --port out for a free one" in capsys.readouterr().err


def test_the_token_goes_to_the_browser_by_a_private_file(tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/#token=abc"
    door = command._door(tmp_path, url)
    assert url in door.read_text() and "token" not in door.name


def test_a_run_is_read_again_only_when_it_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from blindtune.board import runs

    read: list[Path] = []
    whole = runs._row
    monkeypatch.setattr(runs, "_row", lambda found, status: read.append(found.path) or whole(found, status))
    folders, (found,) = Folders(), find(root)
    assert folders.row(found) == folders.row(found) and len(read) == 1
    with (root / "first/steps.jsonl").open("a") as file:
        file.write("\n")
    folders.row(found)
    assert len(read) == 2
    monkeypatch.setattr(runs.RunStatus, "of", lambda place: pytest.fail("the adapters are read again"))
    with (root / "first/steps.jsonl").open("a") as file:
        file.write("\n")
    folders.row(found)
    assert len(read) == 3
