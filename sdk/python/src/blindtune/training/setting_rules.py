"""What settings may not be together, and what follows from them: one function for each rule.

Owns: the rules that look at more than one setting, or at the number of hosts. Must never: know a private part;
factory.py makes those, of settings that went through here.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from ..rounding import expected_kappa, gradient_error
from .projections import written
from .setting_types import SettingsError

if TYPE_CHECKING:
    from .settings import ObfuscationKind, Settings

log = logging.getLogger("blindtune")

LOOK_EVERY = 20
HEAD_LR, CAMOUFLAGE_MULT_STD = 3.0, 1.0
"""Under camouflage the label is faint: the head, as a multiple of `lr`, is trained faster, and the mixing amplifies."""

MAX_GRADIENT_ERROR = {"float32": 1e-3, "nf4": 1e-3, "bfloat16": 0.05}
"""Largest relative error of a reconstructed gradient that is put up with, by the backbone's precision."""
ERROR_WARN = 0.01

ONLY_AUTO = ("wanted", "accept")
NARROWER = ("feature_dtype", "project")
ONLY_SIDE = ("layers", "fetch", "side", "side_width", "input_noise", "class_weights", "networks", "held_out", *NARROWER)
OF_DEV = ("eval_every", "patience", "metric")
OF_BOTH = (*OF_DEV, "epochs", "lr", "batch_size", "eval_batch_size", "seed", "dropout", "max_length")
OF_SIDE = frozenset({"method", *OF_BOTH, *ONLY_SIDE})


@dataclass(frozen=True)
class Usual:
    """What settings that were left open become: passes over the rows, the learning rate, and so on."""

    epochs: float
    lr: float
    batch_size: int
    dropout: float
    side_width: int | None


USUAL = {
    "attentive": Usual(20.0, 3e-3, 64, 0.2, 32),
    "ladder": Usual(10.0, 1.5e-3, 128, 0.2, 96),
    "pooled": Usual(20.0, 3e-4, 64, 0.3, 64),
    "with hosts": Usual(1.0, 3e-3, 64, 0.0, None),
}
"""By the kind of side network; the last of methods whose every pass costs the hosts something."""
LADDER_HEADS = 4


def settled(given: Settings, hosts: int) -> Settings:
    """Settings without a gap, refused where they contradict each other. Settled ones stay as they are."""
    for refuse in REFUSALS:
        refuse(given)
    a_baseline_has_one_host(given, hosts)
    found = _filled(given, hosts)
    check_precision(found)
    return found


def _filled(given: Settings, hosts: int) -> Settings:
    found = given
    for fill in FILLS:
        found = fill(found)
    return with_obfuscation(with_adapter_sets(found, hosts), hosts)


# What is refused.


def max_leak_is_a_share(given: Settings) -> None:
    """An attacker is right in a share of the rows."""
    if not 0.0 < given.max_leak <= 1.0:
        raise SettingsError(f"max_leak must be in (0, 1], not {given.max_leak}")


def a_stop_needs_looks(given: Settings) -> None:
    """A run that looks at nothing never stops for what it found."""
    if given.on_leak == "stop" and given.audit_every == 0:
        raise SettingsError("on_leak stop needs audit_every above 0: nothing is looked at otherwise")


def an_automatic_weight_needs_looks(given: Settings) -> None:
    """It is steered by them."""
    if given.schedule == "automatic" and given.audit_every == 0:
        raise SettingsError("schedule automatic needs audit_every above 0: the weight follows what is found")


def noise_needs_a_clip(given: Settings) -> None:
    """Its size is a multiple of the clip."""
    if given.update_noise > 0 and given.update_clip is None:
        raise SettingsError("update_noise needs update_clip: the noise is a multiple of it")


def a_baseline_has_one_host(given: Settings, hosts: int) -> None:
    """There is nothing to divide among several."""
    if given.method != "p3eft" and hosts > 1:
        what = "sends no gradient" if given.method == "side" else "hides no gradient"
        raise SettingsError(f"method {given.method} {what} and uses one host, not {hosts}")


def some_rows_are_trained_on(given: Settings) -> None:
    """What is held out chooses the epoch; it must leave rows to learn from."""
    if not 0.0 <= given.held_out <= 0.5:
        raise SettingsError(f"held_out must be from 0 to 0.5, not {given.held_out}")


def layers_are_numbers(given: Settings) -> None:
    """`all`, how many, or which in ascending order; a single level is written with a comma behind it: `6,`."""
    parts = given.layers.rstrip(",").split(",")
    if given.layers != "all" and not all(part.isdigit() for part in parts):
        raise SettingsError(f"layers must be all, a number of levels or levels like 0,3,6, not {given.layers!r}")


def a_projection_can_be_read(given: Settings) -> None:
    """Also where it did not come by `Settings.from_dict`."""
    written(given.project)


def side_has_no_use_for(given: Settings) -> None:
    """A setting that would do nothing is refused, rather than taken in silence."""
    if given.method != "side":
        return
    usual = _filled(type(given)(**{name: getattr(given, name) for name in OF_SIDE}), 1)
    for one in fields(given):
        # A settled one, as run folders keep it, has what the fills put there.
        if one.name not in OF_SIDE and getattr(given, one.name) not in (one.default, getattr(usual, one.name)):
            raise SettingsError(f"{one.name}: method side has no use for it; it takes {', '.join(sorted(OF_SIDE))}")


def only_side_has_use_for(given: Settings) -> None:
    """The other way round: other methods train no networks at home."""
    if given.method == "side":
        return
    for one in fields(given):
        if one.name in ONLY_SIDE and getattr(given, one.name) != one.default:
            raise SettingsError(f"{one.name} is for method side, and does nothing in method {given.method}")


def only_auto_has_use_for(given: Settings) -> None:
    """Other methods are what the user chose; there is nothing to decide."""
    for one in fields(given):
        if one.name in ONLY_AUTO and getattr(given, one.name) != one.default:
            raise SettingsError(f"{one.name} is for method auto, and does nothing in method {given.method}")


def long_texts_are_read_as_they_can_be(given: Settings) -> None:
    """Hosts cut a text in a job and refuse it elsewhere; pieces become one text again only where tokens are pooled."""
    if given.method == "side" and given.max_length == "truncate":
        raise SettingsError("max_length truncate is for jobs; method side takes error or chunk")
    if given.method not in ("side", "auto") and given.max_length == "chunk":
        raise SettingsError(f"max_length chunk needs method side; method {given.method} takes truncate or error")
    narrower = given.fetch == "job" or given.feature_dtype != "float16" or given.project is not None
    if given.max_length == "chunk" and narrower:
        raise SettingsError("max_length chunk asks by calls: leave fetch, feature_dtype and project as they are")


def choosing_needs_evaluations(given: Settings) -> None:
    """Patience and metric are about evaluations while training."""
    if given.eval_every is None and given.patience is not None:
        raise SettingsError("patience needs eval_every: it counts evaluations on the dev rows")
    if given.eval_every is None and given.metric != "loss":
        raise SettingsError("metric needs eval_every: it chooses among evaluations on the dev rows")


def a_bound_covers_no_dev_labels(given: Settings) -> None:
    """Training labels are flipped under it; dev labels are not, and what is left on the host follows from them."""
    if given.label_epsilon is not None and given.eval_every is not None and given.method not in ("side", "frozen"):
        raise SettingsError(
            "eval_every is not for runs with label_epsilon: the bound would not hold for the labels of the dev rows"
        )


def a_ladder_divides_among_its_heads(given: Settings) -> None:
    """Each head of its blocks reads a part of the width."""
    if given.side == "ladder" and (given.side_width or 0) % LADDER_HEADS:
        raise SettingsError(f"side_width must be a multiple of {LADDER_HEADS} for side ladder, not {given.side_width}")


REFUSALS = (
    max_leak_is_a_share,
    a_stop_needs_looks,
    an_automatic_weight_needs_looks,
    noise_needs_a_clip,
    some_rows_are_trained_on,
    layers_are_numbers,
    only_auto_has_use_for,
    a_projection_can_be_read,
    side_has_no_use_for,
    only_side_has_use_for,
    a_ladder_divides_among_its_heads,
    long_texts_are_read_as_they_can_be,
    choosing_needs_evaluations,
    a_bound_covers_no_dev_labels,
)


# What follows. The order matters: each rule sees what those before it have filled in.


def baselines_are_bare(given: Settings) -> Settings:
    """Methods other than p3eft: one set, and none of its regularizers."""
    if given.method == "p3eft":
        return given
    bare = replace(given, adapter_sets=1, activation_weight=0.0, shift_weight=0.0, difference_weight=0.0)
    return replace(bare, regularizer="probe", schedule=given.schedule or "ramp", train_coefficients=False)


def with_usual(given: Settings) -> Settings:
    """How long and how fast is trained; more passes cost a side network's host nothing."""
    usual = USUAL[given.side if given.method == "side" else "with hosts"]
    return replace(given, **{name: value for name, value in asdict(usual).items() if getattr(given, name) is None})


def narrower_features_come_of_a_job(given: Settings) -> Settings:
    """All rows go through one transform, which is a job's; a projection at home would save no byte on the wire."""
    narrower = given.feature_dtype != "float16" or given.project is not None
    return replace(given, fetch="job") if narrower else given


def with_max_length(given: Settings) -> Settings:
    """What hosts do anyway."""
    return replace(given, max_length=given.max_length or ("error" if given.method == "side" else "truncate"))


def with_schedule(given: Settings) -> Settings:
    """The camouflage's weight is found by itself, the probe's ramps."""
    return replace(given, schedule=given.schedule or ("automatic" if given.camouflaged else "ramp"))


def with_looks(given: Settings) -> Settings:
    """An automatic weight looks every so often; others do when asked to."""
    usual = LOOK_EVERY if given.schedule == "automatic" else 0
    return replace(given, audit_every=usual if given.audit_every is None else given.audit_every)


def with_head_rate(given: Settings) -> Settings:
    """The head learns as fast as the adapters; faster under camouflage."""
    usual = given.peak_lr * (HEAD_LR if given.camouflaged else 1.0)
    return replace(given, head_lr=usual if given.head_lr is None else given.head_lr)


def with_mixing_spread(given: Settings) -> Settings:
    """The mixing weights spread more under camouflage."""
    usual = CAMOUFLAGE_MULT_STD if given.camouflaged else 0.0
    return replace(given, mult_std=usual if given.mult_std is None else given.mult_std)


FILLS = (
    baselines_are_bare,
    with_usual,
    narrower_features_come_of_a_job,
    with_max_length,
    with_schedule,
    with_looks,
    with_head_rate,
    with_mixing_spread,
)


def with_adapter_sets(given: Settings, hosts: int) -> Settings:
    """As many as `Settings.sets` says; apart, one for each host."""
    if given.placement == "sets" and hosts != given.sets:
        raise SettingsError(f"placement sets: {given.sets} adapter sets need as many hosts, not {hosts}")
    return replace(given, adapter_sets=given.sets)


def with_obfuscation(given: Settings, hosts: int) -> Settings:
    """How a gradient travels, and in how many tensors, by how many hosts divide it among them."""
    dividing = hosts if given.placement == "shares" else 1
    kind = given.obfuscation or _usual_obfuscation(given, dividing)
    if kind != "shares" and dividing > 1:
        advice = f"over {dividing} use shares, or placement steps or sets"
        raise SettingsError(f"obfuscation {kind} is for one host; {advice}")
    if kind != "shares":
        return replace(given, obfuscation=kind, shares=1 if kind == "plain" else given.decoys + 1)
    shares = given.shares if given.shares is not None else max(2, dividing)
    if shares < dividing:
        raise SettingsError(f"{shares} shares for {dividing} hosts: each host needs at least one")
    return replace(given, obfuscation="shares", shares=shares)


def _usual_obfuscation(given: Settings, dividing: int) -> ObfuscationKind:
    if given.method != "p3eft":
        return "plain"
    return "shares" if dividing > 1 or given.shares is not None else "decoys"


def check_precision(settled: Settings) -> None:
    """Refuse settings whose rounding errors would spoil the reconstructed gradient; warn before that.

    The error grows with kappa: on a bfloat16 backbone 0.8 % at 1, 4.4 % at 10, 38 % at 100. `max_gradient_error` is the
    largest that is allowed, by default `MAX_GRADIENT_ERROR`.
    """
    assert settled.obfuscation is not None and settled.shares is not None, "with_obfuscation comes first"
    precision, most = settled.precision, settled.max_gradient_error
    kappa = expected_kappa(settled.obfuscation, settled.shares, settled.noise_scale)
    error = gradient_error(kappa, precision)
    most = MAX_GRADIENT_ERROR[precision] if most is None else most
    if error <= min(most, ERROR_WARN):
        return
    share = f"{error:.0%}" if error >= ERROR_WARN else f"{error:.1e}"
    text = f"a {precision} backbone with kappa {kappa:.3g} loses about {share} of every gradient"
    if error > most:
        advice = "use float32, one share, or a smaller noise_scale" if precision == "bfloat16" else "lower noise_scale"
        raise SettingsError(f"precision: {text}, and max_gradient_error is {most:g}; {advice}")
    log.warning("%s; float32 loses none of it", text)
