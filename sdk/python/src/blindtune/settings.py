"""`blindtune.settings`, as users import it: training/settings.py.

Owns: a path that stays. Must never: hold code, or be imported within the package.
"""

from .training.settings import (
    METHODS,
    ON_LEAK,
    OPTIMIZERS,
    POOLINGS,
    PRECISIONS,
    REGULARIZERS,
    Settings,
    SettingsError,
)

__all__ = [
    "METHODS",
    "ON_LEAK",
    "OPTIMIZERS",
    "POOLINGS",
    "PRECISIONS",
    "REGULARIZERS",
    "Settings",
    "SettingsError",
]
