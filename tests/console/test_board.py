"""The board shows run folders that the SDK made on a real host, and nothing leaves the machine by it."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from board_desk import Desk, board_on, ended
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


@pytest.fixture(scope="session")
def tap(host: TinyHost) -> Iterator[Wiretap]:
    with tapped(host.url) as listening:
        yield listening


@pytest.fixture(scope="session")
def desk(host: TinyHost, tap: Wiretap, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Two finished runs, one damaged and one empty folder."""
    made = Desk(tmp_path_factory.mktemp("desk"), tap.url, host.key("ward", "--scopes", "admin"))
    made.write_tables()
    trainings = [made.train("blind", "--method", "side", "--epochs", "3"), made.train("hurdle", *STEPWISE)]
    for training in trainings:
        ended(training)
    (made.runs / "empty").mkdir()
    (made.runs / "damaged").mkdir()
    (made.runs / "damaged/run.json").write_text('{"model": ')
    return made


@pytest.fixture(scope="session")
def address(desk: Desk) -> Iterator[str]:
    with board_on(desk, desk.runs) as url:
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


def report(desk: Desk, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((desk.runs / run / "report.json").read_text())
    return found


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


def test_runs_are_listed_with_score_leak_and_what_was_sent(reader: Visitor, desk: Desk) -> None:
    page, hurdle = reader.page, report(desk, "hurdle")
    line = row(page, "hurdle")
    expect(line.locator(".status").first).to_have_text("finished")
    expect(line).to_contain_text(f"{hurdle['dev']['accuracy']:.3f}")
    worst = max(value for tier, value in hurdle["leak"]["tiers"].items() if int(tier) < 3)
    expect(line).to_contain_text(f"{worst:.3f}")
    expect(line).to_contain_text("over the limit 0.60" if worst > 0.6 else "within the limit 0.60")
    expect(line).to_contain_text("12 of 12 steps")
    expect(row(page, "blind")).to_contain_text("blind: no limit applies")


def test_damaged_and_empty_folders_are_named_and_hide_nothing(reader: Visitor) -> None:
    page = reader.page
    expect(page.locator("[data-run]")).to_have_count(4)
    expect(row(page, "damaged")).to_contain_text("run.json is damaged")
    expect(row(page, "empty")).to_contain_text("run.json is missing")
    row(page, "damaged").get_by_role("link").click()
    expect(page.get_by_role("heading", name="damaged")).to_be_visible()


def test_a_run_shows_its_curves_its_verdict_and_its_command(reader: Visitor, desk: Desk) -> None:
    page = reader.go("runs", "hurdle")
    for chart in ("loss", "accuracy", "dev", "leak", "weight", "seconds", "norms"):
        expect(page.locator(f"[data-chart={chart}] canvas")).to_be_visible()
    expect(page.locator("[data-chart=leak]")).to_contain_text("limit")
    assert page.locator("[data-chart=loss] canvas").evaluate(DRAWN), "a line is drawn"
    expect(page.get_by_label("Verdict")).to_contain_text("protection: hurdle")
    expect(page.locator(".command")).to_contain_text("--method p3eft")
    expect(page.locator(".command")).to_contain_text("--eval-every 4")
    tiers = page.get_by_role("region", name="Leak by tier")
    for tier, value in report(desk, "hurdle")["leak"]["tiers"].items():
        expect(tiers.get_by_role("row").filter(has_text=f"{tier}: ")).to_contain_text(f"{value:.3f}")


def test_a_running_run_is_followed_without_a_reload(reader: Visitor, desk: Desk) -> None:
    page = reader.page
    page.evaluate("window.loadedOnce = true")
    training = desk.train("running", *STEPWISE, "--steps", "5000")
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
    for path in ("/api/runs", "/api/runs/hurdle"):
        assert ask(f"{origin}{path}", token) == 200
        assert ask(f"{origin}{path}", None) == 401
        assert ask(f"{origin}{path}", f"{token}x") == 401
        assert ask(f"{origin}{path}", token, host=f"elsewhere.example:{port}") == 403
    assert ask(f"{origin}/", None, host="elsewhere.example") == 403
    assert ask(f"{origin}/api/runs/..%2F..%2Fetc%2Fpasswd", token) == 404
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
