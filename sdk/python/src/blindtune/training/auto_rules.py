"""Which methods auto may try, in which order, and which of its settings each of them has.

Owns: the split of one set of settings into those of the candidates, and what may not be asked of method auto. Must
never: offer a method that hides nothing, or one whose class of protection the user did not accept.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from .setting_rules import OF_DEV, OF_SIDE, ONLY_AUTO, ONLY_SIDE
from .setting_types import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .protection import Protection
    from .settings import Settings

ORDER: Mapping[str, Protection] = {"side": "blind", "lora": "bounded", "p3eft": "hurdle"}
"""The candidates from the strongest class of protection on, and what has to be accepted for each."""

SIDES_OWN = frozenset({"epochs", "lr", "batch_size", "dropout"})
"""Settings that other methods have too, and that mean side here."""
OF_OTHERS = frozenset({"pslf_epsilon", "pslf_labels", "activation_dc_weight", "shift_dc_weight"})
OF_LORA = frozenset(
    {"accumulate", "alpha", "double_quant", "eval_batch_size", "head", "label_epsilon", "max_grad_norm", "optimizer"}
    | {
        "max_length",
        "pooling",
        "precision",
        "rank",
        "save_every",
        "seed",
        "steps",
        "target_modules",
        "update_clip",
        "update_noise",
    }
    | {"use_rslora", "warmup", "weight_decay"}
)


def candidates(given: Settings) -> dict[str, Settings]:
    """The settings of each method that may be tried, in their order; without `wanted` there is nothing to try."""
    accepted = list(dict.fromkeys(ORDER.values()))
    may = accepted[: accepted.index(given.accept) + 1] if given.wanted is not None else accepted[:1]
    methods = [method for method, needed in ORDER.items() if needed in may]
    if given.label_epsilon is None and "lora" in methods:
        methods.remove("lora")
    return {method: _of(given, method) for method in methods}


def settled_auto(given: Settings, hosts: int) -> Settings:
    """The settings as they are, refused where they make no sense: each candidate settles its own."""
    for refuse in REFUSALS:
        refuse(given)
    if given.accept != "hurdle" and hosts > 1:
        raise SettingsError(f"method auto with accept {given.accept} uses one host, not {hosts}")
    for method, settings in candidates(given).items():
        settings.resolve(hosts if method == "p3eft" else 1)
    return given


def _names(given: Settings, method: str) -> frozenset[str]:
    """The settings of auto that a candidate has."""
    if method == "side":
        return OF_SIDE - {"method", *OF_DEV}
    if method == "lora":
        return OF_LORA
    every = frozenset(one.name for one in fields(given))
    return every - SIDES_OWN - OF_OTHERS - {"method", "label_epsilon", *ONLY_SIDE, *ONLY_AUTO, *OF_DEV}


def _of(given: Settings, method: str) -> Settings:
    return type(given)(method=method, **{name: getattr(given, name) for name in _names(given, method)})  # type: ignore[arg-type]


# What is refused.


def wanted_is_a_score(given: Settings) -> None:
    """No score is above 1."""
    if given.wanted is not None and given.wanted > 1.0:
        raise SettingsError(f"wanted must be a score of at most 1, as 0.9, not {given.wanted}")


def accepting_needs_something_wanted(given: Settings) -> None:
    """Side's result is taken as it is where nothing more is asked for."""
    if given.accept != "blind" and given.wanted is None:
        raise SettingsError(f"accept {given.accept} needs wanted: without it nothing but side is tried")


def a_bound_is_the_users(given: Settings) -> None:
    """How much a host may learn of a label is nothing that has a usual value."""
    if given.accept == "bounded" and given.label_epsilon is None:
        raise SettingsError("accept bounded needs label_epsilon: it is the bound on what a host can learn of a label")


def rows_are_held_out(given: Settings) -> None:
    """Candidates are compared on rows that none of them has seen."""
    if given.held_out == 0:
        raise SettingsError("held_out must be above 0 in method auto: it decides on rows that were held out")


def auto_chooses_by_rows_held_out(given: Settings) -> None:
    """They are its own; a choice by other rows would be a second one."""
    for one in fields(given):
        if one.name in OF_DEV and getattr(given, one.name) != one.default:
            raise SettingsError(
                f"{one.name} is not for method auto, which chooses by rows held out of the training data"
            )


def auto_has_no_use_for(given: Settings) -> None:
    """A setting that goes to no candidate would do nothing."""
    used = {"method", *ONLY_AUTO}.union(*(_names(given, method) for method in candidates(given)))
    for one in fields(given):
        if one.name not in used and getattr(given, one.name) != one.default:
            tried = ", ".join(candidates(given))
            raise SettingsError(
                f"{one.name}: method auto with accept {given.accept} tries {tried}, which do not use it"
            )


REFUSALS = (
    wanted_is_a_score,
    accepting_needs_something_wanted,
    a_bound_is_the_users,
    rows_are_held_out,
    auto_chooses_by_rows_held_out,
    auto_has_no_use_for,
)
