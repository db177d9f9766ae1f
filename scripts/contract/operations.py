"""What breaks a client between two contracts, operation by operation.

Only what goes over the wire counts: names of operations, schemas and path parameters are free, and so are texts. The
exception is a scope that an operation's description says it needs.

Owns: the walk over paths, parameters, bodies, answers and keys. Must never: read a file, or judge a schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .schemas import Comparison, Gap, Place, Schema, looked_up, unknown_keywords

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SCOPE = re.compile(r"scopes? `([^`]+)`")


@dataclass(frozen=True)
class Change:
    """One change that breaks clients, or a deprecation, with the words by which a note may name it."""

    place: str
    what: str
    names: frozenset[str]
    operations: tuple[str, ...] = ()
    deprecated: bool = False


@dataclass(frozen=True)
class Operation:
    """One call of a contract."""

    document: Schema
    path: str
    method: str
    shared: tuple[Schema, ...]
    own: Schema

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.own.get("operationId") or f"{self.method.upper()} {self.path}")

    @property
    def names(self) -> frozenset[str]:
        """What a note may call it."""
        return frozenset({self.name, self.path, f"{self.method.upper()} {self.path}"})

    def resolved(self, part: Schema) -> Schema:
        """A parameter, body, answer or header, from where it stands."""
        found: Schema = looked_up(self.document, part["$ref"]) if "$ref" in part else part
        return found

    def parameters(self) -> dict[tuple[str, str], Schema]:
        """By place and name; those of the path by their position, headers in small letters."""
        found = {}
        for given in (*self.shared, *self.own.get("parameters", ())):
            one = self.resolved(given)
            where, name = one["in"], one["name"]
            name = (
                str(self.path.find(f"{{{name}}}")) if where == "path" else name.lower() if where == "header" else name
            )
            found[where, name] = one
        return found

    def body(self) -> Schema | None:
        """What it is sent."""
        given = self.own.get("requestBody")
        return None if given is None else self.resolved(given)

    def answers(self) -> dict[str, Schema]:
        """By status."""
        return {str(status): self.resolved(one) for status, one in self.own.get("responses", {}).items()}

    def ways_in(self) -> list[dict[str, set[str]]]:
        """The ways to be let in: each names schemes with their scopes."""
        ways = self.own.get("security", self.document.get("security", [])) or [{}]
        return [{scheme: set(scopes) for scheme, scopes in way.items()} for way in ways]

    def scopes(self) -> set[str]:
        """What its description says that a key needs."""
        return set(SCOPE.findall(self.own.get("description", "")))


def operations(document: Schema) -> dict[tuple[str, str], Operation]:
    """All calls of a contract, by path without the names in it, and by method."""
    found = {}
    for path, item in document.get("paths", {}).items():
        shared = tuple(item.get("parameters", ()))
        for method in item.keys() & set(METHODS):
            found[re.sub(r"\{[^}]*\}", "{}", path), method] = Operation(document, path, method, shared, item[method])
    return found


def changes(old: Schema, new: Schema) -> list[Change]:
    """What of the new contract breaks clients of the old one, and what it deprecates."""
    before, after = operations(old), operations(new)
    pair = Comparison(old, new, request=True), Comparison(old, new, request=False)
    met: dict[tuple[Gap, str], list[Operation]] = {}
    for key, operation in sorted(before.items()):
        if key not in after:
            gone = Gap(Place(f"`{operation.name}` ({operation.method.upper()} {operation.path})"), "is gone")
            met[gone, ""] = [operation]
            continue
        for gap, side in _of_operation(operation, after[key], *pair):
            met.setdefault((gap, side), []).append(operation)
    return [_change(gap, side, where) for (gap, side), where in met.items()]


def _change(gap: Gap, side: str, where: Iterable[Operation]) -> Change:
    names = gap.place.names.union(*(operation.names for operation in where))
    called = tuple(dict.fromkeys(operation.name for operation in where)) if gap.place.names else ()
    place = f"{gap.place.text}, {side}" if gap.place.names else gap.place.text
    return Change(place, gap.what, names, called, gap.deprecated)


def _of_operation(
    old: Operation, new: Operation, requests: Comparison, answers: Comparison
) -> Iterator[tuple[Gap, str]]:
    here = Place(f"`{old.name}`")
    yield from ((gap, "in requests") for gap in (*_parameters(old, new, requests), *_body(old, new, requests)))
    yield from ((gap, "in answers") for gap in _answers(old, new, answers))
    yield from ((Gap(here, what), "") for what in _keys(old, new))
    if new.own.get("deprecated") and not old.own.get("deprecated"):
        yield Gap(here, "is deprecated", deprecated=True), ""


def _parameters(old: Operation, new: Operation, requests: Comparison) -> Iterator[Gap]:
    before, after = old.parameters(), new.parameters()
    for key, one in after.items():
        here = Place(f"{one['in']} parameter `{one['name']}` of `{old.name}`")
        was = before.get(key)
        if one.get("required") and not (was or {}).get("required"):
            yield Gap(here, "must be given")
        if was is None:
            continue
        yield from requests.gaps(was.get("schema", {}), one.get("schema", {}), here)
        if any(was.get(word) != one.get(word) for word in ("style", "explode")):
            yield Gap(here, "is written in another way (`style`, `explode`)")
        if one.get("deprecated") and not was.get("deprecated"):
            yield Gap(here, "is deprecated", deprecated=True)
    for key, one in before.items():
        if key not in after:
            yield Gap(Place(f"{one['in']} parameter `{one['name']}` of `{old.name}`"), "is no longer taken")


def _body(old: Operation, new: Operation, requests: Comparison) -> Iterator[Gap]:
    here, before, after = Place(f"body of `{old.name}`"), old.body(), new.body()
    if after is not None and after.get("required") and not (before or {}).get("required"):
        yield Gap(here, "must be given")
    if before is None:
        return
    if after is None:
        yield Gap(here, "is no longer taken")
        return
    yield from _media(before, after, requests, here)


def _media(before: Schema, after: Schema, comparison: Comparison, here: Place) -> Iterator[Gap]:
    has = after.get("content", {})
    for media, was in before.get("content", {}).items():
        if media in has:
            yield from comparison.gaps(was.get("schema", {}), has[media].get("schema", {}), here)
        else:
            yield Gap(here, f"is no longer {'taken' if comparison.request else 'given'} as `{media}`")


def _answers(old: Operation, new: Operation, comparison: Comparison) -> Iterator[Gap]:
    before, after = old.answers(), new.answers()
    for status, was in before.items():
        here = Place(f"answer {status} of `{old.name}`")
        if status not in after:
            yield Gap(here, "is gone")
            continue
        yield from _media(was, after[status], comparison, here)
        yield from _headers(old, new, status, comparison)
    for status in sorted(after.keys() - before.keys()):
        if status.startswith(
            ("2", "3")
        ):  # a client may meet a further refusal, but takes no other answer for a success
            yield Gap(Place(f"answer {status} of `{old.name}`"), "is one that clients do not expect")


def _headers(old: Operation, new: Operation, status: str, comparison: Comparison) -> Iterator[Gap]:
    before, after = (_lower(one, one.answers()[status].get("headers", {})) for one in (old, new))
    for name, was in before.items():
        here = Place(f"header `{name}` of answer {status} of `{old.name}`")
        if name not in after:
            yield Gap(here, "is gone")
            continue
        yield from comparison.gaps(was.get("schema", {}), after[name].get("schema", {}), here)
        if was.get("required") and not after[name].get("required"):
            yield Gap(here, "may be left out")


def _lower(operation: Operation, headers: Mapping[str, Schema]) -> dict[str, Schema]:
    return {name.lower(): operation.resolved(one) for name, one in headers.items()}


def _keys(old: Operation, new: Operation) -> Iterator[str]:
    """A key of before must still open it."""
    if not all(any(_opens(way, one) for one in new.ways_in()) for way in old.ways_in()):
        yield "needs another key or another scope (`security`)"
    for scope in sorted(new.scopes() - old.scopes()):
        yield f"needs the scope `{scope}`, as its description says"


def _opens(way: Mapping[str, set[str]], needed: Mapping[str, set[str]]) -> bool:
    return all(scheme in way and scopes <= way[scheme] for scheme, scopes in needed.items())


def not_understood(document: Any) -> set[str]:
    """Keywords of schemas anywhere in a contract that the comparison would pass over."""
    if isinstance(document, list):
        return set().union(*(not_understood(one) for one in document))
    if not isinstance(document, dict):
        return set()
    found: set[str] = set()
    for name, value in document.items():
        if name == "schema":
            found |= unknown_keywords(value)
        elif name == "schemas":
            found = found.union(*(unknown_keywords(one) for one in value.values()))
        elif name not in ("example", "examples"):
            found |= not_understood(value)
    return found
