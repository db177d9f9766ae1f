"""Packages that only some features need, and what to install when one is missing.

Owns: the message that names the extra. Must never: import one of them before it is asked for.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import BlindtuneError


class MissingExtraError(BlindtuneError, ImportError):
    """An optional package is not installed; the message says which extra brings it."""


def need(module: str, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or say that `purpose` needs it and how to install the extra.

    >>> need("json", "none", "this line").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != package:
            raise  # it is installed, and misses something of its own
        raise MissingExtraError(f"{purpose} needs {package}: pip install 'blindtune[{extra}]'") from None
