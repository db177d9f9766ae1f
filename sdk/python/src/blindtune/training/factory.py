"""The private parts that a run's settings ask for: the one room that knows both settings and private parts.

Owns: which setting makes which part. Must never: train, or know a host. Others are handed what is made here, and ask no
setting what it is (tests/test_architecture.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays import F32, I64, AnyArray
from ..data import Dataset, Text
from ..data.alignment import PlacedTaps
from ..data.taps import Taps
from ..optimizers import SGD, AdamW, AdamWSettings, Optimizer, SGDSettings
from ..private import label_privacy, obfuscation
from ..private.heads import make_head
from ..private.label_sets import LabelSets
from ..private.mixing import Mixing
from ..private.penalties.camouflage import Camouflage, CamouflageWeights, decoy_directions
from ..private.penalties.penalty import CamouflagePenalty, DistancePenalty, Penalty, ProbePenalty
from ..private.penalties.probe import RegularizerWeights
from ..private.penalties.schedules import WeightSchedule
from ..private.private_model import Home
from ..private.pslf import PseudoHead, draw_pseudo_labels
from ..private.secret import SecretStream
from ..private.selection import Selection, check_metric
from ..private.side import (
    Epoch,
    Evaluated,
    Objective,
    Regularization,
    SideHome,
    SideModel,
    SideSettings,
    TaggerHome,
    Told,
    Watched,
    Weighted,
    balanced,
    fit_side,
    network_class,
)
from ..private.tagging import Tagging
from ..private.tasks import Classification, Regression, Task, check_kind
from ..private.training_labels import TrainingLabels
from .leak_watch import LeakWatch
from .setting_rules import USUAL
from .settings import Settings, SettingsError
from .update_noise import UpdateNoise
from .updates import UpdateRule, Updates

# The private model.


@dataclass(frozen=True)
class HomeShape:
    """What a saved private model is, beside its arrays: H, classes of the guarded labels, a regression's unit."""

    hidden: int
    classes: int
    regression: Mapping[str, float] | None


def fresh_home(settings: Settings, hidden: int, classes: int, secret: SecretStream, task: Task | None = None) -> Home:
    """The private half, drawn from the run's secret: the host cannot guess it from the job's seed.

    `classes` are those of the guarded labels (2 for a regression); without `task` the head learns them.
    """
    task = task or _classification(classes, settings)
    head = make_head(settings.head, hidden, task.outputs, secret)
    pseudo = None
    if settings.method == "pslf":
        pseudo = PseudoHead(make_head(settings.head, hidden, settings.pslf_labels, secret, "pseudo-head"))
    penalty = make_penalty(settings, classes, secret, hidden)
    return Home(make_mixing(settings, hidden, secret), head, task, penalty, pseudo, classes)


def restored_home(settings: Settings, shape: HomeShape, arrays: Mapping[str, AnyArray], secret: SecretStream) -> Home:
    """The private half as it was saved: `arrays` are its parameters, and what `Home.state` gave."""
    task = None if shape.regression is None else Regression(**shape.regression)
    home = fresh_home(settings, shape.hidden, shape.classes, secret, task)
    home.load_state(arrays)
    return home


def make_mixing(settings: Settings, hidden: int, secret: SecretStream) -> Mixing:
    """The secret weights that mix the sets, blind to where decoys go."""
    drawn = Mixing.fresh(settings.coefficients, (settings.sets, hidden), secret, settings.mult_std or 0.0)
    mixing = replace(drawn, trained=settings.train_coefficients)
    return replace(mixing, blind=_blind_directions(settings, secret, hidden)) if settings.camouflaged else mixing


def make_penalty(settings: Settings, classes: int, secret: SecretStream, hidden: int) -> Penalty:
    """The penalty of the run's method; `classes` is what the guarded labels have, `hidden` is H."""
    schedule = WeightSchedule(settings.schedule or "ramp", settings.ramp_steps, settings.max_leak)
    if settings.camouflaged:
        ours = CamouflageWeights(settings.scatter_weight, settings.decoy_weight, settings.decoy_amplitude)
        directions = _blind_directions(settings, secret, hidden)
        return CamouflagePenalty(Camouflage(ours, classes, directions, secret), schedule)
    if settings.method == "dc":
        dc = RegularizerWeights(settings.activation_dc_weight, settings.shift_dc_weight, 0.0)
        return DistancePenalty(dc, classes, schedule)
    probe = RegularizerWeights(settings.activation_weight, settings.shift_weight, settings.difference_weight)
    return ProbePenalty(probe, classes, schedule)


def _blind_directions(settings: Settings, secret: SecretStream, hidden: int) -> F32:
    """u_ik [n, K, H]: where the decoys go and the head does not look."""
    return decoy_directions(secret, settings.sets, hidden, min(settings.decoy_features, hidden - 1))


# Side networks.

AfterEpoch = Callable[[int, Epoch], None]
TAGGER_WIDTH = 96
"""Of the network that reads tokens, whose kind follows from the task."""


@dataclass(frozen=True)
class DevInputs:
    """What networks read of the dev rows, and who is told of evaluations on them."""

    inputs: Taps | PlacedTaps
    data: Dataset
    after: Callable[[int, Evaluated], None]


@dataclass(frozen=True)
class SideData:
    """What networks read of the rows of `data`, and of rows to evaluate on meanwhile."""

    inputs: Taps | PlacedTaps
    data: Dataset
    dev: DevInputs | None = None


def fit_side_home(settings: Settings, rows: SideData, secret: SecretStream, after: AfterEpoch) -> SideHome | TaggerHome:
    """Networks trained on these rows; `after` is told of every epoch of every network."""
    inputs, data = rows.inputs, rows.data
    task = make_task(data, settings)
    how = _side_settings(settings)
    if isinstance(inputs, PlacedTaps):
        assert isinstance(task, Tagging), "places are of spans"
        tags = task.encode(data, inputs.places)
        tagger = replace(how, kind="tagger", width=TAGGER_WIDTH)
        told = Told(after, _watched(settings, task, rows.dev))
        return TaggerHome(fit_side(inputs.taps, tags, task, tagger, secret, told), task)
    objective = _objective(task, data, settings)
    told = Told(after, _watched(settings, task, rows.dev))
    return SideHome(fit_side(inputs, _targets(data), objective, how, secret, told), task)


def _watched(settings: Settings, task: Task | Tagging, dev: DevInputs | None) -> Watched | None:
    """The dev rows as networks are evaluated on them; None where they choose nothing."""
    if dev is None or settings.eval_every is None:
        return None
    inputs, data = dev.inputs, dev.data
    every, metric, patience = settings.eval_every, settings.metric, settings.patience
    taps = inputs.taps if isinstance(inputs, PlacedTaps) else inputs

    def scores(outputs: F32) -> dict[str, float]:
        if isinstance(inputs, PlacedTaps):
            assert isinstance(task, Tagging), "places are of spans"
            return task.report_placed(outputs, inputs.places, data).scores
        return task.report(outputs, data).scores

    return Watched(taps, scores, lambda: Selection(every, metric, patience), dev.after)


def check_side(settings: Settings, data: Dataset) -> None:
    """Refuse, before a host is asked for anything, what could not be trained at home."""
    if data.spans is not None:
        for name, usual in (("side", "attentive"), ("side_width", USUAL["attentive"].side_width)):
            if getattr(settings, name) != usual:
                raise SettingsError(f"{name}: spans have a network of their own; leave it out")
    network_class(settings.side)
    _objective(make_task(data, settings), data, settings)


def _side_settings(settings: Settings) -> SideSettings:
    assert settings.side_width is not None, "settings must be resolved first"
    return SideSettings(
        kind=settings.side,
        width=settings.side_width,
        epochs=settings.whole_epochs,
        batch_size=settings.rows_per_batch,
        lr=settings.peak_lr,
        regularization=Regularization(settings.dropout or 0.0, settings.input_noise),
        networks=settings.networks,
        held_out=settings.held_out,
    )


def _objective(task: Task, data: Dataset, settings: Settings) -> Objective:
    """What is trained for: the task itself, or with classes that weigh more and less."""
    weights = settings.class_weights
    if weights is None:
        return task
    if not isinstance(task, Classification):
        raise SettingsError("class_weights are for rows of one class each")
    if isinstance(weights, str):
        return Weighted(balanced(data.labels, data.classes))
    if len(weights) != data.classes:
        names = ", ".join(data.label_names)
        raise SettingsError(f"class_weights has {len(weights)} numbers for {data.classes} classes ({names})")
    return Weighted(weights)


def restored_side_home(
    classes: int, description: Mapping[str, Any], arrays: Mapping[str, F32]
) -> SideHome | TaggerHome:
    """Networks as they were saved; `description` is what their home's `description` gave."""
    model = SideModel.of(arrays)
    if description.get("task") == Tagging.kind:
        return TaggerHome(model, Tagging(classes))
    return SideHome(model, _restored_task(classes, description))


def _targets(data: Dataset) -> Any:
    """What is learned of these rows: classes [N], values [N], or labels [N, C]."""
    known = [targets for targets in (data.values, data.sets) if targets is not None]
    return known[0] if known else data.labels


def _restored_task(classes: int, description: Mapping[str, Any]) -> Task:
    if description.get("regression") is not None:
        return Regression(**description["regression"])
    return LabelSets(classes) if description.get("task") == LabelSets.kind else Classification(classes)


# Labels.


def make_task(data: Dataset, settings: Settings) -> Task:
    """What the head learns on this data; settings that only classes can have are refused for anything else."""
    if data.sets is not None or data.spans is not None:
        if settings.method != "side":
            advice = "several, and spans, need method side"
            raise SettingsError(f"method {settings.method} learns one label for each row; {advice}")
        return Tagging(data.classes) if data.sets is None else LabelSets(data.classes)
    if settings.method == "pslf" and (data.values is not None or data.classes != 2):
        raise SettingsError("method pslf is for two classes, as its authors have it")
    if data.values is not None:
        if settings.label_epsilon is not None:
            raise SettingsError("label_epsilon flips classes; a regression has none")
        return Regression.of(data.values)
    return _classification(data.classes, settings)


def check_dev(settings: Settings, data: Dataset, dev: Dataset | None) -> None:
    """Refuse, before a host is asked for anything, rows that a run on `data` cannot be evaluated on."""
    if dev is None:
        if settings.eval_every is not None:
            raise SettingsError("eval_every needs dev rows: fit(data, dev), or --dev")
        return
    task = make_task(data, settings)
    check_kind(task, dev)
    if dev.label_names != data.label_names:
        raise SettingsError("dev has other labels than the data: read it with label_names=data.label_names")
    if settings.eval_every is not None and not isinstance(task, Tagging):
        known = task.report(np.zeros((len(dev), task.outputs), np.float32), dev).scores
        check_metric(settings.metric, known)


def make_selection(settings: Settings) -> Selection | None:
    """How the best state is chosen; None where only the last one counts."""
    if settings.eval_every is None:
        return None
    return Selection(settings.eval_every, settings.metric, settings.patience)


def _classification(classes: int, settings: Settings) -> Classification:
    """Of so many classes, corrected for the flips of `label_epsilon`."""
    epsilon = settings.label_epsilon
    return Classification(classes, None if epsilon is None else label_privacy.transition(epsilon, classes))


def draw_labels(data: Dataset, settings: Settings, task: Task, secret: SecretStream) -> TrainingLabels:
    """The labels of all rows of the run's data, in its secret order."""
    targets: Any = data.labels if data.values is None else data.values
    if settings.label_epsilon is not None:
        targets = label_privacy.randomized_response(data.labels, settings.label_epsilon, data.classes, secret)
    pseudo = None
    if settings.method == "pslf":
        pseudo = draw_pseudo_labels(targets, settings.pslf_epsilon, settings.pslf_labels, secret)
    leading = task.guarded(targets) if pseudo is None else pseudo
    decoys = other_labels(data.texts, leading, settings, secret) if settings.obfuscation == "decoys" else ()
    return TrainingLabels(data.labels, targets, pseudo, decoys)


def other_labels(texts: Sequence[Text], labels: I64, settings: Settings, secret: SecretStream) -> tuple[I64, ...]:
    """The labellings [N] that decoys are made of."""
    return obfuscation.plausible_labels(texts, labels, settings.decoys, secret)


def proven(settings: Settings, classes: int) -> tuple[str, ...]:
    """What is proven about the labels of a run, in words."""
    epsilon = settings.label_epsilon
    return () if epsilon is None else (label_privacy.describe(epsilon, classes),)


# Gradients and updates.


def fresh_secret() -> SecretStream:
    """A secret for what is not kept."""
    return SecretStream.fresh()


def make_obfuscation(settings: Settings) -> obfuscation.Obfuscation:
    """How gradients travel. Of resolved settings."""
    assert settings.obfuscation is not None and settings.shares is not None, "settings must be resolved first"
    return obfuscation.make_obfuscation(settings.obfuscation, settings.shares, settings.noise_scale)


def make_watch(settings: Settings, classes: int) -> LeakWatch:
    """The looks that the settings ask for."""
    return LeakWatch(settings.audit_every or 0, classes, settings.max_leak, settings.on_leak == "stop")


def make_updates(settings: Settings, thetas: list[F32], home: Home, secret: SecretStream) -> Updates:
    """Optimizers over the adapters and over what is trained at home, which they move in place."""
    noise = None
    if settings.update_clip is not None:
        noise = UpdateNoise(settings.update_clip, settings.update_noise, secret)
    factor = (settings.head_lr or settings.peak_lr) / settings.peak_lr
    rule = UpdateRule(settings.accumulate, settings.max_grad_norm, factor, noise)
    return Updates(_optimizer(settings, thetas), _optimizer(settings, list(home.parameters.values())), rule)


def _optimizer(settings: Settings, parameters: list[F32]) -> Optimizer:
    if settings.optimizer == "sgd":
        return SGD(parameters, SGDSettings(lr=settings.peak_lr, weight_decay=settings.weight_decay))
    return AdamW(parameters, AdamWSettings(lr=settings.peak_lr, weight_decay=settings.weight_decay))
