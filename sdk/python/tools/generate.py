"""Makes `src/blindtune/_generated` from the contract: `python tools/generate.py ../../openapi.yaml [folder]`.

operations.py is the table of all calls. schemas.py has the objects that they answer, and the optional fields of a few
bodies. A schema of a form that is not known here fails the run.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent.parent
TENSORS = "application/octet-stream"
NO_CALLS = {"health"}
"""Tags of what no client calls."""

UNREAD = {"Deleted"}
"""Answers that say nothing new."""

DICTS = {"AdapterLayout", "EmbeddingsAnswer", "OptimStepAnswer"}
"""Answers that stay the dictionaries that JSON has, as everything inside of an answer does."""

VIEWS = {"JobObject": "JobView"}
"""Objects that are followed: a view shows the fields of the newest one."""

KEYWORDS = {
    "JobFields": ("CreateJob", {"model", "method", "validation_file", "integrations"}),
    "EstimateFields": ("EstimateBody", {"model"}),
    "KeyLimits": ("CreateApiKey", {"name", "scopes", "days"}),
    "WebhookFields": ("UpdateWebhook", set[str]()),
}
"""What a method takes as keywords beside its own parameters: a body without those."""

OPERATIONS = '''"""Every call of the contract: where it goes, and what it takes."""

# Made from openapi.yaml by tools/generate.py: `make sdk`.

from __future__ import annotations

from typing import Literal, NamedTuple


class Operation(NamedTuple):
    """One call. `path` is relative to the base URL; `query` are the names that it may have there."""

    name: str
    method: str
    path: str
    query: tuple[str, ...] = ()
    body: Literal["json", "multipart", "tensors"] | None = None
    """What it is sent; `tensors` may come as JSON too."""
    creates: bool = False
    """Whether an Idempotency-Key makes a repeat of it the same request."""
    accept: str | None = None
    """What to ask for, where it answers in more than one form."""


'''

SCHEMAS = '''"""What the host answers, and the optional fields of some bodies, as the contract has them."""

# Made from openapi.yaml by tools/generate.py: `make sdk`.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from typing_extensions import NotRequired

_absent: Callable[[], Any] = dict
"""For objects that an older host leaves out."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Answer:
    """Anything a host answers with. What this release does not know of it is in `extra`."""

    extra: Mapping[str, Any] = field(default_factory=dict)


'''


def main(contract: Path, target: Path) -> None:
    """Generate into `target`."""
    document = yaml.load(contract.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    target.mkdir(parents=True, exist_ok=True)
    files = {
        "__init__.py": '"""What tools/generate.py makes of openapi.yaml."""\n',
        "operations.py": OPERATIONS + "\n".join(operation(*call) for call in calls(document)),
        "schemas.py": SCHEMAS + "\n\n".join(Schemas(document).classes()),
    }
    for name, text in files.items():
        (target / name).write_text(text, encoding="utf-8")
    config = ["--config", str(HERE / "pyproject.toml"), "--quiet"]
    subprocess.run([sys.executable, "-m", "ruff", "format", *config, str(target)], check=True)


def calls(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """All calls: verb, path, and what the contract says of it."""
    for path, item in document["paths"].items():
        for verb, call in item.items():
            if not NO_CALLS & set(call["tags"]):
                yield verb, path, call


def operation(verb: str, path: str, call: Mapping[str, Any]) -> str:
    """The row of one call."""
    parameters = call.get("parameters", ())
    row: dict[str, Any] = {
        "name": call["operationId"],
        "method": verb.upper(),
        "path": path.removeprefix("/v1/"),
        "query": tuple(parameter["name"] for parameter in parameters if parameter["in"] == "query"),
        "body": _body(set(call.get("requestBody", {}).get("content", ()))),
        "creates": any(parameter["name"] == "Idempotency-Key" for parameter in parameters),
        "accept": TENSORS if {"application/json", TENSORS} <= set(_answers(call)) else None,
    }
    given = ", ".join(f"{name}={value!r}" for name, value in row.items() if value)
    return f"{call['operationId'].upper()} = Operation({given})"


def _body(media: set[str]) -> str | None:
    known = {"multipart/form-data": "multipart", TENSORS: "tensors", "application/json": "json"}
    return next((known[name] for name in known if name in media), None)


def _answers(call: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = call["responses"]["200"]["content"]
    return found


class Schemas:
    """The classes of schemas.py: those that answers are made of, in an order in which each is known to the next."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.schemas: dict[str, Any] = document["components"]["schemas"]
        self.answers = {name for _, _, call in calls(document) for name in self._answer(call)} - UNREAD
        self.wanted = set(self.answers)
        for name in sorted(self.answers):
            self._reach(self.schemas[name])

    def _answer(self, call: Mapping[str, Any]) -> Iterator[str]:
        """The type of an answer that is an object; of a list, that of its items. Tensors have none."""
        content = _answers(call)
        if TENSORS not in content and "application/json" in content:
            name = _reference(content["application/json"]["schema"])
            listed = self.schemas[name].get("properties", {})
            yield _reference(listed["data"]["items"]) if "has_more" in listed else name

    def _reach(self, schema: Any) -> None:
        """Want everything that this is made of."""
        for part in _references(schema):
            if self._is_object(self.schemas[part]) and part not in self.wanted:
                self.wanted.add(part)
                self._reach(self.schemas[part])

    def classes(self) -> Iterator[str]:
        """All of them, as Python."""
        for name in sorted(self.wanted - self.answers | DICTS):
            yield self._dictionary(name, self.schemas[name])
        objects = self.answers - DICTS
        for name in sorted(objects, key=lambda name: ("allOf" in self.schemas[name], name)):
            yield self._object(name, self.schemas[name])
        for name, view in VIEWS.items():
            yield self._view(view, name)
        for keywords, (name, without) in KEYWORDS.items():
            yield self._keywords(keywords, self.schemas[name], without)

    def _object(self, name: str, schema: Mapping[str, Any]) -> str:
        """An answer: a frozen dataclass that takes what an older host leaves out for nothing."""
        base, own = "Answer", schema
        if "allOf" in schema:  # what one answer has beyond another is absent from the other
            base = next(_reference(part) for part in schema["allOf"] if "$ref" in part)
            own = next(part for part in schema["allOf"] if "properties" in part)
        lines = ["@dataclass(frozen=True, kw_only=True, repr=False)", f"class {name}({base}):", *_words(schema)]
        for field, kind in own["properties"].items():
            shown = self.kind(kind)
            if base != "Answer":
                lines += [f"    {field}: {shown} | None = None", *_words(kind)]
            else:
                lines += [f"    {field}: {shown}{'' if field == 'id' else f' = {self._nothing(shown)}'}", *_words(kind)]
        return "\n".join([*lines, ""])

    def _nothing(self, kind: str) -> str:
        """What stands for an absent value of this type."""
        plain = {"str": '""', "int": "0", "float": "0.0", "bool": "False"}
        if kind.endswith("| None") or kind in plain:
            return plain.get(kind, "None")
        if kind.startswith("Sequence["):
            return "()"
        return f"field(default_factory={'dict' if kind.startswith('Mapping[') else '_absent'})"

    def _dictionary(self, name: str, schema: Mapping[str, Any]) -> str:
        lines = [f"class {name}(TypedDict):", *_words(schema)]
        for field, kind in schema["properties"].items():
            shown = self.kind(kind)
            optional = field not in schema.get("required", ())
            lines += [f"    {field}: {f'NotRequired[{shown}]' if optional else shown}", *_words(kind)]
        return "\n".join([*lines, ""])

    def _view(self, view: str, name: str) -> str:
        lines = [f"class {view}:", f'    """The fields of the newest `{name}`, to be read."""', "", f"    _now: {name}"]
        for field, kind in self.schemas[name]["properties"].items():
            lines += ["", "    @property", f"    def {field}(self) -> {self.kind(kind)}:", *_words(kind, 8)]
            lines += [f"        return self._now.{field}"]
        return "\n".join([*lines, ""])

    def _keywords(self, keywords: str, schema: Mapping[str, Any], without: set[str]) -> str:
        lines = [f"class {keywords}(TypedDict, total=False):", *_words(schema)]
        for field, kind in schema["properties"].items():
            if field not in without:
                shown = self.kind(kind, nested=False).removesuffix(" | None")
                lines += [f"    {field}: {shown} | None", *_words(kind)]
        return "\n".join([*lines, ""])

    def kind(self, schema: Mapping[str, Any], nested: bool = True) -> str:
        """The Python type of a value. Without `nested`, objects in it are any mapping."""
        if "$ref" in schema:
            target = self.schemas[_reference(schema)]
            return _reference(schema) if nested and self._is_object(target) else self.kind(target, nested)
        if "oneOf" in schema:
            kinds = list(dict.fromkeys(self.kind(part, nested) for part in schema["oneOf"]))
            return " | ".join(sorted(kinds, key=lambda kind: kind == "None"))
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        return " | ".join(self._plain(kind, schema, nested) for kind in kinds)

    def _plain(self, kind: str, schema: Mapping[str, Any], nested: bool) -> str:
        plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
        if kind in plain:
            return plain[kind]
        if kind == "array":
            return f"Sequence[{self.kind(schema['items'], nested)}]"
        if kind == "object":
            values = schema.get("additionalProperties")
            return f"Mapping[str, {self.kind(values, nested) if isinstance(values, dict) else 'Any'}]"
        raise ValueError(f"no Python type for {schema}")

    def _is_object(self, schema: Mapping[str, Any]) -> bool:
        return "properties" in schema or "allOf" in schema


def _reference(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_references, value))
    if not isinstance(value, dict):
        return set()
    here = {_reference(value)} if isinstance(value.get("$ref"), str) else set()
    return here.union(*map(_references, value.values()))


def _words(schema: Mapping[str, Any], indent: int = 4) -> list[str]:
    """The description as a docstring."""
    words = schema.get("description") or next(
        (part["description"] for part in schema.get("oneOf", ()) if "description" in part), ""
    )
    if not words:
        return []
    text = re.sub(r"\s+", " ", words).strip().replace("\\", "\\\\").replace('"""', "'''")
    lines = textwrap.wrap(f'"""{text}"""', 118 - indent, break_long_words=False, break_on_hyphens=False)
    return [" " * indent + line for line in lines]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "src/blindtune/_generated")
