"""The labels of a run's rows in every form that training uses, drawn once from the run's secret.

Owns: which form may reach what: the true ones serve the audit's score and nothing that is trained. Must never: draw a
row anew, in another epoch or after a crash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arrays import I64
from ..data import Dataset
from ..settings import Settings, SettingsError
from .label_privacy import randomized_response, transition
from .obfuscation import plausible_labels
from .pslf import draw_pseudo_labels
from .secret import SecretStream
from .tasks import Classification, Regression, Task


@dataclass(frozen=True)
class TrainingLabels:
    """Of N rows, or of a batch of them."""

    true: I64
    """As the data has them; for a regression whether above the median."""
    targets: Any
    """What the head learns: classes (flipped under `label_epsilon`), or values."""
    pseudo: I64 | None
    """What trains the adapters under pslf."""
    decoys: tuple[I64, ...]
    """Other labellings of what trains the adapters."""

    @classmethod
    def draw(cls, data: Dataset, settings: Settings, task: Task, secret: SecretStream) -> TrainingLabels:
        """For all rows of the run's data, in its secret order."""
        targets: Any = data.labels if data.values is None else data.values
        if settings.label_epsilon is not None:
            targets = randomized_response(data.labels, settings.label_epsilon, data.classes, secret)
        pseudo = None
        if settings.method == "pslf":
            pseudo = draw_pseudo_labels(targets, settings.pslf_epsilon, settings.pslf_labels, secret)
        count = settings.decoys if settings.obfuscation == "decoys" else 0
        leading = task.guarded(targets) if pseudo is None else pseudo
        decoys = plausible_labels(data.texts, leading, count, secret) if count else ()
        return cls(data.labels, targets, pseudo, decoys)

    def take(self, rows: I64) -> TrainingLabels:
        """Those of a batch."""
        pseudo = None if self.pseudo is None else self.pseudo[rows]
        return TrainingLabels(self.true[rows], self.targets[rows], pseudo, tuple(decoy[rows] for decoy in self.decoys))


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
