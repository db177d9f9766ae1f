"""Whether what was sent is still taken, and whether what is answered was to be expected: schema against schema.

A request must take every value of before; an answer may only have values of before, but for further fields.

Owns: the reading of the JSON Schema that the contract uses; what it does not know, `unknown_keywords` finds. Must
never: compare titles, descriptions, examples or defaults, or know an operation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

Schema = Mapping[str, Any]
Bound = tuple[str, str | None, int]

WORDS_ONLY = {"title", "description", "example", "examples", "default", "deprecated"}
COMBINED = ("$ref", "allOf", "oneOf", "anyOf")
BOUNDS: tuple[Bound, ...] = (
    ("minimum", "exclusiveMinimum", 1),
    ("maximum", "exclusiveMaximum", -1),
    ("minLength", None, 1),
    ("maxLength", None, -1),
    ("minItems", None, 1),
    ("maxItems", None, -1),
    ("minProperties", None, 1),
    ("maxProperties", None, -1),
)
SAME = ("pattern", "format", "multipleOf", "uniqueItems", "contentEncoding", "contentMediaType")
WIDER_FORMATS = {("int32", "int64"), ("float", "double")}
OTHERS = {"type", "enum", "const", "properties", "required", "additionalProperties", "propertyNames", "items"}
KNOWN = WORDS_ONLY | OTHERS | {*COMBINED, *SAME} | {name for low, high, _ in BOUNDS for name in (low, high) if name}


@dataclass(frozen=True)
class Place:
    """Where something is: in a named schema, or in a part of an operation that has none."""

    text: str
    names: frozenset[str] = frozenset()

    def named(self, names: Sequence[str]) -> Place:
        """The place of a schema with these names, its own first; this one where it has none."""
        return Place(names[0], frozenset(names)) if names else self

    def field(self, name: str) -> Place:
        """A field of the object here."""
        return replace(self, text=f"{self.text}.{name}")


@dataclass(frozen=True)
class Gap:
    """One thing that a client would run into, or will (`deprecated`)."""

    place: Place
    what: str
    deprecated: bool = False


@dataclass(frozen=True)
class Form:
    """One of the forms that a value may have: a single type, nothing left to be looked up. Names, its own first."""

    keywords: Schema
    names: tuple[str, ...] = ()

    @property
    def type(self) -> str | None:
        """Its type; None: any."""
        kind = self.keywords.get("type")
        return None if kind is None else str(kind)


def looked_up(document: Schema, reference: str) -> Any:
    """What a `$ref` of this document names."""
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def forms(document: Schema, schema: Schema) -> list[Form]:
    """All forms that a value of this schema may have."""
    own = {name: value for name, value in schema.items() if name not in COMBINED}
    groups = [[Form(one) for one in _by_type(own)]]
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        inner = forms(document, looked_up(document, schema["$ref"]))
        groups.append([Form(form.keywords, (name, *form.names)) for form in inner])
    groups += [forms(document, part) for part in schema.get("allOf", ())]
    for word in ("oneOf", "anyOf"):
        if word in schema:
            groups.append([form for part in schema[word] for form in forms(document, part)])
    return [_merged(parts) for parts in product(*groups)]


def _by_type(own: Schema) -> Iterator[Schema]:
    kinds = own.get("type")
    if not isinstance(kinds, list):
        guessed = "object" if "properties" in own else "array" if "items" in own else None
        yield {**own, "type": guessed} if kinds is None and guessed else own
        return
    for kind in kinds:
        yield {"type": "null"} if kind == "null" else {**own, "type": kind}


def _merged(parts: Sequence[Form]) -> Form:
    """One form that is all of these at once."""
    merged: dict[str, Any] = {}
    for part in parts:
        both = {name for name in part.keywords.get("properties", {}) if name in merged.get("properties", {})}
        fields = {**merged.get("properties", {}), **part.keywords.get("properties", {})}
        fields |= {name: {"allOf": [merged["properties"][name], fields[name]]} for name in both}
        required = [*merged.get("required", ()), *part.keywords.get("required", ())]
        merged |= part.keywords
        merged |= ({"properties": fields} if fields else {}) | ({"required": required} if required else {})
    return Form(merged, tuple(dict.fromkeys(name for part in parts for name in part.names)))


def is_open(keywords: Schema) -> bool:
    """Whether an object of fields of any name is meant. A request that only says nothing refuses them all the same."""
    free = keywords.get("additionalProperties")
    return "properties" not in keywords if free is None else free is not False


def _values(keywords: Schema) -> list[Any] | None:
    return [keywords["const"]] if "const" in keywords else keywords.get("enum")


def _strictness(form: Form, bound: Bound) -> tuple[float, int]:
    """Larger where fewer values pass."""
    inclusive, exclusive, sign = bound
    found = [(-float("inf"), 0)]
    if inclusive in form.keywords:
        found.append((sign * float(form.keywords[inclusive]), 0))
    if exclusive and exclusive in form.keywords:
        value = sign * float(form.keywords[exclusive])
        found.append((value + 1, 0) if form.type == "integer" else (value, 1))
    return max(found)


@dataclass
class Comparison:
    """The schemas of two documents, all seen as requests or all as answers."""

    old: Schema
    new: Schema
    request: bool
    _known: dict[tuple[str, str, str], tuple[Gap, ...]] = field(default_factory=dict)

    def gaps(self, old: Schema, new: Schema, place: Place) -> tuple[Gap, ...]:
        """What breaks a client from the one schema to the other."""
        key = (place.text, json.dumps(old, sort_keys=True, default=str), json.dumps(new, sort_keys=True, default=str))
        if key not in self._known:
            self._known[key] = ()  # a schema within itself differs no further than it does outside
            before, after = forms(self.old, old), forms(self.new, new)
            each, among = (before, after) if self.request else (after, before)
            self._known[key] = tuple(dict.fromkeys(gap for form in each for gap in self._best(form, among, place)))
        return self._known[key]

    def _best(self, form: Form, among: Sequence[Form], place: Place) -> Sequence[Gap]:
        """The gaps to that form of the other side which is nearest."""
        fitting = [other for other in among if self._fits(form, other)]
        if not fitting:
            kind = form.type or "anything"
            told = f"no longer takes {kind}" if self.request else f"may be {kind}, which it never was"
            return [Gap(replace(place, names=place.names.union(form.names)), told)]
        return min(([*self._pair(form, other, place)] for other in fitting), key=len)

    def _fits(self, form: Form, other: Form) -> bool:
        return other.type in (None, form.type) or (form.type, other.type) == ("integer", "number")

    def _pair(self, form: Form, other: Form, place: Place) -> Iterator[Gap]:
        old, new = (form, other) if self.request else (other, form)
        here = place.named(old.names or new.names)
        yield from (Gap(here, told) for told in self._plain(form, other))
        if "object" in (old.type, new.type):
            yield from self._fields(old.keywords, new.keywords, here)
            yield from self._free_fields(old.keywords, new.keywords, here)
        if "items" in old.keywords or "items" in new.keywords:
            yield from self.gaps(old.keywords.get("items", {}), new.keywords.get("items", {}), here.field("[]"))

    def _plain(self, form: Form, other: Form) -> Iterator[str]:
        """By values, bounds, pattern and format: what the one has and the other has not."""
        mine, others = form.keywords, other.keywords
        values, allowed = _values(mine), _values(others)
        if allowed is not None:
            beyond = ["other values"] if values is None else [f"`{value}`" for value in values if value not in allowed]
            told = "no longer takes" if self.request else "may be what it never was:"
            yield from [f"{told} {', '.join(beyond)}"] if beyond else []
            return
        for bound in BOUNDS:
            if _strictness(form, bound) < _strictness(other, bound):
                yield self._was(bound[0], form, other) if bound[0] in others else self._was(str(bound[1]), form, other)
        for name in SAME:
            pair = (mine.get(name), others.get(name))
            if pair[1] and pair[0] != pair[1] and pair not in WIDER_FORMATS:
                yield self._was(name, form, other)

    def _was(self, name: str, form: Form, other: Form) -> str:
        old, new = (form, other) if self.request else (other, form)
        return f"`{name}` was {old.keywords.get(name, 'not set')}, is {new.keywords.get(name, 'not set')}"

    def _fields(self, old: Schema, new: Schema, here: Place) -> Iterator[Gap]:
        """By the fields that have names."""
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name in after:
                yield from self.gaps(schema, after[name], here.field(name))
                if after[name].get("deprecated") and not schema.get("deprecated"):
                    yield Gap(here.field(name), "is deprecated", deprecated=True)
            elif not (self.request and is_open(new)):
                yield Gap(here.field(name), "is no longer taken" if self.request else "is gone")
        had, has = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(has - had if self.request else (had - has) & after.keys()):
            yield Gap(here.field(name), "must be given" if self.request else "may be left out")

    def _free_fields(self, old: Schema, new: Schema, here: Place) -> Iterator[Gap]:
        """By the fields of any name."""
        before, after = old.get("additionalProperties"), new.get("additionalProperties")
        if is_open(old) and not is_open(new) and (self.request or isinstance(before, dict)):
            yield Gap(here, "no longer takes fields of any name" if self.request else "has no fields of any name")
        elif is_open(old) and is_open(new):
            yield from self.gaps(_schema(before), _schema(after), here.field("*"))
        if "propertyNames" in old or "propertyNames" in new:
            before, after = (one.get("propertyNames", {"type": "string"}) for one in (old, new))
            yield from self.gaps(before, after, here.field("(names)"))


def _schema(given: Any) -> Schema:
    """A schema that may be given as true, or not at all."""
    return given if isinstance(given, dict) else {}


def unknown_keywords(schema: Any) -> set[str]:
    """Keywords in a schema that this module would pass over."""
    if not isinstance(schema, dict):
        return set()
    found = set(schema) - KNOWN
    inner = [*schema.get("properties", {}).values(), *(schema.get(word) for word in ("items", "propertyNames"))]
    inner += [schema.get("additionalProperties"), *(one for word in COMBINED[1:] for one in schema.get(word, ()))]
    return found.union(*(unknown_keywords(one) for one in inner))
