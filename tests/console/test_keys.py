"""Keys: what one may not do has no button, and where a key is kept."""

from __future__ import annotations

import re
from collections.abc import Callable

from bare_client import BareClient
from playwright.sync_api import Page, expect
from visitor import Visitor


def make_key(client: BareClient, name: str, *scopes: str) -> str:
    return str(client.call("POST", "/v1/api_keys", {"name": name, "scopes": scopes})["key"])


def act_buttons(page: Page) -> int:
    return page.get_by_role("button", name="Pause").or_(page.get_by_role("button", name="Delete")).count()


def test_a_key_without_a_scope_sees_no_button_for_it(
    visitors: Callable[[], Visitor], visitor: Visitor, client: BareClient
) -> None:
    job = client.job(suffix="watched")["id"]
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/checkpoints")
    reader = visitors()
    reader.sign_in(make_key(client, "reader", "jobs:read"))
    for one, sees in ((visitor, True), (reader, False)):
        expect(one.page.locator(f"[data-job={job}]")).to_be_visible()
        assert (act_buttons(one.page) > 0) is sees
        page = one.go("jobs", job)
        expect(page.get_by_role("region", name="Checkpoints")).to_be_visible()
        assert act_buttons(page) == (2 if sees else 0)
        page = one.go("webhooks")
        expect(page.get_by_label("List of webhooks")).to_be_visible()
        assert page.get_by_role("button", name="Make the webhook").count() == int(sees)
    links = reader.page.get_by_role("navigation").get_by_role("link")
    assert links.all_inner_texts() == ["Jobs", "Usage", "Webhooks", "Host"]


def test_a_page_without_its_scope_says_which_is_missing(visitors: Callable[[], Visitor], client: BareClient) -> None:
    reader = visitors()
    reader.sign_in(make_key(client, "narrow", "jobs:read"))
    for address, scope in (("keys", "admin"), ("audit", "admin"), ("files", "files:read"), ("models", "models:read")):
        page = reader.go(address)
        expect(page.get_by_role("alert")).to_contain_text(f"This key lacks the scope {scope}.")
        assert page.locator("main").get_by_role("button").count() == 0


def test_sign_out_forgets_the_key_and_no_other_tab_has_it(fresh: Visitor, admin: str) -> None:
    page = fresh.page
    assert page.evaluate("Object.values(sessionStorage)") == [admin]
    assert page.evaluate("JSON.stringify(localStorage) + document.cookie") == "{}"
    page.reload()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    expect(fresh.open_tab().get_by_label("API key")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_empty()
    assert page.evaluate("sessionStorage.length") == 0
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()
    assert admin not in page.content()


def test_a_key_that_the_host_refuses_does_not_sign_in(visitors: Callable[[], Visitor]) -> None:
    page = visitors().page
    page.get_by_label("API key").fill("no-key")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("401")
    assert page.evaluate("sessionStorage.length") == 0


def test_a_new_key_is_shown_once_and_a_revoked_one_is_signed_out(
    visitors: Callable[[], Visitor], visitor: Visitor
) -> None:
    page = visitor.go("keys")
    page.get_by_label("Name").fill("night")
    page.get_by_role("checkbox", name="files:read").check()
    page.get_by_role("button", name="Make the key").click()
    secret = page.locator(".secret").inner_text()
    page.get_by_role("button", name="I have it").click()
    expect(page.locator(".secret")).to_have_count(0)
    row = page.get_by_role("row", name="night")
    expect(row).to_contain_text("jobs:read, files:read")
    assert secret not in page.content()
    other = visitors()
    other.sign_in(secret)
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke the key").click()
    expect(row.locator(".status")).to_have_text("revoked")
    expect(other.page.get_by_text("You are signed out")).to_be_visible()
    assert other.page.evaluate("sessionStorage.length") == 0


def test_a_rotated_key_has_a_successor_and_a_day_left(visitors: Callable[[], Visitor], visitor: Visitor) -> None:
    page = visitor.go("keys")
    page.get_by_label("Name").fill("weekly")
    page.get_by_role("button", name="Make the key").click()
    page.get_by_role("button", name="I have it").click()
    page.get_by_role("row", name="weekly").get_by_role("button", name="Rotate").click()
    page.get_by_role("dialog").get_by_role("button", name="Make the new key").click()
    secret = page.locator(".secret").inner_text()
    page.get_by_role("button", name="I have it").click()
    expect(page.get_by_role("row", name="weekly")).to_have_count(2)
    expect(page.get_by_role("row", name="weekly").last).to_contain_text(re.compile("in (1 d|23 h)"))
    successor = visitors()
    successor.sign_in(secret)


def test_a_key_is_changed_in_place(visitor: Visitor, client: BareClient) -> None:
    page = visitor.go("keys")
    page.get_by_label("Name").fill("guest")
    page.get_by_role("button", name="Make the key").click()
    guest = BareClient(client.url, page.locator(".secret").inner_text())
    page.get_by_role("button", name="I have it").click()
    page.get_by_role("row", name="guest").get_by_role("button", name="Change").click()
    form = page.locator("section", has=page.get_by_role("heading", name="Change the key guest"))
    form.get_by_label("Name").fill("visitor")
    form.get_by_label("Requests a minute").fill("500")
    form.get_by_role("checkbox", name="files:read").check()
    form.get_by_role("button", name="Change the key").click()
    row = page.get_by_role("row", name="visitor")
    expect(row).to_contain_text("jobs:read, files:read")
    expect(row).to_contain_text("500 requests/min")
    expect(form).to_have_count(0)
    assert guest.call("GET", "/v1/files")["object"] == "list"
