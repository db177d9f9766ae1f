"""`blindtune.trainer`, as users import it: training/trainer.py.

Owns: a path that stays. Must never: hold code, or be imported within the package.
"""

from .client import connect
from .training.fit_result import FitResult
from .training.trainer import P3EFT, Tuner, load_export

__all__ = ["P3EFT", "FitResult", "Tuner", "connect", "load_export"]
