"""The board shows run folders that the SDK made on a real host, and nothing leaves the machine by it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest
from board_desk import CANARY, MARKUP, TEXT_MARKUP, Desk, board_on
from playwright.sync_api import Browser, Page, expect
from tiny_host import ROOT, TinyHost
from visitor import HEIGHT, Visitor
from wiretap import Wiretap, tapped

AXE = ROOT / "console/node_modules/axe-core/axe.min.js"
SERIOUS = """() => axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations
    .filter((one) => one.impact === 'serious' || one.impact === 'critical')
    .map((one) => `${one.id}: ${one.nodes[0].html}`))"""
DRAWN = """(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
    .some((byte) => byte > 0)"""
STEPWISE = ("--method", "p3eft", "--steps", "12", "--batch-size", "16", "--audit-every", "4", "--eval-every", "4")


def first_hash(sent: Path) -> str:
    """Of the first call of a record."""
    calls = (json.loads(line) for line in sent.read_text().splitlines())
    return str(next(call["sha256"] for call in calls if "sha256" in call))


@pytest.fixture(scope="session")
def tap(host: TinyHost) -> Iterator[Wiretap]:
    with tapped(host.url) as listening:
        yield listening


@pytest.fixture(scope="session")
def home(host: TinyHost, tap: Wiretap, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Two finished runs, a copy of one with another hash in its record, one damaged and one empty folder."""
    made = Desk(tmp_path_factory.mktemp("desk"), tap.url, host.key("ward", "--scopes", "admin"))
    made.write_tables()
    made.train_all({"blind": ("--method", "side", "--epochs", "3"), "hurdle": STEPWISE})
    sent = shutil.copytree(made.runs / "hurdle", made.runs / "tampered") / "sent.jsonl"
    sent.write_text(sent.read_text().replace(first_hash(sent), "0" * 64))
    (made.runs / "empty").mkdir()
    (made.runs / "damaged").mkdir()
    (made.runs / "damaged/run.json").write_text('{"model": ')
    return made


@pytest.fixture(scope="session")
def address(home: Desk) -> Iterator[str]:
    with board_on(home, home.runs) as url:
        yield url


@pytest.fixture(scope="session")
def seat(browser: Browser, address: str) -> Iterator[Visitor]:
    origin, _, rest = address.partition("/#")
    one = Visitor(browser, origin, path=f"/#{rest}")
    yield one
    one.context.close()


@pytest.fixture
def reader(seat: Visitor) -> Iterator[Visitor]:
    """The label holder at the list of runs, in a browser that tests share."""
    seat.page.set_viewport_size({"width": seat.width, "height": HEIGHT})
    seat.page.emulate_media(color_scheme="light")
    seat.go("runs")
    yield seat
    seat.check()


def row(page: Page, run: str) -> Any:
    return page.locator(f"[data-run='{run}']")


def report(home: Desk, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home.runs / run / "report.json").read_text())
    return found


def shown(value: float) -> str:
    """As the page writes it: a half goes up, where Python's format goes to the even digit."""
    return str(Decimal(value).quantize(Decimal("0.001"), ROUND_HALF_UP))


def evaluate(page: Page, table: str) -> None:
    page.get_by_label("File, from").fill(table)
    page.get_by_role("button", name="Evaluate").click()


def ask(url: str, token: str | None, host: str | None = None) -> int:
    """The status that a request is answered with."""
    request = urllib.request.Request(url)
    if token is not None:
        request.add_header("authorization", f"Bearer {token}")
    if host is not None:
        request.add_header("host", host)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_runs_are_listed_with_score_leak_and_what_was_sent(reader: Visitor, home: Desk) -> None:
    page, hurdle = reader.page, report(home, "hurdle")
    line = row(page, "hurdle")
    expect(line.locator(".status").first).to_have_text("finished")
    expect(line).to_contain_text(shown(hurdle["dev"]["accuracy"]))
    worst = max(value for tier, value in hurdle["leak"]["tiers"].items() if int(tier) < 3)
    expect(line).to_contain_text(shown(worst))
    expect(line).to_contain_text("over the limit 0.60" if worst > 0.6 else "within the limit 0.60")
    expect(line).to_contain_text("12 of 12 steps")
    expect(row(page, "blind")).to_contain_text("blind: no limit applies")


def test_damaged_and_empty_folders_are_named_and_hide_nothing(reader: Visitor) -> None:
    page = reader.page
    expect(page.locator("[data-run]")).to_have_count(5)
    expect(row(page, "damaged")).to_contain_text("run.json is damaged")
    expect(row(page, "empty")).to_contain_text("run.json is missing")
    row(page, "damaged").get_by_role("link").click()
    expect(page.get_by_role("heading", name="damaged")).to_be_visible()


def test_a_run_shows_its_curves_its_verdict_and_its_command(reader: Visitor, home: Desk) -> None:
    page = reader.go("runs", "hurdle")
    for chart in ("loss", "accuracy", "dev", "leak", "weight", "seconds", "norms"):
        expect(page.locator(f"[data-chart={chart}] canvas")).to_be_visible()
    expect(page.locator("[data-chart=leak]")).to_contain_text("limit")
    assert page.locator("[data-chart=loss] canvas").evaluate(DRAWN), "a line is drawn"
    expect(page.get_by_label("Verdict")).to_contain_text("protection: hurdle")
    expect(page.locator(".command")).to_contain_text("--method p3eft")
    expect(page.locator(".command")).to_contain_text("--eval-every 4")
    tiers = page.get_by_role("region", name="Leak by tier")
    for tier, value in report(home, "hurdle")["leak"]["tiers"].items():
        expect(tiers.get_by_role("row").filter(has_text=f"{tier}: ")).to_contain_text(shown(value))


PREDICTED = """
import json
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score
from blindtune import Tuner
from blindtune.data import read_dataset
with Tuner.load("runs/hurdle", progress=False) as tuner:
    rows = read_dataset("dev.csv", tuner.label_names)
    said, likely = tuner.predict_with_proba(list(rows.texts))
names = list(tuner.label_names)
true = [names[label] for label in rows.labels]
print(json.dumps({
    "names": names,
    "confusion": confusion_matrix(true, said, labels=names).tolist(),
    "f1_macro": f1_score(true, said, average="macro"),
    "auc": roc_auc_score(rows.labels, likely[:, 1]),
    "recall_at_40": recall_score(rows.labels, likely[:, 1] >= 0.4),
}))
"""


def test_quality_is_that_of_scikit_learn_and_is_kept(reader: Visitor, home: Desk) -> None:
    page = reader.go("runs", "hurdle", "quality")
    evaluate(page, "dev.csv")
    expect(page.locator("[data-quality=done]")).to_be_attached()
    right = json.loads(home.python(PREDICTED))
    for i, cells in enumerate(right["confusion"]):
        for k, cell in enumerate(cells):
            expect(page.locator(f"[data-cell='{i}-{k}']")).to_have_text(str(cell))
    expect(page.locator("[data-score=f1_macro] dd")).to_have_text(shown(right["f1_macro"]))
    expect(page.locator("[data-score=auc] dd")).to_have_text(shown(right["auc"]))
    page.get_by_role("slider").fill("40")
    expect(page.locator("[data-rate=recall]")).to_have_text(shown(right["recall_at_40"]))
    for curve in ("ROC curve", "Precision-recall curve", "Calibration"):
        expect(page.get_by_role("img", name=curve)).to_be_visible()
    wrong = sum(map(sum, right["confusion"])) - sum(right["confusion"][k][k] for k in (0, 1))
    expect(page.get_by_text(f"of {wrong} errors shown")).to_be_visible()
    page.reload()
    expect(page.get_by_role("region", name="Confusion matrix")).to_be_visible()


def test_a_file_that_is_not_there_is_named(reader: Visitor) -> None:
    page = reader.go("runs", "blind", "quality")
    evaluate(page, "nowhere.csv")
    expect(page.locator("[data-quality=failed]")).to_contain_text("nowhere.csv: there is no such file")


def test_what_was_sent_is_compared_with_the_ledger_call_by_call(reader: Visitor) -> None:
    page = reader.go("runs", "hurdle", "sent")
    calls = page.locator("[data-calls]").inner_text()
    expect(page.get_by_role("region", name="Sent to").get_by_role("row", name="backward")).to_be_visible()
    expect(page.get_by_text("never: labels, losses, metrics, head")).to_be_visible()
    page.get_by_role("button", name="Compare with the ledgers").click()
    expect(page.locator("[data-ledger=true]")).to_contain_text(f"{calls} of {calls} calls match by SHA-256")


def test_a_call_that_was_changed_in_the_record_is_named_with_both_hashes(reader: Visitor) -> None:
    page = reader.go("runs", "tampered", "sent")
    page.get_by_role("button", name="Compare with the ledgers").click()
    differing = page.get_by_role("region", name="Calls that differ")
    expect(differing.get_by_role("row")).to_have_count(2)
    expect(differing).to_contain_text("differs")
    expect(differing).to_contain_text("0" * 64)
    expect(page.locator("[data-ledger=false]")).to_contain_text("1 do not agree")


def test_points_of_runs_stand_in_a_plot_and_one_shows_its_command(reader: Visitor, home: Desk) -> None:
    page = reader.go("compare")
    plot = page.get_by_role("group", name="Accuracy against leak")
    accuracy = report(home, "hurdle")["dev"]["accuracy"]
    point = plot.get_by_role("button", name=f"hurdle: accuracy {shown(accuracy)}")
    point.press("Enter")
    expect(page.locator("[data-chosen=hurdle] .command")).to_contain_text("--method p3eft")
    expect(page.locator("[data-point=blind]")).to_contain_text("blind: no limit applies")


def test_a_text_is_tried_and_the_card_is_shown(reader: Visitor) -> None:
    page = reader.go("runs", "blind", "try")
    page.get_by_label("Text", exact=True).fill("w5 w6 w7")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("region", name="Probabilities").get_by_role("row", name=CANARY)).to_be_visible()
    page.get_by_role("link", name="Model card").click()
    expect(page.locator("pre.command")).to_contain_text("blind")


def test_every_page_is_readable_in_both_sizes_and_colours(reader: Visitor, home: Desk) -> None:
    assert AXE.exists(), "axe-core is missing: run `npm ci` in console/"
    assert home.runs.exists()
    shots, found = os.environ.get("BLINDTUNE_CONSOLE_SHOTS"), []
    reader.page.evaluate(f"{AXE.read_text(encoding='utf-8')};0")
    addresses = [("runs",), ("compare",), ("nowhere",), ("runs", "damaged")]
    addresses += [("runs", "hurdle", *part) for part in ((), ("quality",), ("sent",), ("try",), ("card",))]
    for address in addresses:
        page = reader.go(*address)
        expect(page.get_by_text("Loading …")).to_have_count(0)
        for width, colours in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
            page.set_viewport_size({"width": width, "height": HEIGHT})
            page.emulate_media(color_scheme="dark" if colours == "dark" else "light")
            place = f"{'-'.join(address)}-{width}-{colours}"
            if shots:
                page.screenshot(path=Path(shots, "board", f"{place}.png"), full_page=True)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found.append(f"{place}: wider than the screen")
            if (width, colours) in ((1280, "light"), (390, "dark")):
                found += [f"{place}: {line}" for line in page.evaluate(SERIOUS)]
    assert found == []


def test_a_label_and_a_text_that_are_markup_stay_text(reader: Visitor) -> None:
    page = reader.go("runs", "hurdle", "quality")
    evaluate(page, "both.csv")
    expect(page.get_by_text("of 10 errors shown")).to_be_visible()
    expect(page.get_by_text(MARKUP).first).to_be_visible()
    expect(page.get_by_text(TEXT_MARKUP).first).to_be_visible()
    assert page.locator("img").count() == page.locator("main b").count() == 0
    assert page.evaluate("window.hit") is None


def test_a_running_run_is_followed_without_a_reload(reader: Visitor, home: Desk) -> None:
    page = reader.page
    page.evaluate("window.loadedOnce = true")
    training = home.train("running", *STEPWISE, "--steps", "5000")
    try:
        line = row(page, "running")
        expect(line.locator(".status").first).to_have_text("running")
        line.get_by_role("link").click()
        done = page.locator("[data-done]")
        expect(done).to_contain_text("of 5,000 steps")
        before = done.inner_text()
        expect(done).not_to_have_text(before)
        expect(page.locator("[data-chart=loss] canvas")).to_be_visible()
    finally:
        training.send_signal(signal.SIGINT)
        training.communicate(timeout=60)
    expect(page.locator("h1 .status")).to_have_text("paused")
    assert page.evaluate("window.loadedOnce") is True


def test_nobody_is_answered_without_the_token_or_by_another_name(address: str, reader: Visitor) -> None:
    origin, _, token = address.partition("/#token=")
    port = origin.rpartition(":")[2]
    for path in ("/api/runs", "/api/run?name=hurdle"):
        assert ask(f"{origin}{path}", token) == 200
        assert ask(f"{origin}{path}", None) == 401
        assert ask(f"{origin}{path}", f"{token}x") == 401
        assert ask(f"{origin}{path}", token, host=f"elsewhere.example:{port}") == 403
    assert ask(f"{origin}/", None, host="elsewhere.example") == 403
    assert ask(f"{origin}/api/run?name=..%2F..%2Fetc", token) == 404
    assert token not in reader.page.evaluate("location.href"), "the token does not stay in the address"


def test_a_wrong_token_leads_to_a_page_that_says_what_to_do(browser: Browser, address: str) -> None:
    origin = address.partition("/#")[0]
    stranger = Visitor(browser, origin, path="/#token=wrong")
    expect(stranger.page.get_by_role("alert")).to_contain_text("open the address that the board printed")
    stranger.page.get_by_label("Address or token").fill(address)
    stranger.page.get_by_role("button", name="Open").click()
    expect(row(stranger.page, "hurdle")).to_be_visible()
    stranger.check()
    stranger.context.close()


def test_no_request_to_a_host_had_a_label(tap: Wiretap, home: Desk) -> None:
    """Of all the runs, evaluations, texts tried and ledgers compared before."""
    assert home.runs.exists()
    sent = b"\n".join(tap.requests)
    assert TEXT_MARKUP.encode() in sent, "texts are sent, and are seen here"
    for label in (CANARY, MARKUP, "window.hit"):
        assert label.encode() not in sent
