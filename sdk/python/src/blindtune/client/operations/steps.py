"""The data plane beside forward and backward (those are encoded in step_calls.py): the optimizer, and adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...arrays import F32, AnyArray, decode, encode
from ..step_calls import TENSORS
from .core import Ask, decoded, nothing, to


def optim_step(job_id: str, settings: Mapping[str, Any]) -> Ask[dict[str, Any]]:
    """Host custody.

    Let the host step its own AdamW. `settings` holds seq, lr, betas, eps, weight_decay, max_grad_norm.
    """
    return Ask("POST", to("fine_tuning", "jobs", job_id, "optim_step"), decoded, {"json": dict(settings)})


def adapters(job_id: str) -> Ask[dict[str, Any]]:
    """Layout of the flat adapter vector: names, shapes, offsets."""
    return Ask("GET", to("fine_tuning", "jobs", job_id, "adapters"), decoded)


def adapter(job_id: str, index: int, form: str = "peft") -> Ask[dict[str, AnyArray]]:
    """One adapter set: PEFT's names (`peft`), or `theta.{i}` [P] (`flat`)."""
    path = to("fine_tuning", "jobs", job_id, "adapters", str(index))
    options = {"params": {"format": form}, "headers": {"Accept": TENSORS}}
    return Ask("GET", path, lambda body: decode(body)[0], options)


def put_adapter(job_id: str, index: int, theta: F32) -> Ask[None]:
    """Set one adapter set from its flat vector [P]."""
    path = to("fine_tuning", "jobs", job_id, "adapters", str(index))
    options = {"content": encode({f"theta.{index}": theta}), "headers": {"Content-Type": TENSORS}}
    return Ask("PUT", path, nothing, options)
