"""What is generated is the contract's, and all of it is used."""

from __future__ import annotations

import ast
import datetime
import filecmp
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from test_contract import acts, operation_of, operations
from wire import Wire, contract

from blindtune._generated import operations as table
from blindtune._generated import schemas
from blindtune._generated.operations import Operation
from blindtune.client import objects
from blindtune.client.objects import Job, Record
from blindtune.client.requests import request

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "blindtune"
ROWS = {name: row for name, row in vars(table).items() if isinstance(row, Operation)}
DATES = {"start_date": datetime.date(2026, 1, 2), "end_date": datetime.date(2026, 2, 3)}


def calls() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Every call of the contract by its id; without the health checks, which are no calls."""
    return {
        call["operationId"]: (verb, path, call)
        for path, item in contract()["paths"].items()
        if path.startswith("/v1/")
        for verb, call in item.items()
    }


def test_the_table_is_up_to_date(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "tools/generate.py", ROOT.parents[1] / "openapi.yaml", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in (PACKAGE / "_generated").glob("*.py"))
    same, *_ = filecmp.cmpfiles(tmp_path, PACKAGE / "_generated", names, shallow=False)
    assert same == names, "run make sdk"


def test_it_is_small() -> None:
    generated = [*(PACKAGE / "_generated").glob("*.py"), *(PACKAGE / "client/sync").glob("*.py")]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in generated) < 5000


def test_the_table_has_the_calls_of_the_contract() -> None:
    assert {row.name for row in ROWS.values()} == calls().keys() and len(ROWS) == len(calls()) > 50
    assert all(name == row.name.upper() for name, row in ROWS.items())


@pytest.mark.parametrize("name", sorted(calls()))
def test_a_request_is_what_the_contract_says(name: str) -> None:
    """Method, path and query with every argument, what it may be sent, and whether a repeat counts once."""
    row = ROWS[name.upper()]
    verb, path, call = calls()[name]
    parameters = call.get("parameters", [])
    given = {"path": {}, "query": {}, "header": {}}
    for parameter in parameters:
        value = DATES.get(parameter["name"], f"{parameter['name']}: x/ä")
        given[parameter["in"]][parameter["name"]] = value
    expected = path
    for word, value in given["path"].items():
        expected = expected.replace(f"{{{word}}}", quote(value, safe=""))
    query = dict(given["query"])
    if "metadata" in query:
        query["metadata"] = {"team": "a b"}
    found = request(row, **given["path"], **query)
    assert "{" not in expected and (found.method, f"/v1/{found.path}") == (verb.upper(), expected)
    flat = {"metadata[team]" if word == "metadata" else word: v for word, v in given["query"].items()}
    assert found.options.get("params", {}).keys() == flat.keys()
    assert found.options.get("params", {}) == flat | ({"metadata[team]": "a b"} if "metadata" in query else {})
    assert ("Idempotency-Key" in found.options.get("headers", {})) == ("Idempotency-Key" in given["header"])
    media = set(call.get("requestBody", {}).get("content", {}))
    kinds = {None: set(), "json": {"application/json"}, "multipart": {"multipart/form-data"}}
    assert media == kinds.get(row.body, {"application/json", "application/octet-stream"})
    with pytest.raises(TypeError, match=f"{name} takes no 'unknown'"):
        request(row, **given["path"], unknown="x")
    with pytest.raises(TypeError, match=f"{name} takes no int as its body"):
        request(row, 5, **given["path"])  # type: ignore[arg-type]
    if given["path"]:
        with pytest.raises(TypeError, match=f"{name} lacks an argument"):
            request(row)


def referred(tree: ast.AST) -> Iterator[str]:
    """The names in annotations, calls and imports: a string may be an annotation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


def by_hand() -> set[str]:
    """What code that people wrote refers to."""
    made = (PACKAGE / "_generated", PACKAGE / "client" / "sync")
    files = [path for path in PACKAGE.rglob("*.py") if not any(path.is_relative_to(folder) for folder in made)]
    assert len(files) > 80
    return {name for path in files for name in referred(ast.parse(path.read_text(encoding="utf-8")))}


def unused(source: str, used: set[str]) -> set[str]:
    """Public names of a generated module that neither `used` names nor anything that is used."""
    defined: dict[str, set[str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            defined[node.name] = set(referred(node))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            defined[node.targets[0].id] = set(referred(node.value))
    reached, waiting = set[str](), used & defined.keys()
    while waiting:
        reached |= waiting
        waiting = {name for one in waiting for name in defined[one] & defined.keys()} - reached
    return defined.keys() - reached


def test_all_that_is_generated_is_used() -> None:
    for module in ("operations", "schemas"):
        source = (PACKAGE / "_generated" / f"{module}.py").read_text(encoding="utf-8")
        assert unused(source, by_hand()) == set()
        assert unused(source + "\n\nclass Extra:\n    pass\n\n\nMORE = Extra()\n", by_hand()) == {"Extra", "MORE"}


ANSWERS = {name: value for name, value in vars(schemas).items() if isinstance(value, type)}


def example(call: dict[str, Any]) -> Any:
    """How the contract shows a call's answer in JSON; None where it is in bytes."""
    content = call["responses"]["200"]["content"]
    if "application/octet-stream" in content or "application/json" not in content:
        return None
    shown = content["application/json"]
    found = shown["example"] if "example" in shown else next(iter(shown["examples"].values()))["value"]
    return json.loads(json.dumps(found, default=str))


def answered_type(call: dict[str, Any]) -> str:
    """The name of an answer's type; of a list, that of its items."""
    name = call["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    listed = contract()["components"]["schemas"][name].get("properties", {})
    return str(listed["data"]["items"]["$ref"].rpartition("/")[2] if "has_more" in listed else name)


def test_answers_are_read_as_the_contract_has_them(tmp_path: Path) -> None:
    """Each example of the contract becomes an object of its type, with nothing in it that is not known."""
    found = operations()
    by_name = {f"{verb.upper()} {path}": call for verb, path, call in calls().values()}
    read = set()

    def host(request: httpx.Request) -> httpx.Response:
        call = by_name[str(operation_of(request, found))]
        seen.append(call)
        body = example(call)
        return httpx.Response(200, json=body) if body is not None else httpx.Response(418, json={})

    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_text("{}")
    for act in acts(Wire(host).client(), tmp_path):
        seen: list[dict[str, Any]] = []
        try:
            answer = act()
        except Exception as error:
            assert "418" in str(error) or seen[0]["operationId"] == "create_embeddings", error
            continue
        if isinstance(answer, Record | schemas.JobView):
            kind = Job if isinstance(answer, schemas.JobView) else type(answer)
            assert issubclass(kind, ANSWERS[answered_type(seen[0])]) and answer.extra == {}
            read.add(kind)
    assert read == {kind for kind in vars(objects).values() if type(kind) is type and issubclass(kind, Record)} - {
        Record,
        objects.WebhookEvent,
    }, "each kind of answer is among the examples; a message of a webhook is no answer"
