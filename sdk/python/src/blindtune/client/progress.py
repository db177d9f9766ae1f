"""A progress bar for a job that somebody else drives, out of its events.

Owns: what of an event the bar shows. Must never: ask the host anything.
"""

from __future__ import annotations

from typing import Any

from .objects import Event


class Bar:
    """Steps as the client reported them with `metrics`, and the job's status. A widget in a notebook."""

    def __init__(self, job_id: str, total: int | None, **options: Any) -> None:
        from tqdm.auto import tqdm  # its import looks for notebook widgets

        self._job_id = job_id
        self._bar: Any = tqdm(total=total, desc=job_id, unit="step", **options)

    def take(self, event: Event) -> None:
        """Show this event; those that say neither a step nor a status change nothing."""
        data = event.data if isinstance(event.data, dict) else {}
        if "status" in data:
            self._bar.set_description(f"{self._job_id} {data['status']}")
        if "step" in data:
            metrics = {str(name): value for name, value in data.items() if isinstance(value, float)}
            self._bar.set_postfix(metrics, refresh=False)
            self._bar.update(max(0, int(data["step"]) - self._bar.n))

    def close(self) -> None:
        """Leave it as it is."""
        self._bar.close()
