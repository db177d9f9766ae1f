"""Fine-tuning on somebody else's machine without sending a label (P3EFT, arXiv 2412.16669).

The label holder's side: `P3EFT` trains, evaluates and audits; `Client` and `AsyncClient` talk to one host.
"""

from ._transport import RetryPolicy
from ._version import __version__
from .audit import LeakReport
from .calls import BackwardRequest, ForwardRequest, StepAnswer
from .client import AsyncClient, Client
from .data import DataError, Dataset, read_dataset
from .errors import ApiConnectionError, ApiError, BlindtuneError, RunError, WebhookVerificationError
from .settings import Settings, SettingsError
from .trainer import P3EFT, FitResult

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
    "WebhookVerificationError",
    "__version__",
    "read_dataset",
]
