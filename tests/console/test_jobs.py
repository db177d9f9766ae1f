"""The console follows jobs as they are, and acts on them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from bare_client import BareClient
from playwright.sync_api import Page, expect
from tiny_host import TinyHost
from visitor import Visitor


def status(client: BareClient, job: str) -> str:
    return str(client.call("GET", f"/v1/fine_tuning/jobs/{job}")["status"])


def button(page: Page, name: str) -> None:
    page.locator("main .head").get_by_role("button", name=name).click()


def test_a_job_appears_and_changes_without_a_reload(visitor: Visitor, client: BareClient) -> None:
    page = visitor.page
    page.evaluate("window.loadedOnce = true")
    job = client.job(suffix="appears")["id"]
    row = page.locator(f"[data-job={job}]")
    expect(row.get_by_role("link", name="appears")).to_be_visible()
    expect(row.locator(".status")).to_have_text("running")
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/pause")
    expect(row.locator(".status")).to_have_text("paused")
    assert page.evaluate("window.loadedOnce") is True


def test_steps_and_the_ledger_tick_while_a_client_makes_step_calls(visitor: Visitor, client: BareClient) -> None:
    job = client.job(suffix="steps")["id"]
    page = visitor.go("jobs", job)
    expect(page.locator("[data-steps]")).to_have_text("0")
    for seq in (1, 3):
        client.step(job, seq)
    expect(page.locator("[data-steps]")).to_have_text("4")
    expect(page.locator("[data-ledger='4']")).to_be_visible()
    totals = page.get_by_role("region", name="Totals by kind")
    expect(totals.get_by_role("row", name="forward 2")).to_be_visible()
    expect(totals.get_by_role("row", name="backward 2")).to_be_visible()


def test_the_list_is_told_of_steps_and_states_by_one_stream(visitor: Visitor, client: BareClient) -> None:
    job = client.job(suffix="ticks")["id"]
    page = visitor.go("jobs")
    row = page.locator(f"[data-job={job}]")
    expect(row).to_be_visible()
    with page.expect_response(lambda answer: "/v1/events" in answer.url):
        page.reload()
    expect(row).to_be_visible()
    page.wait_for_timeout(500)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for seq in (1, 3):
        client.step(job, seq)
    expect(row.locator("[data-label=Steps]")).to_have_text("4")
    page.wait_for_timeout(5_000)
    # One look is a list and the counts; by asking every two seconds there would be at least twice as many.
    assert len([url for url in asked if "/v1/fine_tuning/jobs" in url]) <= 2, asked
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/cancel")
    expect(row.locator(".status")).to_have_text("cancelled")


def test_what_a_job_used_is_on_its_page_and_by_job(visitor: Visitor, client: BareClient) -> None:
    job = client.job(suffix="used")["id"]
    client.step(job, 1)
    used = client.call("GET", f"/v1/fine_tuning/jobs/{job}")
    assert used["bytes_in"] > 0 and used["bytes_out"] > 0
    page = visitor.go("jobs", job)
    for name in ("Received", "Sent", "Device time"):
        expect(page.locator("dt", has_text=name).first).to_be_visible()
    page = visitor.go("usage")
    row = page.get_by_role("region", name="Usage by job").get_by_role("row").filter(has_text=job[-6:])
    expect(row).to_be_visible()
    row.get_by_role("link").click()
    expect(page).to_have_url(re.compile(f"#/jobs/{job}"))
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/cancel")


def test_a_queued_job_says_how_many_are_before_it(visitor: Visitor, client: BareClient) -> None:
    at_once = client.call("GET", "/v1/fine_tuning/capabilities")["limits"]["running_per_project"]
    jobs = [client.job(suffix=f"queue{k}") for k in range(at_once + 2)]
    queued = [job["id"] for job in jobs if job["queue_position"] is not None]
    assert len(queued) >= 2
    page = visitor.go("jobs")
    first, second = (page.locator(f"[data-job={job}]") for job in queued[:2])
    expect(first).to_contain_text("It is the next.")
    expect(second).to_contain_text("1 job of the project before it.")
    counts = client.call("GET", "/v1/fine_tuning/jobs/counts")
    expect(page.locator("[data-counts]")).to_contain_text(f"{counts['queued']} queued")
    for job in reversed(jobs):
        client.call("POST", f"/v1/fine_tuning/jobs/{job['id']}/cancel")
    expect(page.locator("[data-counts]")).to_contain_text("0 queued")


def test_jobs_that_are_chosen_stand_side_by_side(visitor: Visitor, client: BareClient) -> None:
    jobs = {suffix: client.job(suffix=suffix, metadata={"try": suffix})["id"] for suffix in ("rival", "runner")}
    for step, job in enumerate(jobs.values(), start=1):
        client.call("POST", f"/v1/fine_tuning/jobs/{job}/metrics", {"step": step, "metrics": {"loss": 0.5}})
    page = visitor.go("jobs")
    for suffix in jobs:
        page.get_by_role("checkbox", name=f"Compare {suffix}").check()
    page.get_by_role("link", name="Compare 2 jobs").click()
    table = page.get_by_role("region", name="Settings and figures")
    expect(table.get_by_role("row", name="metadata.try runner rival")).to_be_visible()
    expect(table.get_by_role("row", name="seed 7 7")).to_be_visible()
    page.get_by_label("Only what differs").check()
    expect(table.get_by_role("row", name="seed")).to_have_count(0)
    chart = page.get_by_role("group", name="loss by step")
    expect(chart).to_contain_text("rival")
    expect(chart).to_contain_text("runner")


def test_the_exported_ledger_is_what_the_host_has(visitor: Visitor, client: BareClient) -> None:
    job = client.job(suffix="export")["id"]
    client.step(job, 1)
    page = visitor.go("jobs", job)
    with page.expect_download() as fetched:
        page.get_by_role("button", name="Export NDJSON").click()
    lines = Path(fetched.value.path()).read_text().splitlines()
    listed = client.call("GET", f"/v1/fine_tuning/jobs/{job}/ledger")["data"]
    assert len(listed) == 2
    assert [json.loads(line) for line in lines] == listed


def test_metrics_that_a_client_reports_become_a_chart(visitor: Visitor, client: BareClient) -> None:
    job = client.job(suffix="metrics")["id"]
    page = visitor.go("jobs", job)
    expect(page.get_by_text("the host computes none")).to_be_visible()
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/metrics", {"step": 1, "metrics": {"accuracy": 0.5}})
    expect(page.get_by_role("group", name="Reported metrics by step: accuracy").locator("canvas")).to_be_visible()


def test_pause_resume_and_cancel_work_and_cancel_asks_first(visitor: Visitor, client: BareClient) -> None:
    job = client.job(suffix="acts")["id"]
    page = visitor.go("jobs", job)
    shown = page.locator("h1 .status")
    for verb, state in (("Pause", "paused"), ("Resume", "running")):
        button(page, verb)
        expect(shown).to_have_text(state)
        assert status(client, job) == state
    button(page, "Cancel")
    page.get_by_role("dialog").get_by_role("button", name="Back").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    assert status(client, job) == "running"
    button(page, "Cancel")
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(shown).to_have_text("cancelled")
    assert status(client, job) == "cancelled"
    expect(page.locator("[data-stream]")).to_have_text("the job is over")


def test_what_the_host_refuses_is_shown_with_its_words(visitor: Visitor) -> None:
    page = visitor.page
    visitor.page.evaluate("location.hash = '#/jobs/ftjob-0'")
    expect(page.get_by_role("alert").first).to_contain_text("ftjob-0")


def test_more_jobs_than_a_page_are_read_by_cursor_and_found(visitors: Callable[[], Visitor], host: TinyHost) -> None:
    key = host.key("many", "--scopes", "admin")
    client = BareClient(host.url, key)
    for suffix in ("oldest", *("later",) * 54):
        client.job(suffix=suffix)
    page = visitors().sign_in(key)
    rows = page.locator("[data-job]")
    expect(rows).to_have_count(50)
    page.get_by_label("Text").fill("Oldest")
    expect(page.get_by_text("None of the 50 jobs")).to_be_visible()
    page.get_by_role("button", name="Search on").click()
    expect(rows.get_by_role("link", name="oldest")).to_be_visible()
    page.get_by_label("Text").fill("")
    expect(rows).to_have_count(50)
    page.get_by_role("button", name="Load more").click()
    expect(rows).to_have_count(55)
    page.get_by_label("Status").select_option("failed")
    expect(rows).to_have_count(0)


def test_events_go_on_after_the_last_one_when_the_host_was_killed(
    visitor: Visitor, client: BareClient, host: TinyHost
) -> None:
    job = client.job(suffix="killed")["id"]
    page = visitor.go("jobs", job)
    events, stream = page.locator("[data-event]"), page.locator("[data-stream]")
    path = f"/v1/fine_tuning/jobs/{job}/events"
    known = client.call("GET", path)["data"]
    expect(events).to_have_count(len(known))
    assert host.process is not None
    host.process.kill()
    host.process.wait(10)
    expect(stream).to_have_text("connection lost, trying again …")
    expect(page.get_by_text("Connection lost, trying again …", exact=True)).to_be_visible()
    host.start()
    expect(stream).to_have_text("live")
    assert visitor.streams[-1].headers["last-event-id"] == known[0]["id"]
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/cancel")
    expect(stream).to_have_text("the job is over")
    listed = [event["id"] for event in client.call("GET", path)["data"]]
    assert len(listed) > len(known)
    assert events.evaluate_all("items => items.map((item) => item.dataset.event)") == listed
    expect(page.get_by_text("Connection lost, trying again …", exact=True)).to_be_hidden()
