"""A person at the console or the board, in a real browser.

Owns: signing in, and the record of what the page did: requests, errors, violations of its policy. Never: what a page
should show.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from playwright.sync_api import Browser, Page, Request, expect

POLICY_BROKEN = """
window.violations = [];
addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
  violations.push(violatedDirective + ' ' + blockedURI));
"""
HEIGHT = 900


@dataclass
class Visitor:
    """One tab of its own, with a storage of its own."""

    browser: Browser
    origin: str
    width: int = 1280
    path: str = "/console/"
    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    streams: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context = self.browser.new_context(
            viewport={"width": self.width, "height": HEIGHT}, accept_downloads=True, color_scheme="light"
        )
        self.context.add_init_script(POLICY_BROKEN)
        self.context.on("request", self._heard)
        self.page = self.open_tab()

    def open_tab(self) -> Page:
        """Another tab of the same browser, at the first page."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self._said(said.text))
        page.goto(f"{self.origin}{self.path}")
        return page

    def sign_in(self, key: str) -> Page:
        """The page of jobs, with a key."""
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()
        return self.page

    def go(self, *words: str) -> Page:
        """Another page, by its address."""
        self.page.evaluate("address => { location.hash = address }", "#/" + "/".join(words))
        expect(self.page.locator("main h1").first).to_be_visible()
        return self.page

    def start_over(self) -> None:
        """The jobs, as somebody who has just signed in sees them, with nothing on record."""
        self.page.set_viewport_size({"width": self.width, "height": HEIGHT})
        self.page.emulate_media(color_scheme="light")
        self.page.evaluate("violations.length = 0")
        for kept in (self.foreign, self.errors, self.streams):
            kept.clear()
        self.go("nowhere")
        expect(self.page.get_by_role("heading", name="No such page")).to_be_visible()
        self.go("jobs")
        expect(self.page.get_by_role("heading", name="Jobs")).to_be_visible()

    def check(self) -> None:
        """Nothing that no page may do has been done."""
        violations = [line for page in self.context.pages for line in page.evaluate("violations")]
        assert self.foreign == [], "a request left the origin"
        assert violations == [], "the content security policy was broken"
        assert self.errors == []

    def _heard(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:", f"blob:{self.origin}/")):
            self.foreign.append(request.url)
        if request.headers.get("accept") == "text/event-stream":
            self.streams.append(request)

    def _said(self, text: str) -> None:
        if "Content Security Policy" in text:
            self.errors.append(text)
