"""The private parts that a run's settings ask for.

Owns: which setting makes which part. Must never: train, or know a host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..arrays import F32
from ..data import Dataset
from ..private.heads import make_head
from ..private.label_privacy import randomized_response, transition
from ..private.mixing import Mixing
from ..private.obfuscation import plausible_labels
from ..private.penalties.camouflage import Camouflage, decoy_directions
from ..private.penalties.penalty import CamouflagePenalty, DistancePenalty, Penalty, ProbePenalty
from ..private.private_model import Home
from ..private.pslf import PseudoHead, draw_pseudo_labels
from ..private.secret import SecretStream
from ..private.tasks import Classification, Regression, Task
from ..private.training_labels import TrainingLabels
from .settings import Settings, SettingsError


def fresh_home(settings: Settings, hidden: int, classes: int, secret: SecretStream, task: Task | None = None) -> Home:
    """The private half, drawn from the run's secret: the host cannot guess it from the job's seed.

    `classes` are those of the guarded labels (2 for a regression); without `task` the head learns them.
    """
    task = task or classification(classes, settings)
    mixing = Mixing.fresh(settings.coefficients, (settings.sets, hidden), secret, settings.mult_std or 0.0)
    head = make_head(settings.head, hidden, task.outputs, secret)
    pseudo = None
    if settings.method == "pslf":
        pseudo = PseudoHead(make_head(settings.head, hidden, settings.pslf_labels, secret, "pseudo-head"))
    if settings.camouflaged:
        mixing = replace(mixing, blind=blind_directions(settings, secret, hidden))
    penalty = make_penalty(settings, classes, secret, hidden)
    return Home(mixing, head, task, penalty, pseudo, classes)


def draw_labels(data: Dataset, settings: Settings, task: Task, secret: SecretStream) -> TrainingLabels:
    """The labels of all rows of the run's data, in its secret order."""
    targets: Any = data.labels if data.values is None else data.values
    if settings.label_epsilon is not None:
        targets = randomized_response(data.labels, settings.label_epsilon, data.classes, secret)
    pseudo = None
    if settings.method == "pslf":
        pseudo = draw_pseudo_labels(targets, settings.pslf_epsilon, settings.pslf_labels, secret)
    count = settings.decoys if settings.obfuscation == "decoys" else 0
    leading = task.guarded(targets) if pseudo is None else pseudo
    decoys = plausible_labels(data.texts, leading, count, secret) if count else ()
    return TrainingLabels(data.labels, targets, pseudo, decoys)


def make_task(data: Dataset, settings: Settings) -> Task:
    """What the head learns on this data; settings that only classes can have are refused for anything else."""
    if settings.method == "pslf" and (data.values is not None or data.classes != 2):
        raise SettingsError("method pslf is for two classes, as its authors have it")
    if data.values is not None:
        if settings.label_epsilon is not None:
            raise SettingsError("label_epsilon flips classes; a regression has none")
        return Regression.of(data.values)
    return classification(data.classes, settings)


def classification(classes: int, settings: Settings) -> Classification:
    """Of so many classes, corrected for the flips of `label_epsilon`."""
    epsilon = settings.label_epsilon
    return Classification(classes, None if epsilon is None else transition(epsilon, classes))


def make_penalty(settings: Settings, classes: int, secret: SecretStream, hidden: int) -> Penalty:
    """The penalty of the run's method; `classes` is what the guarded labels have, `hidden` is H."""
    schedule = settings.weight_schedule()
    if settings.camouflaged:
        return CamouflagePenalty(
            Camouflage(settings.camouflage(), classes, blind_directions(settings, secret, hidden), secret), schedule
        )
    kind = DistancePenalty if settings.method == "dc" else ProbePenalty
    return kind(settings.probe_weights(), classes, schedule)


def blind_directions(settings: Settings, secret: SecretStream, hidden: int) -> F32:
    """u_ik [n, K, H]: where the decoys go and the head does not look."""
    return decoy_directions(secret, settings.sets, hidden, min(settings.decoy_features, hidden - 1))
