"""Every call of the SDK is in the contract, with its query and its body; and the SDK has every call of the contract."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from wire import Wire, contract

from blindtune import BackwardRequest, Client, ForwardRequest

DOCUMENT = contract()


def operations() -> dict[str, dict[str, Any]]:
    """`GET /v1/files/{file_id}` -> what the contract says of it; without the health checks, which are no calls."""
    found = {}
    for path, item in DOCUMENT["paths"].items():
        for verb, call in item.items():
            if path.startswith("/v1/"):
                body = call.get("requestBody", {}).get("content", {})
                names: set[str] = set()
                for content in body.values():
                    names |= fields(DOCUMENT, content.get("schema", {}))
                query = {parameter["name"] for parameter in call.get("parameters", ()) if parameter["in"] == "query"}
                found[f"{verb.upper()} {path}"] = {"query": query, "body": names}
    return found


def fields(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    if "$ref" in schema:
        return fields(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    names = set(schema.get("properties", ()))
    return names.union(
        *(fields(document, part) for word in ("oneOf", "anyOf", "allOf") for part in schema.get(word, ()))
    )


def calls(folder: Path) -> list[httpx.Request]:
    """One request of every call, with every field it can have."""
    wire = Wire(lambda _: httpx.Response(418, json={"error": {"message": "only looking"}}))
    client = wire.client()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}")
    for act in acts(client, folder):
        with pytest.raises(Exception, match="only looking"):
            act()
    assert len(wire.seen) == len(acts(client, folder)), "each is one request"
    return wire.seen


def acts(client: Client, folder: Path) -> list[Any]:
    jobs, hooks, keys, checkpoints = client.jobs, client.webhooks, client.api_keys, client.jobs.checkpoints
    everything: dict[str, Any] = {"training_file": "f", "suffix": "s", "seed": 1, "metadata": {"k": "v"}}
    limits: dict[str, Any] = {"requests_per_minute": 1, "tokens_per_minute": 1, "monthly_tokens": 1}
    rows = ForwardRequest(rows=np.array([0]), seq=1)
    shares = BackwardRequest(1, "f", {(0, 0): np.zeros((1, 2), np.float32)})
    estimate: dict[str, Any] = {"method": {}, "training_file": "f", "rows": 1, "tokens_per_row": 1, "base": True}
    return [
        lambda: client.files.create(("a", b""), expires_after_s=3600),
        lambda: next(client.files.list(limit=1)),
        lambda: client.files.retrieve("f"),
        lambda: client.files.content("f"),
        lambda: client.files.delete("f"),
        lambda: client.uploads.create("a", 1, expires_after_s=3600),
        lambda: client.uploads.add_part("u", b"x"),
        lambda: client.uploads.complete("u", ["p"], md5="m"),
        lambda: client.uploads.cancel("u"),
        lambda: next(client.models.list()),
        lambda: client.models.retrieve("m"),
        lambda: client.models.delete("m"),
        lambda: client.models.download_adapter("m", folder),
        lambda: client.models.upload_adapter("m", folder, suffix="s", pooling="mean"),
        lambda: jobs.create("m", {}, hyperparameters={"n_epochs": 1}, **everything),
        lambda: next(jobs.list(limit=1)),
        lambda: jobs.retrieve("j"),
        lambda: jobs.cancel("j"),
        lambda: jobs.pause("j"),
        lambda: jobs.resume("j"),
        lambda: jobs.complete("j"),
        lambda: jobs.delete("j"),
        lambda: next(jobs.events("j", 1, order="asc")),
        lambda: next(jobs.ledger("j", order="desc")),
        lambda: jobs.ledger_summary("j"),
        lambda: jobs.metrics("j", 1, {"x": 1.0}),
        lambda: next(jobs.reports("j", 1, order="asc")),
        lambda: jobs.counts(),
        lambda: jobs.estimate("m", batch_size=1, n_epochs=1, shares=2, **estimate),
        lambda: jobs.capabilities(),
        lambda: checkpoints.create("j", expires_after_s=3600),
        lambda: next(checkpoints.list("j", 1)),
        lambda: checkpoints.retrieve("j", "c"),
        lambda: checkpoints.update("j", "c", expires_after_s=None),
        lambda: checkpoints.delete("j", "c"),
        lambda: checkpoints.download("j", "c", folder, adapter_set=0),
        lambda: keys.current(),
        lambda: client.usage.retrieve("2026-01-01", "2026-02-01", group_by=["key", "day"]),
        lambda: keys.create("n", scopes=["jobs:read"], days=1, monthly_device_seconds=1, **limits),
        lambda: next(keys.list(1)),
        lambda: keys.retrieve("k"),
        lambda: keys.rotate("k", overlap_s=60),
        lambda: keys.update("k", name="n", scopes=["jobs:read"], limits={"monthly_device_seconds": 1, **limits}),
        lambda: keys.delete("k"),
        lambda: next(client.events.list(1, order="asc")),
        lambda: client.operator.host(),
        lambda: client.operator.offer_model("m", "folder"),
        lambda: client.operator.withdraw_model("m"),
        lambda: next(client.operator.nodes()),
        lambda: client.operator.drain("n"),
        lambda: next(client.operator.projects(1)),
        lambda: client.operator.create_project("p"),
        lambda: client.operator.project("p"),
        lambda: client.operator.limit_project("p", monthly_device_seconds=1, **limits),
        lambda: client.operator.create_key("p", "n", scopes=["admin"], days=1, monthly_device_seconds=1, **limits),
        lambda: next(client.audit_log.list(1)),
        lambda: client.batches.create("f", "/v1/embeddings", metadata={"k": "v"}, output_expires_after_s=3600),
        lambda: next(client.batches.list(limit=1)),
        lambda: client.batches.retrieve("b"),
        lambda: client.batches.cancel("b"),
        lambda: hooks.create("https://a.example", ["webhook.test"]),
        lambda: next(hooks.list(1)),
        lambda: hooks.retrieve("w"),
        lambda: hooks.update("w", url="https://b.example", events=[], enabled=False),
        lambda: hooks.delete("w"),
        lambda: hooks.test("w"),
        lambda: next(hooks.deliveries("w", 1)),
        lambda: hooks.replay("w", "d"),
        lambda: hooks.rotate_secret("w"),
        lambda: client.activations.create("m", "text", adapters="all", base=True, pooling="mean"),
        lambda: client.embeddings.create("m", "text"),
        lambda: client.forward("j", rows),
        lambda: client.backward("j", shares),
        lambda: client.optim_step("j", {"seq": 1}),
        lambda: client.adapters("j"),
        lambda: client.adapter("j", 0),
        lambda: client.put_adapter("j", 0, np.zeros(2, np.float32)),
    ]


def body_names(request: httpx.Request) -> set[str]:
    kind = request.headers.get("content-type", "")
    if kind == "application/json":
        return set(json.loads(request.content))
    if kind.startswith("multipart/"):
        return {name.partition("[")[0] for name in re.findall(r'; name="([^"]+)"', request.content.decode())}
    return set()


def operation_of(request: httpx.Request, found: dict[str, Any]) -> str | None:
    path = urlsplit(str(request.url)).path
    for name in found:
        verb, template = name.split(" ")
        pattern = re.sub(r"\{\*?\w+\}", "[^/]+", template)
        if verb == request.method and re.fullmatch(pattern, path):
            return name
    return None


def test_every_call_is_in_the_contract_and_the_other_way_round(tmp_path: Path) -> None:
    found, missing, made = operations(), set(), set()
    for request in calls(tmp_path):
        name = operation_of(request, found)
        if name is None:
            missing.add(f"{request.method} {urlsplit(str(request.url)).path}")
            continue
        made.add(name)
        queries = {re.sub(r"\[.*", "", key) for key in request.url.params}
        contract_queries = {re.sub(r"\[.*", "", key) for key in found[name]["query"]}
        missing |= {f"{name} ?{query}" for query in queries - contract_queries}
        contract_body = {key.partition("[")[0] for key in found[name]["body"]}
        missing |= {f"{name} {{{field}}}" for field in body_names(request) - contract_body}
    assert missing == set()
    assert set(found) - made == set(), "the SDK has no word for these"
