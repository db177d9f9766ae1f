"""Training driven from the label holder's side: one object per run.

Owns: what users do with a run: train, look, keep. The loop itself is in stepping.py.
Must never: put anything but texts, row numbers, adapters and obfuscated gradients into a request.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits
from typing_extensions import Self, Unpack

from .. import audit as attacks
from ..arrays import F32, decode, encode, sha256
from ..client import Client, connect
from ..data import Batches, Dataset, Text, text_lengths
from ..errors import RunError
from . import chosen
from .callbacks import Callback, Callbacks
from .deciding import Deciding
from .export import Exported, export, read_export, restore_export
from .factory import check_dev, draw_labels, make_obfuscation, make_selection, proven
from .fit_result import FitResult, result_of
from .host_group import HostLink
from .ledger_check import LedgerCheck, verify_ledgers
from .long_texts import LongTexts
from .packing import packed, unpacked
from .protection import protection
from .run import FREE_TO_CHANGE, LONGER, About, Plan, Run, check_same, restore_run, secret_order, start_run
from .run_audit import Rows, Subject, audit_run, recorded
from .run_folder import RunFolder
from .settings import Settings
from .settings_dict import TunerOptions
from .stepping import DevRows, Stepping
from .trackers import TrackedRun, trackers
from .verdict import Judgement

if TYPE_CHECKING:
    from ..features import FeatureStore
    from ..private.evaluation import EvaluationReport
    from ..private.obfuscation import Obfuscation
    from ..private.predicting import Predicting

# Fits and audits limit BLAS and OpenMP to one thread: what is computed here is small, and idle threads that spin
# for more work slow it down severalfold when the machine is busy, as it is when the host runs beside it.

GATES = "gates.json"
MODULES = {"side": ".side_tuner", "auto": ".auto"}
"""Where the class of a method of its own is; loaded when it is asked for."""


class Tuner(Deciding):
    """Fine-tunes `model` on one or more hosts.

    Methods: p3eft (arXiv 2412.16669 and what we added), lora (nothing hidden), frozen (a head on the bare backbone),
    side (networks at home on the bare backbone's tokens: `side_tuner.py`), auto (side, and more where you want and
    accept it: `auto.py`), dc and pslf (what others proposed).

    `hosts` are URLs or `Client`s; with several, every gradient is split so that each host gets one share, or the steps
    or the adapter sets are divided among them (`placement`). `run` names a folder to continue from; without one nothing
    is kept. `features` is the folder or store in which method side keeps what hosts computed of texts, for all runs;
    without one it is `BLINDTUNE_FEATURES`, or in the user's cache. The attribute `gates` is what audits hold the
    run to; the first fit fixes it. Other keyword arguments are those of `Settings`.
    """

    _kinds: ClassVar[dict[str, type[Tuner]]] = {}
    """The classes of methods that do not train with the host step by step, by method."""

    def __init_subclass__(cls, *, method: str) -> None:
        Tuner._kinds[method] = cls

    def __new__(cls, *_arguments: Any, method: str = "p3eft", **_settings: Any) -> Tuner:
        """A `Tuner` of the method's own class, where it has one."""
        if cls is not Tuner or method not in MODULES:
            return super().__new__(cls)
        import_module(MODULES[method], __package__)
        return super().__new__(Tuner._kinds[method])

    def __init__(
        self,
        model: str,
        hosts: Sequence[str | Client] = (),
        *,
        api_keys: Sequence[str] | str | None = None,
        run: str | Path | None = None,
        progress: bool = True,
        features: str | Path | FeatureStore | None = None,
        **settings: Unpack[TunerOptions],
    ) -> None:
        self.model = model
        self.clients = connect(hosts, api_keys)
        self.settings = Settings.from_dict(settings).resolve(len(self.clients))
        self.folder = RunFolder(run)
        self.recorder = attacks.Recorder(store=self.folder)
        self.update_recorder = attacks.UpdateRecorder(store=RunFolder(self.folder.path / "updates"))
        self.gates = attacks.Gates()
        self.progress = progress
        self.features = features
        self._run: Run | None = None
        self._long = LongTexts(self.clients[0], model, self.settings.max_length or "truncate")

    @classmethod
    def load(
        cls,
        folder: str | Path,
        hosts: Sequence[str | Client] = (),
        *,
        api_keys: Sequence[str] | str | None = None,
        progress: bool = True,
        features: str | Path | FeatureStore | None = None,
    ) -> Tuner:
        """Take up a run folder. Without `hosts` those of the run are used; keys are never stored."""
        about = RunFolder(folder).about() if Path(folder).is_dir() else None
        if about is None:
            raise RunError(f"{folder}: no run here (run.json is missing)")
        where = list(hosts) or [host["url"] for host in about["hosts"]]
        how: dict[str, Any] = {"api_keys": api_keys, "progress": progress, "features": features}
        tuner = cls(about["model"], where, run=folder, **how, **about["settings"])
        tuner._restore()
        return tuner

    def _restore(self) -> None:
        """Take up what the run folder holds, to predict with: of a run that was evaluated meanwhile, its best state."""
        self._run = restore_run(self.folder, self.clients)
        self._run.serve_best()

    def _adopt(self, exported: Exported) -> None:
        """Take up what `export` wrote, on the one host there is."""
        self._run = restore_export(exported, self.clients[0], self.settings, self.folder)

    @cached_property
    def obfuscation(self) -> Obfuscation:
        """How gradients travel."""
        return make_obfuscation(self.settings)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the columns of `predict_proba`."""
        return self._ready().about.label_names

    @property
    def task(self) -> str:
        """What the run learns, as `read_dataset` has it."""
        return self._trained().task.kind

    @property
    def links(self) -> Sequence[HostLink]:
        """The run's jobs, one on each host; none where a method needs none."""
        return self._ready().group.links

    # Train.

    def fit(
        self,
        data: Dataset,
        dev: Dataset | None = None,
        *,
        callbacks: Sequence[Callback] = (),
        report_to: str | Sequence[str] = (),
    ) -> FitResult:
        """Train on `data`, from where the run folder stands, which no other process trains in meanwhile.

        Texts go to the hosts, in a secret order; labels do not. More `steps` or `epochs` than before train on; when
        interrupted, the state of the last finished step is saved.

        `dev` are rows to evaluate on, computed here: at the end, and with `eval_every` while training. The state that
        is best by `metric` is then the one that predicts, and `patience` ends the training. **What a host sees of
        that:** which state is left on it, and when the steps end, follow from the labels of `dev`, as with any early
        stopping of a method that sends updates; of methods side and frozen it sees neither, for their work at home is
        done to its end.

        `callbacks` are told of steps and evaluations; one that fails ends the run as Ctrl-C does. `report_to` names
        trackers: tensorboard, mlflow, trackio, wandb.
        """
        told = Callbacks([*callbacks, *self._trackers(report_to)])
        with self._working(), told.told_of_a_failure():
            result = self._fit(data, dev, told)
            chosen.drop_stale(self._own_folder, self._trained())
        told.on_end(result)
        return result

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Inside, the folder is this process's, and what the hosts see is recorded."""
        recording = recorded(self.clients, self.recorder, self.update_recorder)
        with threadpool_limits(limits=1), self.folder.locked(), recording:
            yield

    def _trackers(self, names: str | Sequence[str]) -> list[Callback]:
        return trackers(names, TrackedRun(self.model, self.settings.to_dict(), self.folder.path))

    def _fit(self, data: Dataset, dev: Dataset | None, callbacks: Callbacks) -> FitResult:
        started = time.monotonic()
        check_dev(self.settings, data, dev)
        mine = data.take(self.folder.secret().permutation(len(data), "rows"))
        self._fix_gates()
        batches = Batches(text_lengths(mine.texts), min(self.settings.rows_per_batch, len(mine)), self.settings.seed)
        self._long.check(mine.texts)
        steps = Plan.of(self.settings, batches.per_epoch).steps
        run = self._open(mine, data.sha256(), batches.per_epoch)
        self.folder.save_labels(mine.labels)
        labels = draw_labels(mine, self.settings, run.home.task, run.secret)
        unfinished = run.step < steps
        frozen = self._frozen_activations(mine, batches, steps) if run.frozen and unfinished else None
        rows = None if dev is None else self._dev_rows(dev, run.frozen and unfinished)
        Stepping(run, labels, batches.rows, frozen, rows, callbacks).go(self.progress)
        result = result_of(run, self.folder.steps(), time.monotonic() - started)
        self._long.after_training(result.truncated, len(mine))
        return result if rows is None else replace(result, dev_scores=rows.final)

    def _dev_rows(self, dev: Dataset, ask_now: bool) -> DevRows:
        """The rows to evaluate on; of a blind method their texts are asked for now, whatever is learned later."""
        home, early = self._trained(), self._inputs(dev.texts) if ask_now else None

        def scores() -> dict[str, float]:
            return home.scores(self._inputs(dev.texts) if early is None else early, dev)

        return DevRows(dev.sha256(), scores, make_selection(self.settings))

    def complete(self) -> list[str | None]:
        """Leave the final adapters on every host and finish the jobs.

        The names of the fine-tuned models, host by host.
        """
        with self.folder.locked():
            return self._ready().complete()

    def close(self) -> None:
        """Close jobs that were opened to look at a finished run, and let go of its folder. Asking on opens them again.

        A `with` block does it, and so does the end of the process.
        """
        if self._run is not None:
            self._run.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """A trained one as its run's files and its hosts' addresses; a copy takes its keys from the environment."""
        return unpacked, (packed(self.save), self.clients, self.progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _where: object) -> None:
        self.close()

    # Look.

    def evaluate(self, data: Dataset) -> dict[str, float]:
        """The scores of `report` by name; accuracy and loss are among them."""
        return self.report(data).scores

    def report(self, data: Dataset) -> EvaluationReport:
        """How good the run is on `data`, computed here; only its texts travel. `print` it, or keep `to_dict()`."""
        return self._deciding().checked(data).report(self._inputs(data.texts), data)

    def predict(self, texts: Sequence[Text]) -> list[Any]:
        """The label name of each text; of several labels at once a list of names; of tokens a list of `Span`s."""
        return self._deciding().with_answers().answers(self._inputs(texts), self.label_names)

    def predict_proba(self, texts: Sequence[Text]) -> F32:
        """Probabilities [N, C], columns in the order of `label_names`.

        Those of a row add up to one, but not where a row may have several labels.
        """
        return self._calibrated().with_probabilities().probabilities(self._inputs(texts))

    def predict_with_proba(self, texts: Sequence[Text]) -> tuple[list[Any], F32]:
        """What `predict` and `predict_proba` give, of one reading of the texts instead of two."""
        deciding, calibrated = self._deciding().with_answers(), self._calibrated().with_probabilities()
        inputs = self._inputs(texts)
        return deciding.answers(inputs, self.label_names), calibrated.probabilities(inputs)

    def predict_values(self, texts: Sequence[Text]) -> F32:
        """Predicted values [N] of a regression."""
        return self._trained().with_values().values(self._inputs(texts))

    def activations(self, texts: Sequence[Text], base: bool = False) -> tuple[list[F32], F32 | None]:
        """h_i [N, H] for every set, and h_base if asked for, without dropout, from the hosts that run them.

        The frozen method has no adapters: its one h is the bare backbone's.
        """
        run = self._ready()
        order = secret_order(texts, run.secret)
        ordered = [texts[int(row)] for row in order]
        found = self._long.watched(run.group, ordered, lambda: run.evaluate(ordered, base or run.frozen))
        back = np.argsort(order)
        names = ["h.base"] if run.frozen else [f"h.{i}" for i in range(self.settings.sets)]
        return [found[name][back] for name in names], found["h.base"][back] if base else None

    def audit(
        self,
        data: Dataset,
        trained_on: Dataset | None = None,
        quick: bool = False,
        effort: attacks.Effort | None = None,
    ) -> attacks.LeakReport:
        """Attack what the hosts saw.

        Activations of `data` under the final adapters, the gradients of the last steps and the first or last update as
        recorded from the wire, and what a host would be sent that cheats.

        With `trained_on`, `excess` tells how much more the same attacks find on rows that were trained on. `quick`
        leaves out what takes long: independent components, recombination, probes and intervals. `effort` says it in
        detail, and wins; `Effort.full()` takes minutes.
        """
        effort = effort or (attacks.Effort.quick() if quick else attacks.Effort())
        with threadpool_limits(limits=1):
            trained = None if trained_on is None else self._rows(trained_on)
            subject = Subject(
                self._ready(), self.recorder.seen(), self.update_recorder, self.folder.labels(), self._fixed_gates()
            )
            report = audit_run(subject, self._rows(data), trained, effort)
        return replace(report, exposure=self._exposure(data.classes))

    def verdict(self, leak: attacks.LeakReport, max_leak: float | None = None) -> Judgement:
        """Whether the run keeps its labels well enough, by what `audit` found: `print` it for a security officer.

        `max_leak` is the largest leak that is accepted, by default the run's.
        """
        return Judgement.of(self.summary() | {"leak": leak.to_dict()}, self.settings, max_leak)

    def verify_ledgers(self) -> LedgerCheck:
        """Compare, call by call, what the run recorded as sent with what each host's ledger lists, by SHA-256.

        `print` it; `agrees` says whether all match. What cannot be compared is named, and no match.
        """
        return verify_ledgers(self.folder, self.clients)

    # Keep.

    def save(self, folder: str | Path) -> None:
        """Copy what is needed to predict and to continue into another folder."""
        target = RunFolder(folder)
        self._ready().save()
        for name in ("secret", "state.safetensors", "run.json"):
            target.write(name, (self.folder.path / name).read_bytes())
        chosen.copy(self.folder, target)

    def export(self, folder: str | Path, passphrase: str | None = None) -> Path:
        """Write adapters that PEFT loads, and the private rest, encrypted where there is a passphrase: export.py."""
        return export(self._ready(), folder, passphrase)

    def summary(self) -> dict[str, Any]:
        """Method, hosts, and sums over all recorded steps, for the report."""
        run, steps = self._ready(), self.folder.steps()
        return {
            "method": self.settings.method,
            "protection": protection(self.settings),
            "model": self.model,
            "hosts": [link.client.base_url for link in run.group.links],
            "jobs": [link.job_id for link in run.group.links],
            "steps": run.step,
            "best_step": None if run.best is None else run.best.step,
            "obfuscation": asdict(self.obfuscation.statement(self._sharing, self.settings.precision)),
            "bytes_up": sum(s["bytes_up"] for s in steps),
            "bytes_down": sum(s["bytes_down"] for s in steps),
            "adapter_sha256": sha256(run.thetas),
        }

    # Parts.

    def _trained(self) -> Predicting[Any]:
        """The private model that predicts."""
        return self._ready().home

    def _inputs(self, texts: Sequence[Text]) -> Any:
        """What it reads of these texts."""
        return self.activations(texts)[0]

    def _ready(self) -> Run:
        if self._run is None:
            raise RunError("not trained yet: call fit first, or load a run folder")
        return self._run

    def _open(self, mine: Dataset, data_sha256: str, per_epoch: int) -> Run:
        """Start, or continue where the folder stands: memory may be in the middle of a step that failed."""
        about = About(self.model, self.settings, mine.label_names, data_sha256)
        plan = Plan.of(self.settings, per_epoch)
        if self.folder.about() is not None:
            run = restore_run(self.folder, self.clients)
            check_same(run.about, about, self.folder.path, FREE_TO_CHANGE | LONGER)
            run.extend(about, plan, per_epoch)
            if run.step < plan.steps:
                run.rejoin(mine)
        else:
            run = start_run(about, self.folder, self.clients, mine, plan)
        self._run = run
        return run

    def _frozen_activations(self, mine: Dataset, batches: Batches, steps: int) -> F32:
        """The bare backbone's activations [N, H] of the rows that will be used.

        Others stay zero. Asked for once, and kept.
        """
        path = self.folder.path / "frozen.safetensors"
        cache: F32 = np.zeros((len(mine), self._ready().hidden), np.float32)
        if path.exists():
            cache = np.array(decode(path.read_bytes())[0]["h"], dtype=np.float32)
        rows = np.unique(np.concatenate([batches.rows(step) for step in range(min(steps, batches.per_epoch))]))
        rows = rows[~cache[rows].any(axis=1)]  # all of them, or those of steps that were not asked for before
        if len(rows):
            cache[rows] = self.activations([mine.texts[int(row)] for row in rows])[0][0]
            self.folder.write(path.name, encode({"h": cache}))
        return cache

    @property
    def _sharing(self) -> int:
        """How many hosts divide the tensors of one gradient among them."""
        return len(self.clients) if self.settings.placement == "shares" else 1

    def _exposure(self, classes: int) -> tuple[str, ...]:
        """What a host learns, in words, and what is proven."""
        mine = self.settings
        learned = attacks.exposure(mine.method, self._sharing, mine.shares or 1, self.obfuscation.name)
        return (*learned, *self._chosen_by_dev(), *proven(mine, classes))

    def _chosen_by_dev(self) -> tuple[str, ...]:
        """What a host learns of the labels of the dev rows, in words."""
        mine, run = self.settings, self._ready()
        if mine.eval_every is None or run.frozen:
            return ()
        count = max(1, -(-(run.plan.steps if run.plan else run.step) // mine.eval_every))
        bits = f"the best of {count} evaluations, so at most {np.log2(count):.1f} bits"
        return (f"which state is the best on the dev rows, and when training stops: their labels decide it ({bits})",)

    def _rows(self, data: Dataset) -> Rows:
        """What the hosts compute for some of these rows, to attack."""
        some = data.take(attacks.sample_rows(len(data)))
        activations, base = self.activations(some.texts, base=True)
        return Rows(some, attacks.Tensors(activations, None if self._ready().frozen else base, some.labels))

    def _fix_gates(self) -> None:
        """What the run is held to, before its first step; a run that goes on keeps what it began with."""
        if self.folder.read_json(GATES) is None:
            self.folder.write_json(GATES, self.gates.to_dict())

    def _fixed_gates(self) -> attacks.Gates:
        body = self.folder.read_json(GATES)
        return self.gates if body is None else attacks.Gates.from_dict(body)


P3EFT = Tuner
"""`Tuner` by its first name, which is that of the default method."""


def load_export(
    folder: str | Path,
    host: str | Client | None = None,
    *,
    api_key: str | None = None,
    passphrase: str | None = None,
) -> Tuner:
    """A `Tuner` that predicts, evaluates and audits with what `export` wrote, on one host that has the model.

    It does not continue the training: `fit` starts another run.
    """
    exported = read_export(folder, passphrase)
    settings = replace(Settings.from_dict(exported.about["settings"]), placement="shares")  # one host runs all sets
    (client,) = connect([host] if host is not None else [], api_key)
    tuner = Tuner(exported.about["model"], [client], progress=False, **settings.to_dict())
    tuner._adopt(exported)
    chosen.adopt(tuner.folder, exported.private)
    return tuner
