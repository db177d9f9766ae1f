"""How sure a run is: one temperature that outputs are divided by, fitted on rows with labels.

Owns: the fit, over arrays, and what it makes of outputs. Must never: be made on the rows that are reported, or ask for
anything: it is made of labels.

Guo et al. 2017, "On Calibration of Modern Neural Networks": the T above 0 with the least mean negative log-likelihood
of softmax(outputs / T), of several labels that of sigmoid(outputs / T) over rows and labels. It is convex in 1 / T, so
that there is one minimum. Within `LOWEST` and `HIGHEST`, and 1 where no other is better: on the rows of the fit the
loss is never higher than before. Of one class for a row, the likeliest is the same under any T.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax

from ..arrays import F32, F64, AnyArray
from ..errors import RunError
from .metrics import Calibration

LOWEST, HIGHEST = 0.05, 20.0
LEAST_ROWS = 30
CLOSE = 1e-6
"""Of log T, where the search ends."""
AT_BOUND = 1.001


class TemperatureError(RunError, ValueError):
    """A temperature that cannot be fitted; the message says why, and what can be done."""


@dataclass(frozen=True)
class Temperature:
    """What outputs are divided by before they become probabilities; loss and error are on the rows of the fit.

    `print` it.
    """

    value: float
    task: str
    """classification or multilabel."""
    rows: int
    loss_before: float
    """Mean negative log-likelihood, as `report` has it."""
    loss_after: float
    ece_before: float
    """Expected calibration error."""
    ece_after: float
    data_sha256: str = ""
    """Of the rows it was fitted on."""

    NOTE: ClassVar[str] = "fitted on these rows, so loss and calibration on them are a little too good: report others"

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Temperature:
        """What `to_dict` gave."""
        return cls(**body)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @property
    def limit(self) -> str:
        """What is to be known of a fit that ended at a bound; nothing of one within."""
        if self.value >= HIGHEST / AT_BOUND:
            return f"{HIGHEST:g} is the highest that is tried: see whether the run is better than chance on these rows"
        if self.value <= LOWEST * AT_BOUND:
            return f"{LOWEST:g} is the lowest that is tried: these rows set no limit to how sure it may be; fit on more"
        return ""

    def line(self) -> str:
        """What is in use, in one line."""
        return f"probabilities are of outputs divided by the temperature {self.value:.4g}, fitted on {self.rows} rows"

    def used_on(self, data_sha256: str) -> tuple[str, ...]:
        """What is said of a report under it; on the rows of the fit, that it is too good."""
        return (self.line(), *([self.NOTE] if self.data_sha256 == data_sha256 else []))

    def scaled(self, outputs: F32) -> AnyArray:
        """The outputs that probabilities are of: exact, since outputs that are nearly equal stay apart."""
        return outputs.astype(np.float64) / self.value

    def __str__(self) -> str:
        sure = "as they are" if self.value == 1 else "less sure" if self.value > 1 else "surer"
        loss = f"loss {self.loss_before:.4f} before, {self.loss_after:.4f} now"
        error = f"expected calibration error {self.ece_before:.4f} before, {self.ece_after:.4f} now"
        changed = f"temperature {self.value:.4g}: probabilities are {sure}"
        return "\n".join([f"{changed}; on {self.rows} rows {loss}; {error}", *filter(None, [self.limit]), self.NOTE])


def check_fits(task: str, rows: int) -> None:
    """Refuse a task without probabilities, and too few rows: neither is known by a label."""
    if task not in ("classification", "multilabel"):
        raise TemperatureError(f"the run is of task {task}: only labels with probabilities can be calibrated")
    if rows < LEAST_ROWS:
        raise TemperatureError(f"{rows} rows: a temperature is fitted on {LEAST_ROWS} or more")


def fit(task: str, outputs: F32, truth: AnyArray) -> Temperature:
    """The temperature of outputs [N, C]; truth [N, C] is of 0 and 1, of a classification with one 1 in each row."""
    check_fits(task, len(outputs))
    exact, right = outputs.astype(np.float64), truth.astype(np.float64)
    if not np.isfinite(exact).all():
        raise TemperatureError("some outputs are no finite numbers: the run did not train well; look at its losses")

    def loss(log_value: float) -> float:
        return _loss(task, exact / np.exp(log_value), right)

    low, high = float(np.log(LOWEST)), float(np.log(HIGHEST))
    within = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": CLOSE}).x
    # The search never tries the bounds themselves. Of equal ones the first: 1 changes nothing.
    tried = {1.0: 0.0, float(np.exp(within)): float(within), LOWEST: low, HIGHEST: high}
    value = min(tried, key=lambda one: loss(tried[one]))
    after = exact / value
    return Temperature(
        value=value,
        task=task,
        rows=len(exact),
        loss_before=_loss(task, exact, right),
        loss_after=_loss(task, after, right),
        ece_before=_error(task, exact, right),
        ece_after=_error(task, after, right),
    )


def _loss(task: str, outputs: F64, truth: F64) -> float:
    if task == "classification":
        return float(-(log_softmax(outputs, axis=1) * truth).sum(axis=1).mean())
    return float(np.mean(np.logaddexp(0.0, outputs) - truth * outputs))


def _error(task: str, outputs: F64, truth: F64) -> float:
    if task == "classification":
        likely: AnyArray = np.exp(log_softmax(outputs, axis=1))
        return Calibration.of_classes(likely, truth.argmax(axis=1)).error
    several: AnyArray = expit(outputs)
    return Calibration.of_sets(several, truth).error
