"""Golden cases through a host over HTTP: the activations and gradients that transformers + PEFT gave for tiny models.

Owns: which families there are, and how far a device may be from the golden files, which are a processor's float32.
Must never: compute anything itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench import ROOT
from blindtune import Client
from blindtune.arrays import AnyArray, decode, encode
from blindtune.client.step_calls import BackwardRequest, Call, ForwardRequest
from cases import SEED
from hosts import Host
from sides import difference

FAMILIES = ("bert", "roberta", "deberta-v2", "t5", "llama", "mistral", "qwen2")
GOLDEN = ROOT / "tests/golden"
# Rust's golden tests ask 1e-5 and 2e-2 of the processor. A card sums in other orders; its float32 products round to
# TF32 only where that is allowed.
SETS = {"float32": ("data", 1e-4), "bfloat16": ("bf16", 2e-2)}


@dataclass(frozen=True)
class Golden:
    """One case: a tiny backbone, how it is adapted and pooled, its inputs, and what was found."""

    name: str
    folder: Path
    said: dict[str, Any]

    @property
    def family(self) -> str:
        """As in FAMILIES."""
        return str(self.said["family"])

    def tensors(self) -> dict[str, AnyArray]:
        """theta.{i}, s.{i}.{j}, and what became of them: h.{i}, h.base, G.{i}.{j}."""
        return decode((self.folder / "expected.safetensors").read_bytes())[0]

    def places(self) -> list[tuple[int, int]]:
        """Set and number of each share."""
        return [(i, j) for i in range(self.said["adapter_sets"]) for j in range(self.said["shares"])]


def read_cases(folder: str) -> list[Golden]:
    """All cases in a folder of tests/golden, by name."""
    found = sorted((GOLDEN / folder).glob("*/case.json"))
    return [Golden(path.parent.name, path.parent, json.loads(path.read_text())) for path in found]


def run_precision(host: Host, precision: str, note: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Every case of a precision; `note` is told after each. Backbones are added to the running host."""
    folder, tolerance = SETS[precision]
    found: dict[str, dict[str, Any]] = {}
    for case in read_cases(folder):
        host.add(case.name, case.folder)
        found[case.name] = run_case(host, case, precision) | {"family": case.family}
        note(by_family(found, tolerance))
    return by_family(found, tolerance)


def run_case(host: Host, case: Golden, precision: str) -> dict[str, Any]:
    """Largest relative difference of activations (`h`) and gradients (`G`), or the error."""
    try:
        with host.client() as client:
            found = take(client, case, precision)
    except Exception as error:  # the other cases still run
        return {"error": f"{type(error).__name__}: {error}"}
    expected = {name: value for name, value in case.tensors().items() if name.startswith(("h.", "G."))}
    return {kind: difference(found, expected, kind) for kind in ("h", "G")}


def take(client: Client, case: Golden, precision: str) -> dict[str, AnyArray]:
    """A job, one forward, one backward with all shares: h.{i}, h.base and G.{i}.{j}."""
    tensors = case.tensors()
    split = {name: case.said[name] for name in ("adapter_sets", "lora", "pooling")}
    split |= {"custody": "client", "precision": precision}
    job = client.jobs.create(case.name, {"type": "split", "split": split}, seed=SEED).id
    layout = [[entry["name"], list(entry["shape"])] for entry in client.adapters(job)["layout"]]
    if layout != case.said["layout"]:
        raise ValueError("adapters are laid out differently")
    answer = client.send(forward_call(case, job, tensors))
    shares = {(i, j): tensors[f"s.{i}.{j}"] for i, j in case.places()}
    products = client.backward(job, BackwardRequest(2, answer.metadata["forward_id"], shares))
    client.jobs.cancel(job)
    return answer.tensors | products.tensors


def forward_call(case: Golden, job: str, tensors: dict[str, AnyArray]) -> Call:
    """The forward; where the case has segments, with them, which the SDK's request has no field for."""
    sets = range(case.said["adapter_sets"])
    request = ForwardRequest(
        input_ids=flat(case.said["ids"]),
        lengths=np.array([len(row) for row in case.said["ids"]], np.int64),
        theta={i: tensors[f"theta.{i}"] for i in sets},
        seq=1,
        base=True,
    )
    call = request.call(job)
    if not case.said["types"]:
        return call
    sent, _ = decode(call.body)
    return replace(call, body=encode(sent | {"token_type_ids": flat(case.said["types"])}))


def flat(rows: Iterable[Iterable[int]]) -> AnyArray:
    """All rows, one after the other."""
    return np.array([token for row in rows for token in row], np.int64)


def by_family(found: dict[str, dict[str, Any]], tolerance: float) -> dict[str, Any]:
    """The largest differences of each family, and whether all of its cases are within the tolerance."""
    families: dict[str, Any] = {}
    for family in FAMILIES:
        cases = {name: case for name, case in found.items() if case["family"] == family}
        largest = {
            kind: max((case.get(kind, float("inf")) for case in cases.values()), default=None) for kind in ("h", "G")
        }
        passed = bool(cases) and all(value is not None and value <= tolerance for value in largest.values())
        families[family] = {"cases": len(cases), "passed": passed, **largest}
    return {"tolerance": tolerance, "families": families, "cases": found}
