"""Which of a run's evaluations is the best, and when no better one is waited for.

Owns: that decision, over scores. Must never: end a training by itself: of a blind method its length may tell nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import RunError

LOWER_IS_BETTER = frozenset({"loss", "ece", "brier", "mae", "rmse"})


@dataclass
class Selection:
    """An evaluation after every so many steps; the one with the best `metric` is chosen.

    Once `patience` evaluations in a row were no better than the best, it is over: later ones change nothing.
    """

    every: int
    metric: str
    patience: int | None = None
    best_step: int | None = None
    best_scores: dict[str, float] = field(default_factory=dict)
    last_step: int = 0
    """Of the newest evaluation."""
    in_vain: int = 0
    """Evaluations since the best."""

    @property
    def over(self) -> bool:
        """Whether patience is exhausted."""
        return self.patience is not None and self.in_vain >= self.patience

    def due(self, step: int, last: bool = False) -> bool:
        """Whether to evaluate after `step` steps; after the last one in any case."""
        return not self.over and step > self.last_step and (last or step % self.every == 0)

    def add(self, step: int, scores: Mapping[str, float]) -> bool:
        """One more evaluation; whether it is the best so far."""
        check_metric(self.metric, scores)
        self.last_step = step
        if self.best_step is not None and not self._better(scores[self.metric]):
            self.in_vain += 1
            return False
        self.best_step, self.best_scores, self.in_vain = step, dict(scores), 0
        return True

    def _better(self, score: float) -> bool:
        best = self.best_scores[self.metric]
        if best != best:  # not a number: anything is better
            return score == score
        return score < best if self.metric in LOWER_IS_BETTER else score > best


def check_metric(metric: str, scores: Mapping[str, float]) -> None:
    """Refuse a metric that these rows do not have: of another task, or not defined on them."""
    if metric not in scores:
        known = ", ".join(name for name in scores if name != "rows")
        raise RunError(f"metric {metric} is not among the scores of these dev rows ({known})")
