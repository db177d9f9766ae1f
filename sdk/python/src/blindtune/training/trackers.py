"""Other people's boards as callbacks: tensorboard, mlflow, trackio, wandb.

Owns: what of a run they are given (settings, losses, scores), and the warning where that leaves the house. Must never:
give one a text, a label, a label's name or a console's output; or load one that was not named.
"""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import RunError
from ..extras import need
from .callbacks import Callback, Record

if TYPE_CHECKING:
    from .fit_result import FitResult

log = logging.getLogger("blindtune")

PROJECT = "blindtune"
AT_HOME = ("localhost", "127.0.0.1", "::1")
LOCAL_STORES = ("", "file", "sqlite")
OFFLINE = ("offline", "disabled", "dryrun")


@dataclass(frozen=True)
class TrackedRun:
    """What a board is told of a run before it begins."""

    model: str
    settings: Mapping[str, Any]
    folder: Path

    @property
    def config(self) -> dict[str, Any]:
        """Model and settings; of them nothing is secret."""
        return {"model": self.model, **self.settings}


def trackers(names: str | Sequence[str], run: TrackedRun) -> list[Callback]:
    """A callback for each name. One whose package is missing is refused, with what to install."""
    found: list[Callback] = []
    for name in [names] if isinstance(names, str) else names:
        if name not in TRACKERS:
            raise RunError(f"report_to: {name!r} is none of {', '.join(TRACKERS)}")
        found.append(TRACKERS[name](run))
    return found


def _numbers(record: Record, prefix: str) -> dict[str, float]:
    """The numbers of a record by name, without its step."""
    plain = {name: value for name, value in record.items() if name != "step" and not isinstance(value, bool)}
    return {f"{prefix}/{name}": float(value) for name, value in plain.items() if isinstance(value, int | float)}


class _Board(Callback):
    """Numbers by name and step; each kind says where they go."""

    def on_step(self, record: Record) -> None:
        """Loss, accuracy, learning rate and so on of a step."""
        self._log(_numbers(record, "train"), record["step"])

    def on_evaluation(self, record: Record) -> None:
        """The scores on the dev rows."""
        self._log(_numbers(record["scores"], "dev"), record["step"])

    def on_end(self, result: FitResult | None) -> None:
        """Close it."""
        self._close(result is not None)

    @abstractmethod
    def _log(self, numbers: dict[str, float], step: int) -> None:
        """Write these down at a step."""

    @abstractmethod
    def _close(self, whole: bool) -> None:
        """End it; `whole` says whether the run came to its end."""


class TensorBoard(_Board):
    """Event files in the run folder: `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, run: TrackedRun) -> None:
        writer = need("tensorboardX", "tensorboard", "report_to tensorboard").SummaryWriter
        self._writer = writer(str(run.folder / "tensorboard"))
        lines = [f"    {name}: {value}" for name, value in run.config.items()]
        self._writer.add_text("settings", "\n".join(lines))

    def _log(self, numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def _close(self, whole: bool) -> None:  # noqa: ARG002
        self._writer.close()


class MLflow(_Board):
    """A run of the experiment `blindtune`, where MLFLOW_TRACKING_URI says, or in MLflow's own folder."""

    def __init__(self, run: TrackedRun) -> None:
        self._mlflow = need("mlflow", "mlflow", "report_to mlflow")
        uri = str(self._mlflow.get_tracking_uri())
        if not _at_home(uri):
            _warn("mlflow", urlsplit(uri).hostname or uri.partition(":")[0])
        self._mlflow.set_experiment(PROJECT)
        self._run_id = self._mlflow.start_run(run_name=run.folder.name, nested=True).info.run_id
        self._mlflow.log_params({name: str(value) for name, value in run.config.items()})

    def _log(self, numbers: dict[str, float], step: int) -> None:
        self._mlflow.log_metrics(numbers, step=step, run_id=self._run_id)

    def _close(self, whole: bool) -> None:
        self._mlflow.end_run("FINISHED" if whole else "KILLED")


class Trackio(_Board):
    """Hugging Face's local board: `trackio show --project blindtune`."""

    def __init__(self, run: TrackedRun) -> None:
        self._trackio = need("trackio", "trackio", "report_to trackio")
        away = os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL")
        if away:
            _warn("trackio", away)
        self._trackio.init(project=PROJECT, name=run.folder.name, config=run.config, resume="allow")

    def _log(self, numbers: dict[str, float], step: int) -> None:
        self._trackio.log(numbers, step=step)

    def _close(self, whole: bool) -> None:  # noqa: ARG002
        self._trackio.finish()


class WandB(_Board):
    """Weights & Biases; with WANDB_MODE=offline in a folder here. Console, code and git are not given to it."""

    def __init__(self, run: TrackedRun) -> None:
        wandb = need("wandb", "wandb", "report_to wandb")
        if os.environ.get("WANDB_MODE", "online") not in OFFLINE:
            _warn("wandb", os.environ.get("WANDB_BASE_URL", "wandb.ai"))
        quiet = wandb.Settings(console="off", disable_git=True, disable_code=True, save_code=False)
        how: dict[str, Any] = {"dir": str(run.folder), "config": run.config, "settings": quiet}
        self._run = wandb.init(project=PROJECT, name=run.folder.name, **how)

    def _log(self, numbers: dict[str, float], step: int) -> None:
        self._run.log({**numbers, "step": step})

    def _close(self, whole: bool) -> None:
        self._run.finish(exit_code=0 if whole else 1)


TRACKERS: Mapping[str, Callable[[TrackedRun], Callback]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "trackio": Trackio,
    "wandb": WandB,
}
"""By the names that `report_to` takes."""


def _at_home(uri: str) -> bool:
    parts = urlsplit(uri)
    if uri in ("databricks", "databricks-uc", "uc"):  # they look like folders
        return False
    return parts.scheme in LOCAL_STORES or (parts.scheme in ("http", "https") and parts.hostname in AT_HOME)


def _warn(board: str, where: str) -> None:
    log.warning(
        "report_to %s: losses and scores of this run go to %s; they were computed with the labels and tell of them",
        board,
        where,
    )
