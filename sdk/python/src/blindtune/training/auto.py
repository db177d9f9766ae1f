"""Method auto: side first, and methods of weaker protection only where the user wants more and accepts their class.

Owns: the rows held out to compare by, the order of the candidates, and what a run folder holds of them. Must never:
send anything for a candidate whose class of protection was not accepted in words, or forget one that was tried.

    run.json    model, settings, hosts
    auto.json   the decision: a score for each candidate, and why others were not tried
    side/       the run of each candidate, a run folder of its own
    lora/
    p3eft/

Whether a candidate after side is tried follows from scores, and those from labels: that alone tells a host something.
Nobody is asked for it under accept blind, whose transcript is the same under any labels (tests/test_transcripts.py).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import audit as attacks
from ..arrays import F32, I64
from ..data import Dataset, Text
from ..errors import BlindtuneError, RunError
from .auto_audit import audit_of_all
from .auto_decision import DECISION, SCORES, Candidate, Decision, standard_error, why_it_cannot
from .auto_rules import ORDER, candidates
from .callbacks import Callbacks
from .chosen import drop_stale
from .export import Exported
from .factory import check_dev
from .fit_result import FitResult
from .host_group import HostLink
from .protection import protection
from .run import About, check_same
from .run_folder import RunFolder
from .settings import Settings
from .trainer import Tuner

if TYPE_CHECKING:
    from ..private.predicting import Predicting

log = logging.getLogger("blindtune")

LEAST_HELD_OUT = 20
"""Rows that are held out at least; as many more are needed to train on."""


class AutoTuner(Tuner, method="auto"):
    """A `Tuner` with `method="auto"`: side, and where it stays below `wanted` what `accept` allows beside it.

    `decision` says what was compared. Predictions, evaluation, `save` and `export` are those of the candidate that was
    chosen; `audit` covers everything that was sent. `tokenizer` is side's.
    """

    _decision: Decision | None = None

    def __init__(self, *arguments: Any, tokenizer: str | Path | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.tokenizer = tokenizer
        self._tuners: dict[str, Tuner] = {}

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """Each candidate records what its hosts see."""
        with self.folder.locked():
            yield

    def _fit(self, data: Dataset, dev: Dataset | None, callbacks: Callbacks) -> FitResult:
        """Train side, measure it on rows held out, and go on as far as `wanted` and `accept` say.

        `dev` is evaluated on at the end alone.
        """
        if callbacks.given:
            raise RunError("method auto trains several runs: callbacks and report_to are for one of the other methods")
        check_dev(self.settings, data, dev)
        train, held = self._parted(data)
        self._begin(data)
        known = {one.method: one for one in self._read().tried}
        found = Decision(SCORES[data.task], len(held), self.settings.wanted)
        for method, settings in candidates(self.settings).items():
            if why_it_cannot(method, data.task) or (found.reached and not self._begun(method)):
                continue
            tuner = self._tuners[method] = self._candidate(method, settings)
            fit = tuner.fit(train)
            score = known[method] if method in known else _measured(tuner, held, fit)
            found = found.also(score)
            log.info("auto: %s", score.sentence(found.score_name))
            self.folder.write_json(DECISION, found.to_dict())
        self._decision = found.over(self.settings, data.task)
        self.folder.write_json(DECISION, self._decision.to_dict())
        for tuner in self._tuners.values():
            drop_stale(tuner.folder, tuner._trained() if tuner is self.chosen else None)
        result = self._result_of_all()
        return result if dev is None else replace(result, dev_scores=self.evaluate(dev))

    @property
    def decision(self) -> Decision:
        """What was compared, and which candidate is the result."""
        if self._decision is None:
            raise RunError("not trained yet: call fit first, or load a run folder")
        return self._decision

    @property
    def chosen(self) -> Tuner:
        """The candidate that is the result."""
        return self._tuners[self.decision.chosen.method]

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self.chosen.label_names

    @property
    def links(self) -> Sequence[HostLink]:
        """The jobs of all candidates."""
        return [link for tuner in self._tuners.values() for link in tuner.links]

    # Look.

    def activations(self, texts: Sequence[Text], base: bool = False) -> tuple[list[F32], F32 | None]:
        """Those of the candidate that was chosen."""
        return self.chosen.activations(texts, base)

    def audit(
        self,
        data: Dataset,
        trained_on: Dataset | None = None,
        quick: bool = False,
        effort: attacks.Effort | None = None,
    ) -> attacks.LeakReport:
        """Attack all that was sent, for candidates that lost as well: of each attack the worst reading."""
        reports = {
            one.method: self._tuners[one.method].audit(data, trained_on, quick, effort) for one in self.decision.tried
        }
        return audit_of_all(reports, self._fixed_gates())

    # Keep.

    def complete(self) -> list[str | None]:
        """Finish the jobs of the candidate that was chosen, and cancel those of the others."""
        for tuner in self._tuners.values():
            for link in tuner.links if tuner is not self.chosen else ():
                with contextlib.suppress(BlindtuneError):
                    link.client.jobs.cancel(link.job_id)
        return self.chosen.complete()

    def close(self) -> None:
        """Close those of all candidates."""
        for tuner in self._tuners.values():
            tuner.close()
        super().close()

    def save(self, folder: str | Path) -> None:
        """Copy what is needed to predict and to continue into another folder, with what was decided."""
        target, tried = RunFolder(folder), [one.method for one in self.decision.tried]
        for method in tried:
            self._tuners[method].save(target.path / method)
        for name in ("secret", DECISION, "run.json"):
            target.write(name, (self.folder.path / name).read_bytes())

    def export(self, folder: str | Path, passphrase: str | None = None) -> Path:
        """The export of the candidate that was chosen: a run of its method."""
        return self.chosen.export(folder, passphrase)

    def summary(self) -> dict[str, Any]:
        """As `Tuner.summary` of the candidate that was chosen, with all candidates; bytes are those of all fits."""
        found, fits = self.decision, [one.fit or {} for one in self.decision.tried]
        mine = {
            "method": self.settings.method,
            "protection": found.protection,
            "bytes_up": sum(fit["bytes_up"] for fit in fits),
            "bytes_down": sum(fit["bytes_down"] for fit in fits),
            "decision": found.to_dict() | {"sentences": found.sentences()},
        }
        return self.chosen.summary() | mine

    def _restore(self) -> None:
        """Take up what the run folder holds."""
        found = self._read()
        if not found.finished:
            raise RunError(f"{self.folder.path}: no finished run here; call fit again")
        how: dict[str, Any] = {"progress": self.progress, "features": self.features}
        for one in found.tried:
            self._tuners[one.method] = Tuner.load(self.folder.path / one.method, self._hosts_of(one.method), **how)
        self._decision = found

    def _adopt(self, exported: Exported) -> None:
        raise RunError(f"{exported.folder}: an export is of the method that was chosen, not of auto")

    # Parts.

    def _trained(self) -> Predicting[Any]:
        return self.chosen._trained()

    @property
    def _own_folder(self) -> RunFolder:
        return self.chosen.folder

    def _inputs(self, texts: Sequence[Text]) -> Any:
        return self.chosen._inputs(texts)

    def _parted(self, data: Dataset) -> tuple[Dataset, Dataset]:
        """Rows to train on and rows to compare by: the same for all candidates, drawn from the run's secret."""
        least = 2 * LEAST_HELD_OUT
        if len(data) < least:
            raise RunError(f"method auto holds rows out to decide by: it needs {least} rows or more, not {len(data)}")
        count = min(len(data) // 2, max(LEAST_HELD_OUT, round(self.settings.held_out * len(data))))
        order = self.folder.secret().permutation(len(data), "auto", "held out")
        return data.take(order[count:]), data.take(order[:count])

    def _begin(self, data: Dataset) -> None:
        """Write down what is trained, and refuse a folder in which something else was begun."""
        settings, known = self.settings, self.folder.about()
        about = About(self.model, settings, data.label_names, data.sha256())
        if known is not None:
            was = replace(settings, held_out=known["settings"]["held_out"])
            check_same(About(known["model"], was, about.label_names, known["data_sha256"]), about, self.folder.path)
        for method in ORDER:
            if self._begun(method) and method not in candidates(settings):
                seen = f"{method} was begun here, and hosts have seen what was sent for it"
                advice = f"accept {ORDER[method]}, or use another folder"
                raise RunError(f"{self.folder.path}: {seen}; {advice}")
        self._fix_gates()
        body: dict[str, Any] = {"model": about.model, "settings": settings.to_dict()}
        body |= {"hosts": [{"url": client.base_url} for client in self.clients]}
        self.folder.write_about(body | {"data_sha256": about.data_sha256})

    def _begun(self, method: str) -> bool:
        return (self.folder.path / method).is_dir()

    def _read(self) -> Decision:
        """What the folder holds of the decision."""
        body = self.folder.read_json(DECISION)
        return Decision("", 0, None) if body is None else Decision.from_dict(body)

    def _candidate(self, method: str, settings: Settings) -> Tuner:
        """A run in a folder of its own, under a secret that follows from this run's."""
        folder = RunFolder(self.folder.path / method)
        if not (folder.path / "secret").exists():
            own = hashlib.sha256(b"auto/" + method.encode() + b"/" + self.folder.secret().secret)
            folder.write("secret", own.hexdigest().encode())
        how: dict[str, Any] = {"run": folder.path, "progress": self.progress, "features": self.features}
        how |= {"tokenizer": self.tokenizer} if method == "side" else {}
        tuner = Tuner(self.model, self._hosts_of(method), **how, **settings.to_dict())
        tuner.gates = self.gates
        return tuner

    def _hosts_of(self, method: str) -> list[Any]:
        """P3EFT divides its gradients among all; the others have nothing to divide."""
        return list(self.clients if method == "p3eft" else self.clients[:1])

    def _result_of_all(self) -> FitResult:
        """The chosen candidate's; time and bytes are those of all."""
        fits = [FitResult(**(one.fit or {})) for one in self.decision.tried]
        return replace(
            FitResult(**(self.decision.chosen.fit or {})),
            seconds=sum(fit.seconds for fit in fits),
            bytes_up=sum(fit.bytes_up for fit in fits),
            bytes_down=sum(fit.bytes_down for fit in fits),
            retries=sum(fit.retries for fit in fits),
            history=tuple(self.chosen.folder.steps()),
            dev=tuple(self.chosen.folder.dev()),
        )


def _measured(tuner: Tuner, held: Dataset, fit: FitResult) -> Candidate:
    """What a candidate scores on the rows held out."""
    name = SCORES[held.task]
    inputs = tuner._inputs(held.texts)
    home = tuner._trained().checked(held)

    def score_of(rows: I64) -> float:
        return home.report(_taken(inputs, rows), held.take(rows)).scores.get(name, 0.0)

    score = score_of(np.arange(len(held)))
    error = standard_error(name, score, len(held), score_of)
    settings = tuner.settings
    return Candidate(settings.method, protection(settings), score, error, fit.to_dict())


def _taken(inputs: Any, rows: I64) -> Any:
    """Some rows of what a private model reads: activations of each set, or taps."""
    return [h[rows] for h in inputs] if isinstance(inputs, list) else inputs.take(rows)
