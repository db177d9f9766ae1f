"""The table of operations sends what the client did that a generator wrote: method, URL, query, and which repeats count once."""

from __future__ import annotations

import datetime
import importlib
import inspect
import pkgutil
from typing import Any
from urllib.parse import urlencode

import pytest

from blindtune._generated import api
from blindtune._generated import operations as table
from blindtune._generated.models import ListJobsMetadata
from blindtune._generated.operations import Operation
from blindtune.client.requests import request

OPERATIONS = {row.name: row for row in vars(table).values() if isinstance(row, Operation)}
OLD = {
    module.name.rpartition(".")[2]: importlib.import_module(module.name)
    for module in pkgutil.walk_packages(api.__path__, f"{api.__name__}.")
    if not module.ispkg
}
STEPS = {"forward", "backward", "optim_step", "get_adapters", "get_adapter", "put_adapter"}
VALUES: dict[str, Any] = {
    "limit": 3,
    "after": "a/b c",
    "order": "asc",
    "purpose": "fine-tune",
    "stream": True,
    "set": 1,
}
VALUES |= {"group_by": "key,day", "start_date": datetime.date(2026, 1, 2), "end_date": datetime.date(2026, 2, 3)}


class AnyBody:
    def to_dict(self) -> dict[str, Any]:
        return {}

    def to_multipart(self) -> list[Any]:
        return []


def value(name: str, operation: str) -> Any:
    if operation == "list_ledger" and name == "after":
        return 7
    return VALUES.get(name, f"{name}: x/ä")


def test_both_have_the_same_calls() -> None:
    assert set(OLD) == set(OPERATIONS) - STEPS and len(OPERATIONS) == 54


@pytest.mark.parametrize("name", sorted(OLD))
@pytest.mark.parametrize("full", [False, True])
def test_method_url_and_query_agree(name: str, full: bool) -> None:
    row, old = OPERATIONS[name], OLD[name]._get_kwargs
    parameters = inspect.signature(old).parameters
    path = {word: value(word, name) for word in parameters if f"{{{word}}}" in row.path}
    query = {word: value(word, name) for word in row.query} if full else {}
    before = {**path, **{{"set": "set_"}.get(word, word): v for word, v in query.items()}}
    if "body" in parameters:
        before["body"] = AnyBody()
    if "metadata" in query:
        before["metadata"] = ListJobsMetadata.from_dict({"metadata[team]": "a b"})
        query["metadata"] = {"team": "a b"}
    assert set(parameters) - {"body", "idempotency_key", "last_event_id"} == {
        *path,
        *({"set": "set_"}.get(w, w) for w in row.query),
    }
    expected, found = old(**before), request(row, **path, **query)
    assert (found.method, "/v1/" + found.path) == (expected["method"].upper(), expected["url"])
    assert urlencode(found.options.get("params", {})).lower() == urlencode(expected.get("params", {})).lower()
    assert row.creates == ("idempotency_key" in parameters)
