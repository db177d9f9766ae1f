"""The operator's page: the host as it is, and a customer made with project, limits and key."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bare_client import BareClient
from playwright.sync_api import expect
from tiny_host import TinyHost
from visitor import Visitor


@pytest.fixture(scope="session")
def boss(host: TinyHost) -> str:
    return host.key("operations", "--name", "boss", "--scopes", "operator")


@pytest.fixture
def operator(visitors: Callable[[], Visitor], boss: str) -> Visitor:
    one = visitors()
    one.sign_in(boss)
    return one


def test_an_operator_sees_the_host_and_the_page_of_no_project(operator: Visitor, client: BareClient) -> None:
    client.job(suffix="busy")
    page = operator.page
    expect(page.get_by_role("heading", name="Operator")).to_be_visible()
    assert page.get_by_role("navigation").get_by_role("link").all_inner_texts() == ["Operator"]
    host = page.get_by_role("region", name="The host now")
    expect(host).to_contain_text("running")
    expect(host.get_by_role("row", name="Calls that wait for the device")).to_be_visible()
    expect(page.locator("[data-busy]")).to_contain_text("% of the time")
    expect(page.locator("[data-project=clinic]")).to_contain_text("running")


def test_a_customer_is_made_with_limits_and_a_key(operator: Visitor, visitors: Callable[[], Visitor]) -> None:
    page = operator.page
    page.get_by_label("Name").fill("<b>ward</b>")
    page.get_by_role("button", name="Make the project and its first key").click()
    secret = page.locator(".secret").inner_text()
    page.get_by_role("button", name="I have it").click()
    row = page.get_by_role("row", name="<b>ward</b>").first
    row.get_by_role("button", name="Limits").click()
    form = page.get_by_role("form", name="Limits of <b>ward</b>")
    form.get_by_label("Tokens a month", exact=True).fill("1000")
    form.get_by_role("button", name="Set the limits").click()
    expect(row).to_contain_text("1,000 tokens/month")
    customer = visitors()
    customer.sign_in(secret)
    expect(customer.page.locator("header")).to_contain_text("<b>ward</b>/first")
    budget = customer.go("usage").locator("[data-budget='project.monthly_tokens']")
    expect(budget).to_contain_text("1,000 tokens")
    expect(budget.get_by_role("meter")).to_be_visible()
    page.get_by_label("Name").fill("<b>ward</b>")
    page.get_by_role("button", name="Make the project and its first key").click()
    expect(page.get_by_role("alert")).to_contain_text("There is a project")


def test_an_admin_has_no_page_for_operators_and_cannot_make_a_key_for_it(visitor: Visitor) -> None:
    page = visitor.go("operator")
    expect(page.get_by_role("alert").first).to_contain_text("This key lacks the scope operator.")
    assert "Operator" not in page.get_by_role("navigation").get_by_role("link").all_inner_texts()
    page = visitor.go("keys")
    expect(page.get_by_role("checkbox", name="admin")).to_be_visible()
    expect(page.get_by_role("checkbox", name="operator")).to_have_count(0)
