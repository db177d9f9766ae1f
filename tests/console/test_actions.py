"""What a page does to files, models, checkpoints and webhooks is done."""

from __future__ import annotations

import zipfile
from pathlib import Path

from bare_client import ROWS, BareClient
from playwright.sync_api import Page, expect
from visitor import Visitor


def confirm(page: Page, action: str) -> None:
    page.get_by_role("dialog").get_by_role("button", name=action).click()


def test_a_file_is_uploaded_fetched_and_deleted(visitor: Visitor, client: BareClient) -> None:
    page = visitor.go("files")
    rows = {"name": "by-hand.jsonl", "mimeType": "application/jsonl", "buffer": ROWS}
    page.get_by_label("File", exact=True).set_input_files([rows])
    page.get_by_role("button", name="Upload").click()
    row = page.get_by_role("row", name="by-hand.jsonl")
    expect(row).to_contain_text("fine-tune")
    with page.expect_download() as fetched:
        row.get_by_role("button", name="Download").click()
    assert fetched.value.suggested_filename == "by-hand.jsonl"
    assert Path(fetched.value.path()).read_bytes() == ROWS
    row.get_by_role("button", name="Delete").click()
    confirm(page, "Delete the file")
    expect(row).to_have_count(0)
    assert "by-hand.jsonl" not in [file["filename"] for file in client.call("GET", "/v1/files")["data"]]


def test_a_file_that_looks_like_labels_is_refused_with_the_hosts_words(visitor: Visitor) -> None:
    page = visitor.go("files")
    rows = {"name": "told.jsonl", "mimeType": "application/jsonl", "buffer": b'{"text": "w5", "label": 1}\n'}
    page.get_by_label("File", exact=True).set_input_files([rows])
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("label")
    assert page.get_by_role("row", name="told.jsonl").count() == 0


def test_a_checkpoint_is_fetched_as_a_peft_folder_and_deleted(visitor: Visitor, client: BareClient) -> None:
    job = client.job(suffix="kept")["id"]
    client.step(job, 1)
    page = visitor.go("jobs", job)
    expect(page.get_by_text("None yet. The host saves one")).to_be_visible()
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/checkpoints")
    list_ = page.get_by_role("region", name="Checkpoints")
    with page.expect_download() as fetched:
        list_.get_by_role("button", name="PEFT zip").click()
    assert any(name.endswith("adapter_config.json") for name in zipfile.ZipFile(fetched.value.path()).namelist())
    client.call("POST", f"/v1/fine_tuning/jobs/{job}/cancel")
    list_.get_by_role("button", name="Delete").click()
    confirm(page, "Delete the checkpoint")
    expect(list_).to_have_count(0)
    assert client.call("GET", f"/v1/fine_tuning/jobs/{job}/checkpoints")["data"] == []


def test_a_model_is_deleted_after_a_question(visitor: Visitor, client: BareClient) -> None:
    model = client.model(suffix="short-lived")
    page = visitor.go("models")
    row = page.get_by_role("row", name=model)
    row.get_by_role("button", name="Delete").click()
    confirm(page, "Delete the model")
    expect(row).to_have_count(0)
    assert model not in [one["id"] for one in client.call("GET", "/v1/models")["data"]]


def test_a_webhook_is_made_tested_replayed_turned_off_and_deleted(visitor: Visitor, client: BareClient) -> None:
    page = visitor.go("webhooks")
    page.get_by_label("Address").fill("http://127.0.0.1:9/made")
    page.get_by_role("button", name="Make the webhook").click()
    expect(page.locator(".secret")).to_contain_text("whsec_")
    page.get_by_role("link", name="http://127.0.0.1:9/made").click()
    page.get_by_role("button", name="Send a test").click()
    row = page.get_by_role("row", name="webhook.test")
    expect(row.locator(".status")).to_have_text("pending")
    row.get_by_role("button", name="Replay").click()
    page.get_by_role("button", name="Disable").click()
    expect(page.locator("h1 .status")).to_have_text("disabled")
    page.locator(".head").get_by_role("button", name="Delete").click()
    confirm(page, "Delete the webhook")
    expect(page.get_by_role("heading", name="Webhooks", exact=True)).to_be_visible()
    urls = [hook["url"] for hook in client.call("GET", "/v1/webhooks")["data"]]
    assert "http://127.0.0.1:9/made" not in urls
    changes = [entry["action"] for entry in client.call("GET", "/v1/audit_log?limit=10")["data"]]
    assert changes[:5] == ["delete_webhook", "update_webhook", "replay_delivery", "test_webhook", "create_webhook"]
