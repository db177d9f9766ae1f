"""Each rule by which a change of the contract breaks clients, once broken and once kept; and today's contract."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import contract_changes
import pytest
from contract.notes import is_told, notes, refusal
from contract.operations import Change, changes, not_understood

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
NULL: Json = {"type": "null"}
COUNT: Json = {"type": "integer"}
SETTINGS: Json = {"$ref": "#/components/schemas/Settings"}


def an_object(fields: Json, *required: str, **more: Any) -> Json:
    return {"type": "object", "properties": fields, "required": list(required), **more}


def operation(body: Json | None = None, answer: Json | None = None, **more: Any) -> Json:
    made: Json = {
        "operationId": "make",
        "responses": {"200": {"content": {"application/json": {"schema": answer or TEXT}}}},
    }
    if body is not None:
        made["requestBody"] = {"content": {"application/json": {"schema": body}}, "required": True}
    return made | more


def contract(one: Json, settings: Json | None = None, path: str = "/v1/things/{id}") -> Json:
    schemas = {"Settings": settings or an_object({"rank": COUNT})}
    return {"openapi": "3.1.0", "paths": {path: {"post": one}}, "components": {"schemas": schemas}}


def told(old: Json, new: Json) -> list[str]:
    return [f"{change.place}: {change.what}" for change in changes(old, new)]


ONE = an_object({"a": TEXT}, additionalProperties=False)
# What it is about, before, after, and whether this breaks who sends it and who is answered it.
SCHEMAS: list[tuple[str, Json, Json, bool, bool]] = [
    ("same", ONE, ONE, False, False),
    ("optional field added", ONE, an_object({"a": TEXT, "b": TEXT}), False, False),
    ("required field added", an_object({"a": TEXT}, "a"), an_object({"a": TEXT, "b": TEXT}, "a", "b"), True, False),
    ("field removed", an_object({"a": TEXT, "b": TEXT}), an_object({"a": TEXT}), True, True),
    ("field became required", an_object({"a": TEXT}), an_object({"a": TEXT}, "a"), True, False),
    ("field became optional", an_object({"a": TEXT}, "a"), an_object({"a": TEXT}), False, True),
    ("other type", TEXT, COUNT, True, True),
    ("integer became number", COUNT, {"type": "number"}, False, True),
    ("number became integer", {"type": "number"}, COUNT, True, False),
    ("null added", TEXT, {"type": ["string", "null"]}, False, True),
    ("null removed", {"oneOf": [NULL, TEXT]}, TEXT, True, False),
    ("null written otherwise", {"oneOf": [NULL, TEXT]}, {"type": ["string", "null"]}, False, False),
    ("form added", {"oneOf": [TEXT, COUNT]}, {"oneOf": [TEXT, COUNT, {"type": "array", "items": TEXT}]}, False, True),
    ("value added", {**TEXT, "enum": ["a"]}, {**TEXT, "enum": ["b", "a"]}, False, True),
    ("value removed", {**TEXT, "enum": ["a", "b"]}, {**TEXT, "enum": ["a"]}, True, False),
    ("values listed", TEXT, {**TEXT, "enum": ["a"]}, True, False),
    ("constant changed", {"const": "a"}, {"const": "b"}, True, True),
    ("maximum lowered", {**COUNT, "maximum": 9}, {**COUNT, "maximum": 8}, True, False),
    ("minimum raised", COUNT, {**COUNT, "minimum": 1}, True, False),
    ("minimum written otherwise", {**COUNT, "minimum": 1}, {**COUNT, "exclusiveMinimum": 0}, False, False),
    ("minimum excluded", {"type": "number", "minimum": 0}, {"type": "number", "exclusiveMinimum": 0}, True, False),
    ("number in YAML's words", {**COUNT, "maximum": "1e300"}, {**COUNT, "maximum": 1e300}, False, False),
    ("maxLength lowered", {**TEXT, "maxLength": 9}, {**TEXT, "maxLength": 8}, True, False),
    ("maxItems raised", {"type": "array", "items": TEXT, "maxItems": 8}, {"type": "array", "items": TEXT}, False, True),
    ("minProperties added", {"type": "object"}, {"type": "object", "minProperties": 1}, True, False),
    ("pattern added", TEXT, {**TEXT, "pattern": "^a"}, True, False),
    ("pattern changed", {**TEXT, "pattern": "^b"}, {**TEXT, "pattern": "^a"}, True, True),
    ("format widened", {**COUNT, "format": "int32"}, {**COUNT, "format": "int64"}, False, True),
    (
        "items narrowed",
        {"type": "array", "items": TEXT},
        {"type": "array", "items": {**TEXT, "minLength": 1}},
        True,
        False,
    ),
    ("free fields refused", {"type": "object"}, {"type": "object", "additionalProperties": False}, True, False),
    (
        "free fields narrowed",
        {"type": "object", "additionalProperties": TEXT},
        {"type": "object", "additionalProperties": {**TEXT, "maxLength": 8}},
        True,
        False,
    ),
    (
        "free names narrowed",
        {"type": "object", "additionalProperties": TEXT},
        {"type": "object", "additionalProperties": TEXT, "propertyNames": {"maxLength": 8, "type": "string"}},
        True,
        False,
    ),
    ("unknown fields said to be refused", an_object({"a": TEXT}), ONE, False, False),
    ("written as a reference", an_object({"rank": COUNT}), SETTINGS, False, False),
    (
        "written in parts",
        an_object({"rank": COUNT, "a": TEXT}),
        {"allOf": [SETTINGS, an_object({"a": TEXT})]},
        False,
        False,
    ),
    ("part lost", {"allOf": [SETTINGS, an_object({"a": TEXT})]}, SETTINGS, True, True),
    ("texts and defaults", {**TEXT, "default": "a", "description": "One."}, {**TEXT, "default": "b"}, False, False),
]


@pytest.mark.parametrize(("what", "old", "new", "sent", "answered"), SCHEMAS, ids=[row[0] for row in SCHEMAS])
def test_a_schema_breaks_who_sends_it_or_who_is_answered_it(
    what: str, old: Json, new: Json, sent: bool, answered: bool
) -> None:
    as_body = told(contract(operation(an_object({"f": old}))), contract(operation(an_object({"f": new}))))
    as_answer = told(contract(operation(None, an_object({"f": old}))), contract(operation(None, an_object({"f": new}))))
    as_parameter = told(with_parameter(schema=old), with_parameter(schema=new))
    assert (bool(as_body), bool(as_answer), bool(as_parameter)) == (sent, answered, sent), (as_body, as_answer)


def with_parameter(name: str = "limit", **how: Any) -> Json:
    return contract(operation(parameters=[{"name": name, "in": "query", **how}]))


def with_answer(status: str, **how: Any) -> Json:
    one = operation()
    one["responses"][status] = {"content": {"application/json": {"schema": TEXT}}, **how}
    return contract(one)


HEADER: Json = {"headers": {"X-Id": {"schema": TEXT, "required": True}}}
KEYED = [{"key": []}]
# What it is about, before, after, and what breaks.
OPERATIONS: list[tuple[str, Json, Json, str]] = [
    ("call removed", contract(operation()), {"paths": {}}, "`make` (POST /v1/things/{id}): is gone"),
    ("call added", {"paths": {}}, contract(operation()), ""),
    ("name in the path", contract(operation()), contract(operation(operationId="do"), path="/v1/things/{thing}"), ""),
    (
        "parameter removed",
        with_parameter(),
        contract(operation()),
        "query parameter `limit` of `make`: is no longer taken",
    ),
    ("parameter added", contract(operation()), with_parameter(), ""),
    ("required one added", contract(operation()), with_parameter(required=True), "of `make`: must be given"),
    ("parameter required", with_parameter(), with_parameter(required=True), "of `make`: must be given"),
    ("list written otherwise", with_parameter(explode=True), with_parameter(explode=False), "in another way"),
    ("body required", contract(operation()), contract(operation(TEXT)), "body of `make`: must be given"),
    ("body removed", contract(operation(TEXT)), contract(operation()), "body of `make`: is no longer taken"),
    ("refusal added", contract(operation()), with_answer("409"), ""),
    ("refusal removed", with_answer("409"), contract(operation()), "answer 409 of `make`: is gone"),
    ("success added", contract(operation()), with_answer("202"), "answer 202 of `make`: is one that clients do not"),
    (
        "header removed",
        with_answer("200", **HEADER),
        with_answer("200"),
        "header `x-id` of answer 200 of `make`: is gone",
    ),
    (
        "header spelled otherwise",
        with_answer("200", **HEADER),
        with_answer("200", headers={"x-id": HEADER["headers"]["X-Id"]}),
        "",
    ),
    (
        "other media type",
        with_answer("200"),
        with_answer("200", content={"text/csv": {}}),
        "no longer given as `application/json`",
    ),
    (
        "further media type",
        with_answer("200", content={"a/b": {}}),
        with_answer("200", content={"a/b": {}, "c/d": {}}),
        "",
    ),
    ("key asked for", contract(operation(security=[{}])), contract(operation(security=KEYED)), "needs another key"),
    ("key or none", contract(operation(security=KEYED)), contract(operation(security=[{}, *KEYED])), ""),
    (
        "scope of the scheme",
        contract(operation(security=[{"key": ["read"]}])),
        contract(operation(security=[{"key": ["read", "write"]}])),
        "needs another key or another scope",
    ),
    (
        "scope in words",
        contract(operation(description="Makes.")),
        contract(operation(description="Makes. Needs the scope `admin`.")),
        "`make`: needs the scope `admin`",
    ),
    ("deprecated", contract(operation()), contract(operation(deprecated=True)), "`make`: is deprecated"),
    ("parameter deprecated", with_parameter(), with_parameter(deprecated=True), "of `make`: is deprecated"),
]


@pytest.mark.parametrize(("what", "old", "new", "expected"), OPERATIONS, ids=[row[0] for row in OPERATIONS])
def test_a_call_breaks_its_callers(what: str, old: Json, new: Json, expected: str) -> None:
    found = told(old, new)
    assert len(found) == bool(expected) and all(expected in one for one in found), found


def test_a_schema_is_named_once_with_its_side_and_all_calls_that_use_it() -> None:
    old = contract(operation(SETTINGS, SETTINGS))
    old["paths"]["/v1/others"] = {"get": operation(None, {"oneOf": [NULL, SETTINGS]}, operationId="list")}
    new = deepcopy(old)
    new["components"]["schemas"]["Settings"]["properties"] = {}
    found = {change.place: change for change in changes(old, new)}
    assert found.keys() == {"Settings.rank, in requests", "Settings.rank, in answers"}
    answers = found["Settings.rank, in answers"]
    assert set(answers.operations) == {"make", "list"} and "Settings" in answers.names


def test_a_schema_that_has_itself_as_a_field_is_compared() -> None:
    def tree(of: Json) -> Json:
        return contract(operation(SETTINGS), an_object({"inner": {"oneOf": [NULL, SETTINGS]}, "rank": of}))

    assert told(tree(COUNT), tree(COUNT)) == []
    assert told(tree(COUNT), tree(TEXT)) == ["Settings.rank, in requests: no longer takes integer"]


def test_a_keyword_that_would_be_passed_over_is_found() -> None:
    assert not_understood(contract(operation(an_object({"a": {"not": TEXT}})))) == {"not"}


CHANGED = Change("Settings.rank, in requests", "is no longer taken", frozenset({"Settings", "make"}), ("make",))


def changelog(heading: str, entry: str) -> str:
    older = "## 0.2.0 - 2026-11-28\n\n### Changed\n- `Settings`\n"
    return f"# Changelog\n\n## Unreleased\n\n### {heading}\n{entry}\n\n{older}"


@pytest.mark.parametrize(
    ("heading", "entry", "enough"),
    [
        ("Changed", "- `Settings` has no rank.", True),
        ("Removed", "- Away:\n  `Settings.rank`.", True),
        ("Deprecated", "- `make` will go.", True),
        ("Added", "- `Settings` has no rank.", False),
        ("Changed", "- Settings has no rank; `Settings2` has.", False),
        ("Fixed", "- `make`", False),
    ],
)
def test_a_note_is_an_entry_of_unreleased_that_names_it(heading: str, entry: str, enough: bool) -> None:
    assert is_told(CHANGED, notes(changelog(heading, entry))) == enough


def test_a_deprecation_is_noted_as_one() -> None:
    deprecated = Change("`make`", "is deprecated", frozenset({"make"}), deprecated=True)
    assert is_told(deprecated, notes(changelog("Deprecated", "- `make`")))
    assert not is_told(deprecated, notes(changelog("Changed", "- `make`")))


def test_the_refusal_says_where_what_and_what_to_do() -> None:
    said = refusal([CHANGED], "0.3.0")
    for words in (
        "breaks clients of 0.3.0",
        "Settings.rank, in requests (make): is no longer taken",
        "CHANGELOG.md",
        "`Settings`",
    ):
        assert words in said
    assert refusal([], "0.3.0") == ""


def test_an_error_code_that_is_gone_or_comes_with_another_status_breaks_programs() -> None:
    old = {"gone": [404], "moved": [409], "kept": [400, 422]}
    found = contract_changes.of_codes(old, {"moved": [422], "kept": [400], "new": [400]})
    assert [change.place for change in found] == ["error code `gone`", "error code `moved`"]


@pytest.mark.parametrize(
    ("version", "tags", "reason"),
    [("0.2.0", "v0.1.0\n", ""), ("0.2.0", "v0.2.0\n", "is released"), ("0.3.0", "", "has no section 0.3.0")],
)
def test_the_contract_of_a_release_is_kept_with_it_and_not_after_it(version: str, tags: str, reason: str) -> None:
    said = contract_changes.why_not(version, changelog("Added", "- x"), tags)
    assert reason in said and bool(said) == bool(reason)


def test_the_contract_breaks_no_client_of_the_last_release_without_a_note() -> None:
    said = refusal(*contract_changes.untold())
    assert not said, said


def test_every_keyword_of_the_contract_is_understood() -> None:
    assert not_understood(contract_changes.read(contract_changes.CONTRACT)) == set()


def test_a_field_that_is_taken_from_the_real_contract_is_missed() -> None:
    old = contract_changes.read(contract_changes.CONTRACT)
    new = deepcopy(old)
    del new["components"]["schemas"]["ErrorBody"]["properties"]["code"]
    found = changes(old, new)
    assert [change.place for change in found] == ["ErrorBody.code, in answers"]
    assert len(found[0].operations) > 40
