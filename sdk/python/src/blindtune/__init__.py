"""Fine-tuning on somebody else's machine without sending a label (P3EFT, arXiv 2412.16669).

The label holder's side: `Tuner` trains, evaluates and audits; `Client` and `AsyncClient` talk to one host. `P3EFT` is
`Tuner` by its first name.

A name's module is loaded when the name is first asked for: a `Client` alone costs neither scikit-learn nor SciPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from .audit import LeakReport
    from .client import AsyncClient, BackwardRequest, Client, ForwardRequest, RetryPolicy, StepAnswer
    from .data import DataError, Dataset, read_dataset
    from .errors import ApiConnectionError, ApiError, BlindtuneError, RunError, WebhookVerificationError
    from .settings import Settings, SettingsError
    from .trainer import P3EFT, FitResult, Tuner

__all__ = [
    "P3EFT",
    "ApiConnectionError",
    "ApiError",
    "AsyncClient",
    "BackwardRequest",
    "BlindtuneError",
    "Client",
    "DataError",
    "Dataset",
    "FitResult",
    "ForwardRequest",
    "LeakReport",
    "RetryPolicy",
    "RunError",
    "Settings",
    "SettingsError",
    "StepAnswer",
    "Tuner",
    "WebhookVerificationError",
    "__version__",
    "read_dataset",
]

_NAMES = {
    "audit": ("LeakReport",),
    "client": ("AsyncClient", "BackwardRequest", "Client", "ForwardRequest", "RetryPolicy", "StepAnswer"),
    "data": ("DataError", "Dataset", "read_dataset"),
    "errors": ("ApiConnectionError", "ApiError", "BlindtuneError", "RunError", "WebhookVerificationError"),
    "settings": ("Settings", "SettingsError"),
    "trainer": ("P3EFT", "FitResult", "Tuner"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

# Hidden from type checkers, which would take every misspelt name for one that this answers.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        module = _MODULE_OF.get(name, name if name in _NAMES else None)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        loaded = importlib.import_module(f"{__name__}.{module}")
        if name in _MODULE_OF:
            globals()[name] = getattr(loaded, name)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
