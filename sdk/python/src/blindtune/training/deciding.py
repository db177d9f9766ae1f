"""What users do with a trained run beside predictions: calibrate it, choose thresholds, and write a model card.

Owns: those methods of a `Tuner`. Must never: ask a host for more than `evaluate` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..arrays import F32
from ..audit import LeakReport
from ..data import Dataset, Text
from . import chosen
from . import temperature as own_temperature
from . import thresholds as own_thresholds
from .card_facts import CardFacts
from .chosen import THRESHOLDS, ChoiceRows
from .model_card import model_card
from .run_folder import RunFolder
from .thresholds import Choice

if TYPE_CHECKING:
    from ..private.evaluation import EvaluationReport
    from ..private.predicting import Predicting
    from ..private.temperature import Temperature
    from ..private.thresholds import Thresholds


@dataclass(frozen=True)
class RowReport:
    """An evaluation, and what it is made of."""

    report: EvaluationReport
    answers: Sequence[Any]
    """What `predict` says of each row; of a regression its value."""
    probabilities: F32 | None
    """[N, C], as `predict_proba` has them; None of a regression and of tokens."""


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

    def _calibrated(self) -> Predicting[Any]:
        """The same, with the temperature in use."""
        return self._trained().calibrated_by(self.temperature)

    def _deciding(self) -> Predicting[Any]:
        """The same, with the thresholds in use as well."""
        return self._calibrated().deciding_by(self.thresholds)

    def report_by_row(self, data: Dataset) -> RowReport:
        """What `report` says of `data`, with each row's answer and probabilities, of one reading of its texts."""
        mine = self._deciding().checked(data)
        inputs = self._inputs(data.texts)
        report = mine.report(inputs, data)
        if data.task == "regression":
            return RowReport(report, mine.values(inputs).tolist(), None)
        likely = None if data.task == "tokens" else mine.probabilities(inputs)
        return RowReport(report, mine.answers(inputs, self.label_names), likely)

    def _choice_rows(self, dev: Dataset) -> ChoiceRows[Any]:
        """Rows to choose on."""
        known = [(folder.about() or {}).get("data_sha256") for folder in (self.folder, self._own_folder)]
        return ChoiceRows(dev, self._inputs, self.label_names, known)

    def calibrate(self, dev: Dataset) -> Temperature:
        """Fit the temperature that outputs are divided by before they become probabilities, in use from then on.

        A trained run is too sure of what it says: the temperature with the least loss on `dev` mends that, and changes
        no answer (Guo et al. 2017). `dev` are 30 rows or more that were neither trained on nor are reported. Thresholds
        are for the probabilities they were chosen for, and are dropped: choose them afterwards. Only the texts of `dev`
        travel, as in `evaluate`.
        """
        found = own_temperature.fitted(self._choice_rows(dev), self._trained())
        return own_temperature.keep(self._own_folder, found, self._trained())

    @property
    def temperature(self) -> Temperature | None:
        """That in use; None where probabilities are as the model gives them."""
        return own_temperature.in_use(self._own_folder, self._trained())

    def clear_temperature(self) -> None:
        """Take probabilities as the model gives them again. Thresholds that were chosen under it are dropped."""
        own_temperature.clear(self._own_folder)

    def choose_thresholds(
        self, dev: Dataset, *, positive: str | None = None, recall: float | None = None, precision: float | None = None
    ) -> Thresholds:
        """Choose from which probability on `positive` is said: `predict` and `report` go by it from then on.

        By the best F1, or by a demand: `recall=0.95` takes the highest precision with at least that recall,
        `precision=0.8` the highest recall. Of several labels each has its own; with `positive` the others stay.
        `dev` are rows that were neither trained on nor are reported. Only their texts travel, as in `evaluate`.
        """
        choice = Choice.of(self.label_names, positive, recall, precision)
        found = choice.on(self._choice_rows(dev), self._calibrated())
        return own_thresholds.keep(self._own_folder, found, self._trained())

    @property
    def thresholds(self) -> Thresholds | None:
        """Those in use; None where the likeliest label is said, or of several each from 0.5 on."""
        return own_thresholds.in_use(self._own_folder, self._trained())

    def clear_thresholds(self) -> None:
        """Say the likeliest label again, or of several each from 0.5 on."""
        chosen.clear(self._own_folder, THRESHOLDS)

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
