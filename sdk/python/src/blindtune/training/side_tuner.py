"""Method side: the host gives the bare backbone's tokens, once, and everything that learns from a label stays at home.

Owns: the order of the work (ask, train at home, keep), and what a run folder holds of it. Must never: let a label, or
anything that follows from one, decide what is asked of a host, in which order or when: the requests of two runs that
differ in their labels alone are the same bytes (tests/test_transcripts.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from .. import audit as attacks
from ..arrays import F32, encode, sha256
from ..data import Dataset, Text
from ..data.alignment import Aligner, PlacedTaps, tokenizer_of
from ..data.taps import Taps
from ..errors import RunError
from ..features import FeatureSource, FeatureStore, Transform, download, download_by_job, picks_of
from . import chosen
from .callbacks import Callbacks
from .export import Exported, write_private_export
from .factory import DevInputs, SideData, check_dev, check_side, fit_side_home, restored_side_home
from .fit_result import FitResult
from .host_group import HostLink
from .protection import protection
from .run import About, check_same, secret_order
from .run_audit import Rows, audit_blind
from .run_folder import RunFolder
from .settings import Settings
from .trainer import Tuner

if TYPE_CHECKING:
    from ..private.predicting import Predicting
    from ..private.side import Epoch, Evaluated, SideHome, TaggerHome

ACCURACY_ROWS = 1000
"""Rows that the accuracy of a fit is computed on."""
ANEW = "use another folder: what the host gave is kept at home for all runs, and is not asked for again"
TOKENIZER = "tokenizer.json"
TRANSFORM = "transform.safetensors"
"""What a features job did to hidden states; as label-free as they are."""


class SideTuner(Tuner, method="side"):
    """A `Tuner` with `method="side"`. Blind: the host learns what the texts tell anybody.

    To find spans (data of task tokens) it needs `tokenizer`, the backbone's `tokenizer.json` or the folder that has it;
    the run folder keeps a copy.
    """

    _about: About | None = None
    _home: SideHome | TaggerHome | None = None
    _aligner: Aligner | None = None
    _transform: Transform | None = None

    def __init__(self, *arguments: Any, tokenizer: str | Path | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.tokenizer = tokenizer

    def _fit(self, data: Dataset, dev: Dataset | None, callbacks: Callbacks) -> FitResult:
        """Ask for the tokens of `data`, in a secret order, and train at home. A fit that was done is not done again.

        Those of `dev` are asked for before the training too, whatever is learned then.
        """
        started, before = time.monotonic(), self._traffic()
        check_dev(self.settings, data, dev)
        mine = data.take(self.folder.secret().permutation(len(data), "rows"))
        check_side(self.settings, mine)
        about = About(self.model, self.settings, mine.label_names, data.sha256())
        known = self.folder.about()
        if known is not None:
            check_same(_about_of(known), about, self.folder.path, advice=ANEW)
        self._about = about
        self._fix_gates()
        self._find_tokenizer(data.task == "tokens")
        self._write_about()
        self._read_transform(self.folder.path)
        taps = self._inputs(mine.texts, self.settings.fetch == "job")
        watched = None if dev is None else (self._inputs(dev.texts), dev)
        saved = self.folder.load_state()
        if saved is None:
            last = self._train(taps, mine, watched, callbacks)
            self.folder.save_state(self._trained().parameters, self._facts(last, taps, mine))
            self._write_about()
        else:
            self._restore()
        up, down, retries = (now - then for now, then in zip(self._traffic(), before, strict=True))
        facts = self._saved_facts()
        return FitResult(
            steps=int(facts["steps"]),
            loss=float(facts["loss"]),
            accuracy=float(facts["accuracy"]),
            seconds=time.monotonic() - started,
            bytes_up=up,
            bytes_down=down,
            retries=retries,
            adapter_sha256=sha256(list(self._trained().parameters.values())),
            norm_ratio=1.0,
            truncated=None if self.settings.fetch == "job" else 0,  # calls are refused where a text is too long
            dev_scores=None if watched is None else self._scores(*watched),
            history=tuple(self.folder.steps()),
            dev=tuple(self.folder.dev()),
        )

    def _scores(self, inputs: Taps | PlacedTaps, data: Dataset) -> dict[str, float]:
        home: Predicting[Any] = self._trained()
        return home.scores(inputs, data)

    def _train(
        self, taps: Taps | PlacedTaps, mine: Dataset, dev: tuple[Taps | PlacedTaps, Dataset] | None, told: Callbacks
    ) -> list[Epoch]:
        """Train every network; the last epoch of each."""
        last: dict[int, Epoch] = {}
        epochs = self.settings.whole_epochs
        total = epochs * self.settings.networks
        with tqdm(total=total, disable=None if self.progress else True, unit="epoch", desc="at home") as bar:

            def after(network: int, epoch: Epoch) -> None:
                last[network] = epoch
                record: dict[str, Any] = {
                    "step": network * epochs + epoch.epoch,
                    "network": network,
                    "epoch": epoch.epoch,
                }
                record |= {"loss": epoch.loss, "held_out_loss": epoch.held_out}
                self.folder.record_step(record)
                told.on_step(record)
                bar.set_postfix_str(f"loss {epoch.loss:.3f}", refresh=False)
                bar.update()

            def evaluated(network: int, found: Evaluated) -> None:
                where: dict[str, Any] = {
                    "step": network * found.steps + found.step,
                    "network": network,
                    "dev_sha256": dev_sha256,
                }
                where |= {"epoch": epochs * found.step / found.steps}
                record: dict[str, Any] = where | {
                    "scores": found.scores,
                    "metric": self.settings.metric,
                    "best": found.best,
                }
                self.folder.record_evaluation(record)
                told.on_evaluation(record)

            dev_sha256 = None if dev is None else dev[1].sha256()
            watching = None if dev is None else DevInputs(*dev, evaluated)
            self._home = fit_side_home(self.settings, SideData(taps, mine, watching), self.folder.secret(), after)
        return list(last.values())

    def _facts(self, last: Sequence[Epoch], taps: Taps | PlacedTaps, mine: Dataset) -> dict[str, Any]:
        some = np.arange(min(len(mine), ACCURACY_ROWS))
        home: Predicting[Any] = self._trained()
        scores = home.scores(taps.take(some), mine.take(some))
        losses = [epoch.loss for epoch in last]
        if not np.isfinite(losses).all():
            raise RunError(f"the loss became {losses}; lower lr")
        steps = sum(epoch.steps for epoch in last)
        return {"steps": steps, "loss": float(np.mean(losses)), "accuracy": scores["accuracy"]}

    @property
    def links(self) -> Sequence[HostLink]:
        """None: the host keeps nothing of a run."""
        return ()

    # Look.

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self._ready_about().label_names

    def activations(self, texts: Sequence[Text], base: bool = False) -> tuple[list[F32], F32 | None]:
        """The mean of each text's tokens on the last level, [N, H]: a summary of what the host computed.

        There are no adapters.
        """
        taps = self._taps(texts)
        level = taps.levels[-1]
        pairs = zip(taps.offsets[:-1], taps.offsets[1:], strict=True)
        means = np.stack([level[first:end].mean(axis=0, dtype=np.float32) for first, end in pairs])
        if self._transform is not None:
            means = self._transform.in_units_of_the_last_level(means)
        return [means], means if base else None

    def audit(
        self,
        data: Dataset,
        trained_on: Dataset | None = None,
        quick: bool = False,
        effort: attacks.Effort | None = None,
    ) -> attacks.LeakReport:
        """Attack what the host computed: what it finds, anybody finds who has the texts and the backbone."""
        effort = effort or (attacks.Effort.quick() if quick else attacks.Effort())
        with threadpool_limits(limits=1):
            trained = None if trained_on is None else self._rows(trained_on.sided_as(data))
            report = audit_blind(self._rows(data), trained, self._fixed_gates(), effort)
        return replace(report, exposure=attacks.exposure(self.settings.method, 1, 1))

    def _rows(self, data: Dataset) -> Rows:
        some = data.take(attacks.sample_rows(len(data)))
        return Rows(some, attacks.Tensors(self.activations(some.texts)[0], None, some.labels))

    # Keep.

    def complete(self) -> list[str | None]:
        """Nothing to finish: there is no job."""
        return [None for _ in self.clients]

    def save(self, folder: str | Path) -> None:
        """Copy what is needed to predict into another folder."""
        target = RunFolder(folder)
        self._trained()
        for name in ("secret", "state.safetensors", "run.json"):
            target.write(name, (self.folder.path / name).read_bytes())
        for name, content in self._known().items():
            target.write(name, content)
        chosen.copy(self.folder, target)

    def export(self, folder: str | Path, passphrase: str | None = None) -> Path:
        """Write the networks, encrypted where there is a passphrase. There are no adapters for PEFT."""
        about, home = self._ready_about(), self._trained()
        private = {"label_names": list(about.label_names)} | home.description()
        private |= chosen.exported(self.folder, home)
        content = encode(home.parameters, {"private": json.dumps(private)})
        description = {"model": about.model, "sets": 0, "settings": about.settings.to_dict()}
        return write_private_export(folder, description, content, passphrase, self._known())

    def _known(self) -> dict[str, bytes]:
        """More that a model needs to predict, and that hosts knew anyway, by the names of its files."""
        found = {} if self._aligner is None else {TOKENIZER: self._aligner.content}
        return found if self._transform is None else found | {TRANSFORM: self._transform.to_bytes()}

    def summary(self) -> dict[str, Any]:
        """As `Tuner.summary`; there are no jobs, and nothing is obfuscated."""
        facts = self._saved_facts()
        return {
            "method": self.settings.method,
            "protection": protection(self.settings),
            "model": self.model,
            "hosts": [client.base_url for client in self.clients],
            "jobs": [],
            "steps": facts["steps"],
            "bytes_up": self.clients[0].traffic.up,
            "bytes_down": self.clients[0].traffic.down,
            "adapter_sha256": sha256(list(self._trained().parameters.values())),
        }

    def _restore(self) -> None:
        """Take up what the run folder holds."""
        body, saved = self.folder.about(), self.folder.load_state()
        if body is None or saved is None:
            raise RunError(f"{self.folder.path}: no finished run here; call fit again")
        self._about = _about_of(body)
        self._home = restored_side_home(len(self._about.label_names), body, saved[0])
        self._read_transform(self.folder.path)
        self._find_tokenizer(self.task == "tokens")

    def _adopt(self, exported: Exported) -> None:
        """Take up what `export` wrote."""
        names = tuple(exported.private["label_names"])
        self._about = About(self.model, self.settings, names, "")
        self._home = restored_side_home(len(names), exported.private, exported.arrays)
        self._read_transform(exported.folder)
        self.tokenizer = exported.folder if self.task == "tokens" else None
        self._find_tokenizer(self.task == "tokens")

    # Parts.

    def _find_tokenizer(self, needed: bool) -> None:
        """The run folder's, or what the user gave, which the run folder keeps from then on."""
        if needed and self.settings.max_length == "chunk":
            raise RunError("max_length chunk: spans are found in whole texts; shorten the long ones")
        if not needed:
            if self.tokenizer is not None:
                raise RunError("tokenizer: only data of task tokens has a use for it")
            return
        kept = self.folder.path / TOKENIZER
        self._aligner = tokenizer_of(kept if kept.exists() else self.tokenizer)
        if not kept.exists():
            self.folder.write(TOKENIZER, self._aligner.content)

    def _read_transform(self, folder: Path) -> None:
        """What a folder has of the transform that features are to come through; the features of one are no other's."""
        file = folder / TRANSFORM
        if self.source.of_job and file.exists():
            self._transform = Transform.read(file.read_bytes(), str(file))

    def _inputs(self, texts: Sequence[Text], by_job: bool = False) -> Taps | PlacedTaps:
        """What the networks read of these texts."""
        taps = self._taps(texts, by_job)
        return taps if self._aligner is None else self._aligner.place(texts, taps)

    def _taps(self, texts: Sequence[Text], by_job: bool = False) -> Taps:
        """The hidden states of these texts, asked for in a secret order where the store does not have them."""
        if not len(texts):
            raise RunError("no texts: pass at least one")
        order = secret_order(texts, self.folder.secret())
        fetch = download_by_job if by_job else download
        source = fetch(self.source, [texts[int(row)] for row in order], self._store, self.progress)
        if source.transform is not self._transform and source.transform is not None:
            self.folder.write(TRANSFORM, source.transform.to_bytes())
            self._transform = source.transform
        return self._store.read([source.key(text) for text in texts])

    @cached_property
    def _store(self) -> FeatureStore:
        """One for all calls: it checks the hash of each of its files once."""
        return FeatureStore.of(self.features)

    @property
    def source(self) -> FeatureSource:
        """What is asked of the host."""
        settings = self.settings
        return FeatureSource(
            self.clients[0],
            self.model,
            settings.levels,
            settings.eval_batch_size,
            dtype=settings.feature_dtype,
            project=settings.projection,
            transform=self._transform,
            tokens=self._picks if settings.side == "pooled" else "all",
            max_length=settings.max_length or "error",
        )

    @cached_property
    def _picks(self) -> tuple[str, ...]:
        return picks_of(self.clients[0], self.model)

    def _traffic(self) -> tuple[int, int, int]:
        traffic = self.clients[0].traffic
        return traffic.up, traffic.down, traffic.retries

    def _write_about(self) -> None:
        about = self._ready_about()
        body: dict[str, Any] = {"model": about.model, "settings": about.settings.to_dict()}
        body |= {"hosts": [{"url": client.base_url} for client in self.clients]}
        body |= {"label_names": list(about.label_names), "data_sha256": about.data_sha256}
        self.folder.write_about(body | (self._home.description() if self._home is not None else {}))

    def _saved_facts(self) -> dict[str, Any]:
        saved = self.folder.load_state()
        if saved is None:
            raise RunError("not trained yet: call fit first, or load a run folder")
        return saved[1]

    def _ready_about(self) -> About:
        if self._about is None:
            raise RunError("not trained yet: call fit first, or load a run folder")
        return self._about

    def _trained(self) -> SideHome | TaggerHome:
        if self._home is None:
            raise RunError("not trained yet: call fit first, or load a run folder")
        return self._home


def _about_of(body: dict[str, Any]) -> About:
    settings = Settings.from_dict(body["settings"]).resolve(1)
    return About(body["model"], settings, tuple(body["label_names"]), body["data_sha256"])
