"""Fixtures: one real host that serves the console, and Debian's Chromium."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bare_client import BareClient
from playwright.sync_api import Browser, expect, sync_playwright
from tiny_host import TinyHost, running_host
from visitor import Visitor

CHROMIUM = Path(os.environ.get("BLINDTUNE_CHROMIUM", "/usr/bin/chromium"))
QUIET = [
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
]
SETTINGS = {
    "BLINDTUNE_JOBS__LEASE_SECS": "3",
    "BLINDTUNE_LIMITS__JOBS_PER_PROJECT": "1000",
    "BLINDTUNE_WEBHOOKS__ALLOW_PRIVATE": "true",
}

expect.set_options(timeout=20_000)


@pytest.fixture(scope="session")
def host() -> Iterator[TinyHost]:
    with running_host(SETTINGS) as started:
        yield started


@pytest.fixture(scope="session")
def admin(host: TinyHost) -> str:
    return host.key("clinic", "--name", "ops", "--scopes", "admin")


@pytest.fixture(scope="session")
def client(host: TinyHost, admin: str) -> BareClient:
    return BareClient(host.url, admin)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: apt-get install chromium, or name one in BLINDTUNE_CHROMIUM")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-sync", *QUIET])
        yield started
        started.close()


@pytest.fixture
def visitors(browser: Browser, host: TinyHost) -> Iterator[Callable[[], Visitor]]:
    """Makes visitors; what they must never do is looked at when the test is over."""
    made: list[Visitor] = []

    def make() -> Visitor:
        made.append(Visitor(browser, host.url))
        return made[-1]

    yield make
    for visitor in made:
        visitor.check()
        visitor.context.close()


@pytest.fixture
def fresh(visitors: Callable[[], Visitor], admin: str) -> Visitor:
    """Somebody who may do everything, in a browser of their own."""
    one = visitors()
    one.sign_in(admin)
    return one


@pytest.fixture(scope="session")
def desk(browser: Browser, host: TinyHost, admin: str) -> Iterator[Visitor]:
    one = Visitor(browser, host.url)
    one.sign_in(admin)
    yield one
    one.context.close()


@pytest.fixture
def visitor(desk: Visitor) -> Iterator[Visitor]:
    """Somebody who may do everything, in a browser that tests share: a new one takes a second."""
    desk.start_over()
    yield desk
    desk.check()
