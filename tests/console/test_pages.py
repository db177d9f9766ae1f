"""Every page: safe, readable for all, on a telephone and a desk, in both colours."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from bare_client import BareClient
from playwright.sync_api import Page, expect
from tiny_host import ROOT, TinyHost
from visitor import HEIGHT, Visitor

AXE = ROOT / "console/node_modules/axe-core/axe.min.js"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MARKUP = "<img src=x onerror='window.hit = 1'>"
NAMED = ("jobs", "files", "models", "usage", "keys", "webhooks", "audit", "host")
SERIOUS = """() => axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations
    .filter((one) => one.impact === 'serious' || one.impact === 'critical')
    .map((one) => `${one.id}: ${one.nodes[0].html}`))"""


@pytest.fixture(scope="module")
def addresses(client: BareClient) -> list[tuple[str, ...]]:
    """Every page with something on it; names hold markup wherever the host takes it."""
    client.upload(filename=f"{MARKUP}.jsonl")
    client.model(suffix="shown")
    job = client.job(suffix="looks", metadata={"note": MARKUP, MARKUP: "note"})["id"]
    client.step(job, 1)
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/checkpoints")
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/metrics", {"step": 1, "metrics": {MARKUP: 0.5}})
    client.call("POST", "/v1/api_keys", {"name": MARKUP, "scopes": ["jobs:read"]})
    hook = client.call("POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/?q=%3Cimg%3E"})["id"]
    client.call("POST", f"/v1/webhooks/{hook}/test")
    other = client.job(suffix="other")["id"]
    return [
        *((name,) for name in NAMED),
        ("jobs", job),
        ("compare", f"{job},{other}"),
        ("webhooks", hook),
        ("nowhere",),
    ]


def settled(visitor: Visitor, address: tuple[str, ...]) -> Page:
    """The page, with what it loads."""
    page = visitor.go(*address)
    expect(page.get_by_text("Loading …")).to_have_count(0)
    if address != ("nowhere",):
        expect(page.locator("main .card").last).to_be_visible()
    return page


def test_every_page_is_readable_in_both_sizes_and_colours(
    visitor: Visitor, addresses: list[tuple[str, ...]], tmp_path: Path
) -> None:
    assert AXE.exists(), "axe-core is missing: run `npm ci` in console/"
    shots = Path(os.environ.get("BLINDTUNE_CONSOLE_SHOTS", tmp_path))
    axe, found = AXE.read_text(encoding="utf-8"), []
    visitor.page.evaluate(f"{axe};0")
    for address in addresses:
        page = settled(visitor, address)
        for width, colours in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
            page.set_viewport_size({"width": width, "height": HEIGHT})
            page.emulate_media(color_scheme="dark" if colours == "dark" else "light")
            expect(page.locator("html")).to_have_css("color-scheme", "light dark")
            place = f"{'-'.join(address[:1])}{'-one' if address[1:] else ''}-{width}-{colours}"
            page.screenshot(path=shots / f"{place}.png", full_page=True)
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found.append(f"{place}: wider than the screen")
            # Each size once and each colour once: a run takes half a second.
            if (width, colours) in ((1280, "light"), (390, "dark")):
                found += [f"{place}: {line}" for line in page.evaluate(SERIOUS)]
    assert found == []
    assert len(list(shots.glob("*.png"))) == 4 * len(addresses)


def test_markup_in_names_is_text(visitor: Visitor, addresses: list[tuple[str, ...]]) -> None:
    seen = set()
    for address in addresses:
        page = settled(visitor, address)
        if page.locator("main").get_by_text("<img").count() > 0:
            seen.add("/".join(address[:1]) + "/…" * len(address[1:]))
        assert page.locator("img").count() == 0
    assert visitor.page.evaluate("window.hit") is None
    assert seen == {"jobs", "jobs/…", "compare/…", "files", "keys"}


def test_the_sign_in_page_is_readable(visitors: Callable[[], Visitor]) -> None:
    page = visitors().page
    expect(page.get_by_label("API key")).to_be_visible()
    page.evaluate(f"{AXE.read_text(encoding='utf-8')};0")
    assert page.evaluate(SERIOUS) == []


def test_a_new_page_is_announced_by_focus_and_title(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("link", name="Models").press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page).to_have_title("Models · blindtune console")


def test_a_switch_sets_the_colours_and_a_reload_keeps_them(fresh: Visitor) -> None:
    page = fresh.page
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_label("Colours").select_option("dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    expect(page.get_by_label("Colours")).to_have_value("dark")
    assert page.evaluate(ground) == dark


def test_the_keyboard_reaches_the_content_and_the_focus_is_seen(fresh: Visitor) -> None:
    page = fresh.page
    expect(page.get_by_label("Status")).to_be_visible()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Status")).to_be_focused()
    assert page.get_by_label("Status").evaluate("box => getComputedStyle(box).outlineStyle") == "solid"


def test_usage_is_exported_as_the_api_tells_it(
    visitor: Visitor, client: BareClient, addresses: list[tuple[str, ...]]
) -> None:
    assert addresses
    page = settled(visitor, ("usage",))
    expect(page.locator("canvas")).to_be_visible()
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Export CSV").click()
    head, *rows = Path(fetched.value.path()).read_text().splitlines()
    steps = head.split(",").index("steps")
    told = client.call("GET", "/v1/usage?group_by=day,model,key")["total"]["steps"]
    assert told > 0
    assert sum(int(row.split(",")[steps]) for row in rows) == told


def test_the_host_serves_the_built_files_under_the_strict_policy(host: TinyHost) -> None:
    dist = ROOT / "console/dist"
    files = sorted(path for path in dist.rglob("*") if path.is_file())
    assert len(files) >= 3
    for file in files:
        name = file.relative_to(dist).as_posix().removesuffix("index.html")
        with urllib.request.urlopen(f"{host.url}/console/{name}", timeout=30) as answer:
            assert answer.read() == file.read_bytes(), name
            assert answer.headers["content-security-policy"] == POLICY, name
