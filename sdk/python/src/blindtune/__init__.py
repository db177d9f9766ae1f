"""Fine-tuning on somebody else's machine without sending a label (P3EFT, arXiv 2412.16669).

The label holder's side: `P3EFT` trains, evaluates and audits; `Client` talks to one host.
"""

from .audit import LeakReport
from .client import Client
from .data import DataError, Dataset, read_dataset
from .errors import ApiConnectionError, ApiError, BlindtuneError, RunError
from .settings import Settings, SettingsError
from .trainer import P3EFT, FitResult

__version__ = "0.1.0"

__all__ = [
    "P3EFT",
    "ApiConnectionError",
    "ApiError",
    "BlindtuneError",
    "Client",
    "DataError",
    "Dataset",
    "FitResult",
    "LeakReport",
    "RunError",
    "Settings",
    "SettingsError",
    "__version__",
    "read_dataset",
]
