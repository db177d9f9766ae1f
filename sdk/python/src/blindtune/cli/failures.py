"""What went wrong, as one line for people, and the exit code.

Owns: exit codes: 0 done, 1 the run or a host failed, 2 wrong arguments or data, 3 a demand of `--require` was not met
or a ledger is not what a run sent, 130 interrupted. Must never: hide an error that nobody expected; such a one keeps
its traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from ..errors import BlindtuneError

DONE, FAILED, WRONG, UNMET, INTERRUPTED = 0, 1, 2, 3, 130


class ArgumentError(BlindtuneError, ValueError):
    """Arguments that make no sense; the message names them."""


def guarded(work: Callable[[], int]) -> int:
    """Do the work; the exit code. What people can do something about is said in a line."""
    try:
        return work()
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues where it stopped", file=sys.stderr)
        return INTERRUPTED
    except (BlindtuneError, ValueError, OSError) as error:
        found = explained(error)
        if found is None:
            raise
        code, text = found
        print(f"blindtune: {text}", file=sys.stderr)
        return code


def explained(error: Exception) -> tuple[int, str] | None:
    """Exit code and words; None where this is no error that a user can mend."""
    from ..training.setting_types import SettingsError

    if isinstance(error, SettingsError):
        return WRONG, str(error)
    if isinstance(error, BlindtuneError):
        return (WRONG if isinstance(error, ValueError) else FAILED), str(error)
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return WRONG, f"there is no file {error.filename}"
    if isinstance(error, IsADirectoryError) and error.filename is not None:
        return WRONG, f"{error.filename} is a folder, not a file"
    if isinstance(error, OSError) and error.filename is not None:
        return WRONG, f"{error.filename}: {error.strerror or type(error).__name__}"
    return None
