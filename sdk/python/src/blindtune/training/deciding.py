"""What users do with a trained run beside predictions: choose thresholds, and write a model card.

Owns: those methods of a `Tuner`. Must never: ask a host for more than `evaluate` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..audit import LeakReport
from ..data import Dataset, Text
from . import thresholds as own_thresholds
from .card_facts import CardFacts
from .model_card import model_card
from .run_folder import RunFolder
from .thresholds import Choice

if TYPE_CHECKING:
    from ..private.evaluation import EvaluationReport
    from ..private.predicting import Predicting
    from ..private.thresholds import Thresholds


class Deciding(ABC):
    """A run whose answers can be decided otherwise, and described."""

    folder: RunFolder

    @property
    @abstractmethod
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""

    @abstractmethod
    def _trained(self) -> Predicting[Any]:
        """The private model that predicts."""

    @abstractmethod
    def _inputs(self, texts: Sequence[Text]) -> Any:
        """What it reads of these texts."""

    @property
    def _own_folder(self) -> RunFolder:
        """The folder of the model that predicts."""
        return self.folder

    def _deciding(self) -> Predicting[Any]:
        """The same, with the thresholds in use."""
        return self._trained().deciding_by(self.thresholds)

    def choose_thresholds(
        self, dev: Dataset, *, positive: str | None = None, recall: float | None = None, precision: float | None = None
    ) -> Thresholds:
        """Choose from which probability on `positive` is said: `predict` and `report` go by it from then on.

        By the best F1, or by a demand: `recall=0.95` takes the highest precision with at least that recall,
        `precision=0.8` the highest recall. Of several labels each has its own; with `positive` the others stay.
        `dev` are rows that were neither trained on nor are reported. Only their texts travel, as in `evaluate`.
        """
        choice = Choice.of(self.label_names, positive, recall, precision)
        known = tuple(folder.about() or {} for folder in (self.folder, self._own_folder))
        found = choice.on(dev, self._trained(), self._inputs, [about.get("data_sha256") for about in known])
        return own_thresholds.keep(self._own_folder, found, self._trained())

    @property
    def thresholds(self) -> Thresholds | None:
        """Those in use; None where the likeliest label is said, or of several each from 0.5 on."""
        return own_thresholds.in_use(self._own_folder, self._trained())

    def clear_thresholds(self) -> None:
        """Say the likeliest label again, or of several each from 0.5 on."""
        own_thresholds.clear(self._own_folder)

    def card(
        self,
        evaluation: EvaluationReport | None = None,
        leak: LeakReport | None = None,
        with_label_names: bool = False,
    ) -> str:
        """A model card in Markdown, by the run folder and by what you measured; what it lacks is named as missing.

        No host is asked, no text is in it, and names of labels only where you ask for them.
        """
        facts = CardFacts.of(self.folder)
        measured = [None if one is None else one.to_dict() for one in (evaluation, leak)]
        return model_card(facts.with_measured(*measured), with_label_names)
