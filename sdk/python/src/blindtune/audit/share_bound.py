"""What the shares of gradients can tell at most about one row, proven; and how much they tell in sum, beside it.

Owns: the arithmetic of the Gaussian mechanism that a share is. Must never: be taken for more than it says. It is about
shares alone: the next adapter values tell the same host of the same gradient (tier 3), and no bound here covers them.

A share is (g / m + z) / alpha, z of standard deviation s rms(g) in every entry. A host that holds k of the m shares of
each of n adapter sets is told of one row mu = sqrt(n k (m - 1) / (m - k) H) / (m s) in every step, and sqrt(E) times
that over E epochs, in the sense of Gaussian differential privacy (Dong, Roth, Su 2022): whoever guesses one bit about
the row is right with probability Phi(mu / 2) at most. For one share of one set, mu = sqrt(H) / (m s).

This is so for a row whose label moves its gradient by the root mean square of the batch's rows; one that it moves r
times as far has r mu. The secret alpha only helps, and is not counted on, but for hiding the size of the noise, which
follows the batch's gradient.

Rows that resemble each other push the same way, so the *concept* adds up over rows where no row's own label does: an
attacker who could line all shares up would see N n H / (m s)^2 of signal over noise for N rows sent. That is a size, no
leak; what attacks make of it is measured (tier 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import sqrt

from scipy.stats import norm

SIGNAL_TARGET = 1.0
"""The concept's signal over noise that is asked for where nobody asks otherwise: one standard deviation in all."""


@dataclass(frozen=True)
class ShareBound:
    """The shares that one host holds of a run. `sent` counts rows as often as they were sent; all are at least 1."""

    hidden: int
    """H, the width of a gradient at the cut."""
    shares: int
    """m, the tensors that a gradient becomes."""
    scale: float
    """s, the noise over the gradient's root mean square."""
    rows: int
    sent: int
    held: int = 1
    """k, how many of the m shares the host holds."""
    sets: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.held < self.shares:
            raise ValueError(f"{self.held} of {self.shares} shares held: with all of them there is no bound")

    @property
    def epochs(self) -> float:
        """How often a row was sent, on average."""
        return self.sent / self.rows

    @property
    def step_mu(self) -> float:
        """mu of one row in one step."""
        parts = self.sets * self.held * (self.shares - 1) / (self.shares - self.held)
        return sqrt(parts * self.hidden) / (self.shares * self.scale)

    @property
    def row_mu(self) -> float:
        """mu of one row over the run."""
        return sqrt(self.epochs) * self.step_mu

    @property
    def row_accuracy(self) -> float:
        """The most that anybody can be right about one bit of one row, both values as likely before."""
        return float(norm.cdf(self.row_mu / 2))

    @property
    def signal(self) -> float:
        """The concept's signal over noise in all that was sent."""
        return self.sent * self.step_mu**2

    def scale_for_signal(self, target: float = SIGNAL_TARGET) -> float:
        """The s at which the concept's signal would be `target`."""
        return self.scale * sqrt(self.signal / target)

    def scale_for_row(self, mu: float) -> float:
        """The s at which one row's mu over the run would be `mu`."""
        return self.scale * self.row_mu / mu

    def to_dict(self) -> dict[str, float]:
        """The numbers above as plain values."""
        derived = {name: getattr(self, name) for name in ("epochs", "step_mu", "row_mu", "row_accuracy", "signal")}
        return asdict(self) | derived | {"scale_for_signal_1": self.scale_for_signal()}

    @classmethod
    def from_dict(cls, body: Mapping[str, float]) -> ShareBound:
        """From `to_dict`."""
        numbers = {one.name: body[one.name] for one in fields(cls)}
        whole = {name: value if name == "scale" else int(value) for name, value in numbers.items()}
        return cls(**whole)  # type: ignore[arg-type]

    def sentences(self, measured: float | None) -> tuple[str, ...]:
        """In words; `measured` is the best attack on the shares, where there was one."""
        found = "was not measured" if measured is None else f"reads {measured:.3f} by the best attack measured"
        return (
            f"proven, of the shares alone: about one row of average gradient they tell mu {self.step_mu:.3f} a step "
            f"and {self.row_mu:.3f} over {self.epochs:.1f} epochs; nobody is right about it more often than "
            f"{self.row_accuracy:.1%}",
            f"measured, not proven: the concept that rows share adds up to a signal of {self.signal:.3g} over noise, "
            f"which {found}; a signal of {SIGNAL_TARGET:g} needs noise_scale {self.scale_for_signal():.0f}",
        )
