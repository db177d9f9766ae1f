"""Every operation of the API as a page of Markdown, from openapi.yaml.

Owns: the page's layout. Must never: say what an operation does; the contract does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

METHODS = ("get", "post", "put", "patch", "delete")
HEAD = """\
# The API's contract

All {count} operations of version {version}, from [openapi.yaml](../openapi.yaml), which has every answer's fields too.
How calls fit together: [the API, task by task](../docs/api.md).
"""


def reference(contract: Path) -> str:
    """The page: a section for each tag, in the contract's order."""
    api = yaml.load(contract.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    paths = api["paths"].items()
    found = [(method, path, call) for path, calls in paths for method, call in calls.items() if method in METHODS]
    lines = [HEAD.format(count=len(found), version=api["info"]["version"])]
    for tag in api["tags"]:
        lines.append(f"## {tag['name'].capitalize()}\n\n{tag['description']}.")
        for method, path, call in found:
            if call["tags"][0] == tag["name"]:
                lines.extend(operation(api, method, path, call))
    return "\n\n".join(lines) + "\n"


def operation(api: Mapping[str, Any], method: str, path: str, call: Mapping[str, Any]) -> Iterator[str]:
    """One operation: what it does, what it takes, how it is answered."""
    yield f"### {call['summary']}"
    yield f"`{method.upper()} {path}`"
    yield joined(call.get("description", ""))
    parameters = [resolved(api, one) for one in call.get("parameters", [])]
    if parameters:
        rows = [(name_of(one), one["in"], one.get("description", "")) for one in parameters]
        yield table(("parameter", "in", "what it is"), rows)
    for media, body in call.get("requestBody", {}).get("content", {}).items():
        parts = list(fields(api, body.get("schema", {})))
        yield f"Body, `{media}`" + (":" if parts else ".")
        if parts:
            yield table(("field", "type", "what it is"), parts)
    answers = [(code, resolved(api, one).get("description", "")) for code, one in call["responses"].items()]
    yield table(("answer", "means"), answers)


def name_of(parameter: Mapping[str, Any]) -> str:
    """The name as code, and whether it must be given."""
    needed = parameter.get("required") and parameter["in"] != "path"
    return f"`{parameter['name']}`" + (" (required)" if needed else "")


def fields(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The fields of a body, as far as it is one object."""
    whole = resolved(api, schema)
    for name, field in whole.get("properties", {}).items():
        needed = " (required)" if name in whole.get("required", ()) else ""
        yield f"`{name}`{needed}", type_of(api, field), words_of(api, field)


def words_of(api: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    """What stands with a field, with the one form of it that is not null, or with that form's definition."""
    forms = [field, *(form for form in field.get("oneOf", []) if form.get("type") != "null")]
    said = [form["description"] for form in forms if "description" in form]
    return said[0] if said else str(resolved(api, forms[-1]).get("description", ""))


def type_of(api: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    """The type in words: `text or null`, a list of something, the words to choose from."""
    if "oneOf" in field:
        return " or ".join(dict.fromkeys(type_of(api, form) for form in field["oneOf"]))
    whole = resolved(api, field)
    if "oneOf" in whole:
        return " or ".join(dict.fromkeys(type_of(api, form) for form in whole["oneOf"]))
    if whole.get("enum"):
        return ", ".join(f"`{'null' if word is None else word}`" for word in whole["enum"])
    kind = whole.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def resolved(api: Mapping[str, Any], part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of the contract, followed where it only names another."""
    while "$ref" in part:
        found: Any = api
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; bars and angle brackets of a cell stay signs."""
    cells = [tuple(joined(cell).replace("|", "\\|").replace("<", "&lt;") for cell in row) for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ("---",) * len(head), *cells])


def joined(text: str) -> str:
    """Lines of one paragraph as one line."""
    return re.sub(r"\s*\n\s*", " ", text).strip()
