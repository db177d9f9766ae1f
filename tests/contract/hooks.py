"""What schemathesis cannot read from the contract: how tensors and rows look, and which refusals no schema can foresee.

Loaded by schemathesis (see schemathesis.toml). Never: a check off; refusals are forgiven by code and field only.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import os
import re
import struct
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation

# Refusals (status 400, 413 or 422) of requests that satisfy their schema: code, a pattern of the field, and the reason
# that the schema cannot say it.
BEYOND_SCHEMA = [
    ("invalid_query", r"after|last-event-id", "a cursor is the id of an object that is in the list"),
    ("invalid_cursor", r"after", "the same: an id of another list"),
    ("seq_missing", r"seq", "needed when training"),
    ("seq_unexpected", r"seq", "forbidden when evaluating"),
    ("inputs_missing", r"rows|lengths|training_file", "inputs come in exactly one of several forms"),
    ("no_training_file", r"rows|training_file", "rows need a job with a file, and so does a features job"),
    ("row_out_of_range", r"rows", "rows of the job's own file"),
    ("invalid_adapters", r"adapters|base", "numbers of the job's own sets"),
    ("theta_not_accepted", r"theta", "depends on the job's custody"),
    ("shares_missing", r"s\.0\.0", "the names of a binary body's tensors"),
    ("step_conflict", r"seq", "the seq was used with other bytes"),
    ("malformed_row", r"line \d+.*", "the content of an uploaded file"),
    (
        "invalid_purpose",
        r"purpose|input_file_id",
        "`purpose` behind the file in a form; the purpose of a file that is named",
    ),
    ("unknown_format", r"file", "the name of an uploaded file"),
    ("invalid_input", r"input(\[\d+\])?", "a token id of the model's own vocabulary, and its longest input"),
    ("row_too_long", r"tokens_per_row", "the model's longest input"),
    ("settings_differ", r"method\.split\..*", "those of the model that the job starts from"),
    ("unsupported_field", r"method\.(split|features)", "settings of the method that is named, and of no other"),
    ("invalid_setting", r"method\.features(\.\w+)*", "levels, width and precision of the backbone; a pick once"),
    ("unsupported_model", r"model", "hidden states are of a backbone, and not of what was tuned on it"),
    ("storage_exceeded", r"method\.features", "what the project has left"),
    ("invalid_setting", r"(method\.split\.)?(double_quant|precision|pooling)", "the backbone's own"),
    ("invalid_setting", r"method\.split\.lora\.(target_modules|\w+_pattern).*", "names of the backbone's own layers"),
    ("uneven_sets", r"weights", "as many weights as configurations"),
    ("invalid_adapter_config", r"config", "the content of a file"),
    ("no_adapters", r"model", "a backbone is a model without adapters"),
    (
        "label_present",
        r"(.+[.\[])?([^A-Za-z]*[yY][^A-Za-z]*|[^A-Za-z]+)",
        "`y` in a free name (a metric, a note, a tensor), also in a letter that looks like it",
    ),
    ("label_present", r".*[lL][aA][bB][eE][lL].*", "a free name that says label; the fuzzer knows words of our errors"),
    ("idempotency_conflict", r"Idempotency-Key", "the key was used with another body"),
    ("checksum_mismatch", r"x-amz-checksum-sha256", "the bytes of the file"),
    ("invalid_checksum", r"x-amz-checksum-sha256", "the fuzzer takes texts for valid that the pattern excludes"),
    ("range_not_satisfiable", r"Range", "the length of the file"),
    ("invalid_dates", r"start_date", "one date against the other"),
    ("invalid_scopes", r"scopes", "`operator` by a key that has it not: the second project's"),
    ("invalid_expires_after", r"expires_after\[seconds\]", "a form's two fields come together"),
]

# The same of single calls: method, path and media type come first. What a step refuses is said to the letter, or step
# bodies would not be tried at all.
STEP = r"(POST .*/(forward|backward)|PUT .*/adapters/\{set\})"
BYTES = "application/octet-stream"
BEYOND_SCHEMA_OF_CALLS = [
    (f"{STEP} {BYTES}", "tensor_invalid", r"", "bytes that are no safetensors file"),
    (f"{STEP} {BYTES}", "too_large", r"", "bytes that announce more than the limits allow"),
    (f"{STEP} {BYTES}", "unknown_tensor", r"input_ids|s\.0\.0|theta\.0", "a frame of another call"),
    (f"{STEP} {BYTES}", "invalid_query", r"", "scalars in the query are needed beside bytes, and JSON has them inside"),
    (r"POST .*/forward .*", "tensor_invalid", r"theta\.\d+", "a set of the job's own, in the shape of its adapters"),
    (r"POST .*/forward .*", "tensor_invalid", r"(input|token_type)_ids", "the model's own tokens, each with a type"),
    (
        r"POST .*/forward .*",
        "tensor_invalid",
        r"input( \d+|\[\d+\])",
        "a token of the model's own, and its longest input",
    ),
    (r"POST .*/forward .*", "unknown_tensor", r"token_type_ids", "types of tokens beside texts or rows"),
    (r"POST .*/(forward|activations|embeddings) .*", "too_large", r"", "tokens of a batch, by the model's tokenizer"),
    (
        r"POST /v1/activations .*",
        "invalid_setting",
        r"layers|tokens|dtype|like|adapters|base|pooling",
        "hidden states of a bare backbone: its own levels, each once; `like` says the rest",
    ),
    (r"POST .*/backward .*", "tensor_invalid", r"s\.\d+\.\d+", "a share of the job's own, in its forward's shape"),
    (r"PUT .*/adapters/\{set\} .*", "tensor_invalid", r".*", "the job's own matrices; the schema takes any name"),
    (r"POST /v1/adapters .*", "tensor_invalid|too_large", r"weights", "the content of a file"),
    (r"POST /v1/uploads .*", "too_large", r"bytes", "limits.file_bytes, which is the host's own"),
]

NUMBERS = itertools.count()
BACKBONES = ("tiny", "org/tiny")
LOCAL = r"\1://127.0.0.1:9"
ROWS = [
    b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "tiny", "input": "w5"}}\n',
    b'{"text": "w5 w6"}\n{"text": "w7"}\n',
    b'{"text": "w5", "text_pair": "w6 w7"}\n',
    b'{"input_ids": [2, 5, 3]}\n',
]
# The frames of the steps: a batch, shares, adapters.
FRAMES = [
    {"input_ids": ("I64", [7], "<7q", [2, 5, 6, 3, 2, 7, 3]), "lengths": ("I64", [2], "<2q", [4, 3])},
    {"s.0.0": ("F32", [2, 16], "<32f", [0.01] * 32)},
    {"theta.0": ("F32", [256], "<256f", [0.01] * 256)},
]


# What a JSON step calls its tensors, and one that fits the jobs of fuzz.py: under its name, in its shape.
NAMED = {
    "shares": (r"s\.\d{1,4}\.[0-7]", "s.0.0", [2, 16]),
    "theta": (r"\d{1,4}", "0", [256]),
    "tensors": (r".*", "theta.0", [256]),
}
WIDTHS = {"F32": 4, "I32": 4, "I64": 8}
BASE64 = r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
# Their bodies are forms.
FORMS = ("/v1/files", "/v1/uploads/{upload_id}/parts", "/v1/adapters")


def frame(tensors: dict[str, tuple[str, list[int], str, list[float]]]) -> bytes:
    """Tensors as a safetensors file."""
    header, body = {}, b""
    for name, (dtype, shape, form, values) in tensors.items():
        start, body = len(body), body + struct.pack(form, *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, len(body)]}
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + body


schemathesis.openapi.media_type(
    "application/octet-stream", st.sampled_from([frame(one) for one in FRAMES]) | st.binary()
)
schemathesis.openapi.media_type("application/jsonl", st.sampled_from(ROWS))


@schemathesis.deserializer("application/octet-stream", "application/zip")
def raw(_context: Any, response: Any) -> str:
    """Bytes are a string to the contract."""
    return response.content.decode("latin-1")


@schemathesis.hook
def before_load_schema(_context: Any, raw_schema: dict[str, Any]) -> None:
    """Let an upload's file be rows with a name that tells their format, which the contract leaves to words."""
    form = raw_schema["paths"]["/v1/files"]["post"]["requestBody"]["content"]["multipart/form-data"]
    name = form["schema"]["$ref"].rsplit("/", 1)[1]
    raw_schema["components"]["schemas"][name]["properties"]["file"]["contentMediaType"] = "application/jsonl"
    named = {"schema": {"type": "string", "example": 'form-data; name="file"; filename="rows.jsonl"'}}
    form["encoding"] = {"file": {"contentType": "application/jsonl", "headers": {"Content-Disposition": named}}}


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Write whole numbers of a form without a fraction, as it is text; let tensors in JSON agree with themselves."""
    if context.operation.path in FORMS:
        return whole(body)
    return fitted(body) if isinstance(body, dict) else body


def fitted(body: dict[str, Any]) -> dict[str, Any]:
    """The body with as many bytes as its tensors say, every other time with one that fits the job.

    A body that breaks the schema there stays as it is.
    """
    for field, (names, name, shape) in NAMED.items():
        tensors = body.get(field)
        if not isinstance(tensors, dict) or not all(is_tensor(one) for one in tensors.values()):
            continue
        if tensors and all(re.fullmatch(names, key, re.DOTALL) for key in tensors):
            ours = sum(sum(one["shape"]) + len(one["data"]) for one in tensors.values()) % 2 == 0
            good = {name: filled({"dtype": "F32", "shape": shape, "data": ""})}
            body = body | {field: good if ours else {key: filled(one) for key, one in tensors.items()}}
    return body


def is_tensor(value: Any) -> bool:
    """Whether the schema takes it for one."""
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data"}:
        return False
    dtype, shape, data = value["dtype"], value["shape"], value["data"]
    if not isinstance(dtype, str) or dtype not in WIDTHS:
        return False
    is_shape = isinstance(shape, list) and len(shape) <= 4 and all(type(size) is int and size >= 0 for size in shape)
    return is_shape and isinstance(data, str) and re.fullmatch(BASE64, data) is not None


def filled(tensor: dict[str, Any]) -> dict[str, Any]:
    """The tensor with zeros, where it is small enough to be sent."""
    size = WIDTHS[tensor["dtype"]] * math.prod(tensor["shape"])
    return tensor | {"data": base64.b64encode(bytes(size)).decode()} if size <= 1 << 16 else tensor


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """In each phase: let webhooks go to this machine only, and never revoke the run's own key (all would be 401),
    limit its project (all would be 429) or withdraw its backbones (all jobs would be 404).

    A step in JSON has its scalars inside: a good query beside it would keep the host from reading the body. A good
    forward is made complete: most are not, and are refused for that before anything else is looked at.
    In the stateful one a good Idempotency-Key is used once: one that was used is answered with what it made.
    """
    body, path = case.body, case.path_parameters or {}
    if "/webhooks" in case.operation.path and isinstance(body, dict) and isinstance(body.get("url"), str):
        case.body = body | {"url": re.sub(r"^(https?)://[^/?#]*", LOCAL, body["url"], flags=re.IGNORECASE)}
    if case.operation.path.endswith("/api_keys") and isinstance(body, dict) and type(body.get("days")) is int:
        case.body = body | {"days": 300 if 300 < body["days"] <= 366 else body["days"]}  # no key outlives its maker
    name = (case.headers or {}).get("Idempotency-Key", "")
    if case.meta and case.meta.phase.name.value == "stateful" and 1 <= len(name) <= 200:
        case.headers["Idempotency-Key"] = f"{name}{next(NUMBERS)}"
    if case.media_type == "application/json" and case.operation.path.endswith(("/forward", "/backward")):
        if is_good(case, ParameterLocation.QUERY):
            case.query = {}
        if case.operation.path.endswith("/forward") and is_good(case, ParameterLocation.BODY):
            case.body = complete(case.body)
    if case.method == "DELETE" and "/host/models/" in case.operation.path and path.get("model") in BACKBONES:
        case.path_parameters = path | {"model": "nobody"}
    for name, prefix in (("key_id", "key-"), ("project_id", "proj-")):
        if path.get(name) == os.environ[f"BLINDTUNE_FUZZ_{name.upper()}"]:
            case.path_parameters = path | {name: prefix + "0" * 32}


def is_good(case: Any, location: ParameterLocation) -> bool:
    """Whether that part of the request satisfies the schema."""
    return not (case.meta and case.meta.is_negative_at(location))


def complete(body: Any) -> Any:
    """A forward with the first form of its inputs alone, that trains only where it has a seq."""
    if not isinstance(body, dict):
        return body
    forms = [name for name in ("texts", "input_ids", "rows") if body.get(name) is not None]
    kept = {name: value for name, value in body.items() if name not in forms[1:]}
    return kept | ({"train": False} if kept.get("seq") is None else {})


def whole(value: Any) -> Any:
    """The same value with 3 for 3.0."""
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case list():
            return [whole(item) for item in value]
        case dict():
            return {name: whole(item) for name, item in value.items()}
        case _:
            return value


@schemathesis.hook
def filter_failure(_context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Keep every failure but refusals that are beyond a schema, and what schemathesis reads otherwise than it is."""
    if failure.code == "ST301" and "/api_keys/" in case.operation.path:
        return False  # DELETE revokes a key: its record stays readable with `revoked_at`, for the audit log
    if failure.code == "ST201" and "`metadata` in query - violates `additionalProperties`" in failure.message:
        return False  # `metadata[k]=true`: on the wire each value is a text, as it should be
    if failure.code == "ST202" and case.operation.label == "POST /v1/files" and case.body.get("purpose") == "":
        return False  # the coverage phase fills each required field of a form with a file of ours with an empty text
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return True
    place = error.get("param") or ""
    if failure.code == "ST302":
        return place != "part_ids"  # the upload is there: it is the part that is not
    if failure.code != "ST202" or response.status_code not in (400, 413, 416, 422):
        return True
    call, code = f"{case.operation.label} {case.media_type}", str(error.get("code"))
    if code in ("invalid_text", "invalid_query") and "\\x00" in repr((case.body, case.query)):
        return False  # U+0000: sent on purpose, and declared nowhere
    beyond = BEYOND_SCHEMA + [row[1:] for row in BEYOND_SCHEMA_OF_CALLS if re.fullmatch(row[0], call)]
    return not any(re.fullmatch(codes, code) and re.fullmatch(field, place, re.DOTALL) for codes, field, _why in beyond)
