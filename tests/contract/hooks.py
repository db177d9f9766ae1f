"""What schemathesis cannot read from the contract: how tensors and rows look, and which refusals no schema can foresee.

Loaded by schemathesis (see schemathesis.toml). Never: a check off; refusals are forgiven by code and field only.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import struct
from typing import Any

import schemathesis
from hypothesis import strategies as st

# Refusals (status 400, 413 or 422) of requests that satisfy their schema: code, a pattern of the field, and the reason
# that the schema cannot say it.
BEYOND_SCHEMA = [
    ("tensor_invalid", r".*", "a tensor's shape against the job's, under the name that the client gave it"),
    ("unknown_tensor", r".*", "the names of a binary body's tensors, and of PEFT's matrices"),
    ("invalid_query", r"after|last-event-id", "a cursor is the id of an object that is in the list"),
    ("invalid_cursor", r"after", "the same: an id of another list"),
    ("invalid_query", r"", "scalars stand in the query or in the JSON body: one body of two media types"),
    ("seq_missing", r"seq", "needed when training"),
    ("seq_unexpected", r"seq", "forbidden when evaluating"),
    ("inputs_missing", r"rows|lengths|training_file", "inputs come in exactly one of several forms"),
    ("no_training_file", r"rows", "rows need a job with a file"),
    ("row_out_of_range", r"rows", "rows of the job's own file"),
    ("invalid_adapters", r"adapters|base", "numbers of the job's own sets"),
    ("theta_not_accepted", r"theta", "depends on the job's custody"),
    ("shares_missing", r"s\.0\.0", "the names of a binary body's tensors"),
    ("step_conflict", r"seq", "the seq was used with other bytes"),
    ("malformed_row", r"line \d+.*", "the content of an uploaded file"),
    ("label_present", r".*", "a name that looks like a label: a row's column, a metric, a note, a tensor"),
    ("unknown_format", r"file", "the name of an uploaded file"),
    ("invalid_input", r"input(\[\d+\])?", "a token id of the model's own vocabulary, and its longest input"),
    ("row_too_long", r"tokens_per_row", "the model's longest input"),
    ("invalid_text", r".*", "U+0000, which no text may have: sent on purpose, and declared nowhere"),
    ("settings_differ", r"method\.split\..*", "those of the model that the job goes on from"),
    ("invalid_setting", r"(method\.split\.)?(double_quant|precision|pooling)", "the backbone's own"),
    ("invalid_setting", r"method\.split\.lora\.(target_modules|\w+_pattern).*", "names of the backbone's own layers"),
    ("uneven_sets", r"weights", "as many weights as configurations"),
    ("invalid_adapter_config", r"config", "the content of a file"),
    ("no_adapters", r"model", "a backbone is a model without adapters"),
    ("idempotency_conflict", r"Idempotency-Key", "the key was used with another body"),
    ("invalid_dates", r"start_date", "one date against the other"),
    ("invalid_expires_after", r"expires_after\[seconds\]", "a form's two fields come together"),
    ("too_large", r".*", "tokens of a batch, with the job's own tokenizer; bytes, by the host's own limits"),
]

NUMBERS = itertools.count()
LOCAL = r"\1://127.0.0.1:9"
ROWS = [
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
def map_body(_context: Any, body: Any) -> Any:
    """Write whole numbers as such: JSON Schema calls 3.0 an integer, the host as most hosts does not."""
    return whole(body)


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """In each phase: let webhooks go to this machine only, and never revoke the run's own key (all would be 401).

    In the stateful one a good Idempotency-Key is used once: one that was used is answered with what it made.
    """
    body, path = case.body, case.path_parameters or {}
    if "/webhooks" in case.operation.path and isinstance(body, dict) and isinstance(body.get("url"), str):
        case.body = body | {"url": re.sub(r"^(https?)://[^/?#]*", LOCAL, body["url"], flags=re.IGNORECASE)}
    name = (case.headers or {}).get("Idempotency-Key", "")
    if case.meta and case.meta.phase.name.value == "stateful" and 1 <= len(name) <= 200:
        case.headers["Idempotency-Key"] = f"{name}{next(NUMBERS)}"
    if path.get("key_id") == os.environ["BLINDTUNE_FUZZ_KEY_ID"]:
        case.path_parameters = path | {"key_id": "key-" + "0" * 32}


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
    if failure.code != "ST202" or response.status_code not in (400, 413, 422):
        return True
    return not any(
        error.get("code") == code and re.fullmatch(field, place, re.DOTALL) for code, field, _why in BEYOND_SCHEMA
    )
