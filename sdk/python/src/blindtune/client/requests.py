"""An operation of the contract with its arguments, ready to be sent.

Owns: which argument goes into the path, the query or the body, and the Idempotency-Key. Must never: send anything, or
know an operation by name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from .._generated.operations import Operation
from ..errors import BlindtuneError
from .objects import Record

R = TypeVar("R", bound=Record)

OCTETS = "application/octet-stream"
"""The media type of files, and of tensors."""


FilePart = tuple[str, bytes, str] | tuple[str, bytes, str, Mapping[str, str]]
"""Name, bytes and media type of a file in a form, and further headers of its part, as httpx takes them."""


@dataclass(frozen=True)
class Form:
    """A multipart body: its fields, and its files as httpx takes them."""

    fields: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[tuple[str, FilePart]] = ()


Body = Mapping[str, Any] | Form | bytes | None


@dataclass(frozen=True)
class Request:
    """One request. `path` is relative to the base URL; `options` are those of `httpx.Client.request`."""

    method: str
    path: str
    options: dict[str, Any]


def request(operation: Operation, body: Body = None, /, **arguments: Any) -> Request:
    """The request of this operation. An argument that is None and may be left out is left out.

    Where the host makes something, it has a new Idempotency-Key: its repeats are the same request.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    query = {name: given.pop(name) for name in operation.query if name in given}
    options = _encoded(operation, body)
    headers = options.pop("headers", {})
    if operation.accept:
        headers["Accept"] = operation.accept
    if operation.creates:
        headers["Idempotency-Key"] = str(uuid.uuid4())
    if query:
        options["params"] = _flat(query)
    if headers:
        options["headers"] = headers
    return Request(operation.method, path_of(operation, **given), options)


def checked_part(name: str, content: bytes) -> FilePart:
    """A file whose bytes the host compares with their SHA-256 before it keeps them."""
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return (name, content, OCTETS, {"Content-Digest": f"sha-256=:{digest}:"})


def path_of(operation: Operation, /, **arguments: Any) -> str:
    """Its path, each argument quoted whole: names of models have slashes and colons."""
    path = operation.path
    for name, value in arguments.items():
        if f"{{{name}}}" not in path:
            raise TypeError(f"{operation.name} takes no {name!r}")
        path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
    if "{" in path:
        raise TypeError(f"{operation.name} lacks an argument: {path}")
    return path


def _encoded(operation: Operation, body: Body) -> dict[str, Any]:
    """The body as the operation takes it."""
    if body is None:
        return {}
    if operation.body == "multipart" and isinstance(body, Form):
        return {"data": dict(body.fields), "files": list(body.files)}
    if operation.body == "tensors" and isinstance(body, bytes):
        return {"content": body, "headers": {"Content-Type": OCTETS}}
    if operation.body == "json" and isinstance(body, Mapping):
        return {"json": dict(body)}
    raise TypeError(f"{operation.name} takes no {type(body).__name__} as its body")


def _flat(query: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping in a query is a name for each of its keys: `metadata[team]`."""
    flat: dict[str, Any] = {}
    for name, value in query.items():
        flat |= {f"{name}[{key}]": v for key, v in value.items()} if isinstance(value, Mapping) else {name: value}
    return flat


def decoded(body: bytes) -> dict[str, Any]:
    """The JSON object in a body."""
    value = json.loads(body)
    if not isinstance(value, dict):
        raise BlindtuneError(f"expected a JSON object, got {type(value).__name__}")
    return value


def reads(kind: type[R]) -> Callable[[bytes], R]:
    """A reader of one object."""
    return lambda body: kind.read(decoded(body))


def nothing(_body: bytes) -> None:
    """A reader of answers that say nothing new."""


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None."""
    return {key: value for key, value in fields.items() if value is not None}


def expiry(seconds: int | None, anchor: str = "created_at") -> dict[str, Any] | None:
    """OpenAI's `expires_after`."""
    return None if seconds is None else {"anchor": anchor, "seconds": seconds}
