"""One run: its jobs on the hosts, what it trains, and how both come back after a crash.

Owns: the run's state and its two files, `run.json` and `state.safetensors`. Must never: write an API key, or send the
state. A run continues from its last saved step: every random number is a function of the secret and the step, and
theta travels with each forward, so the repeated steps are the same steps whatever the hosts remember.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import F32, I64, AnyArray
from ..client import Client
from ..client.step_calls import ForwardRequest
from ..data import Dataset, Text, evaluation_chunks, text_lengths, upload_bytes
from ..errors import ApiError, BlindtuneError, NotFoundError, RunError
from .factory import HomeShape, fresh_home, make_obfuscation, make_task, make_updates, make_watch, restored_home
from .host_group import HostGroup, HostLink
from .host_jobs import create_job, find_job, first_adapters, open_jobs
from .placement import make_placement
from .private_backprop import PrivateBackprop
from .run_folder import RunFolder
from .sent_record import SentRecord
from .settings import Settings
from .visits import Visits

if TYPE_CHECKING:
    from ..private.private_model import Home
    from ..private.secret import SecretStream

log = logging.getLogger("blindtune")

LAYOUT = "layout.json"
BEST = "best."
"""Before the names of the best state's arrays."""
FREE_TO_CHANGE = frozenset({"eval_batch_size", "fetch", "patience", "save_every"})
LONGER = frozenset({"steps", "epochs"})
"""What may be raised of a run that trains step by step."""


@dataclass(frozen=True)
class About:
    """What a run is, which never changes."""

    model: str
    settings: Settings
    label_names: tuple[str, ...]
    data_sha256: str


@dataclass(frozen=True)
class Plan:
    """How many steps a run has, and in how many of them the learning rate rises.

    The steps can be raised later. The rate is then that of the same step in a run of so many; the rise stays as it was.
    """

    steps: int
    warmup: int

    @classmethod
    def of(cls, settings: Settings, per_epoch: int) -> Plan:
        """What settings come to, where an epoch has so many steps."""
        steps = settings.steps or max(1, round((settings.epochs or 1.0) * per_epoch))
        return cls(steps, steps // 10 if settings.warmup is None else settings.warmup)


@dataclass
class BestState:
    """What was learned when the evaluation after `step` steps was the best; `evaluated` is the newest one's step."""

    step: int
    evaluated: int
    arrays: dict[str, F32]


@dataclass
class Run:
    """Everything a step needs, and everything it changes."""

    about: About
    folder: RunFolder
    group: HostGroup
    thetas: list[F32]
    home: Home
    step: int = 0
    start_norms: list[float] = field(default_factory=list)
    published_step: int = -1
    visits: Visits = field(default_factory=Visits)
    """Jobs that are open to look at a finished run."""
    plan: Plan | None = None
    """None in a folder of before plans were kept."""
    best: BestState | None = None
    """Of the evaluations on dev rows that were made."""
    stopped: bool = False
    """Whether their patience ended the training."""

    def __post_init__(self) -> None:
        self.secret = self.folder.secret()
        settings = self.about.settings
        self.backprop = PrivateBackprop(self.group, make_obfuscation(settings), self.secret)
        self.updates = make_updates(settings, self.thetas, self.home, self.secret)
        self.watch = make_watch(settings, self.home.classes)
        self._serves_best = False
        self.sent = SentRecord(self.folder)
        for k, link in enumerate(self.group.links):
            link.sent = self.sent.on(k)

    @property
    def frozen(self) -> bool:
        """Whether only a head is trained."""
        return self.about.settings.method == "frozen"

    def save(self) -> None:
        """Write the state; a crash leaves the old one or the new one. It is written already once the best is served."""
        if self._serves_best:
            return
        updates, counts = self.updates.state()
        arrays: dict[str, AnyArray] = {**self._learned, **self.home.state(), **updates, **self.watch.state()}
        scalars: dict[str, Any] = {"step": self.step, "start_norms": self.start_norms, **counts}
        if self.best is not None:
            arrays |= {BEST + name: value for name, value in self.best.arrays.items()}
            evaluated = {"best_step": self.best.step, "evaluated": self.best.evaluated, "stopped": self.stopped}
            scalars |= evaluated
        self.folder.save_state(arrays, scalars | {"next_seq": [link.seq for link in self.group.links]})

    @property
    def _learned(self) -> dict[str, F32]:
        """Adapters and head by name; the arrays themselves."""
        return {f"theta.{i}": theta for i, theta in enumerate(self.thetas)} | self.home.parameters

    def evaluated(self, best: bool) -> None:
        """There was an evaluation, the `best` so far or not: keep what was learned, for the next `save` too."""
        if best:
            arrays = {name: value.copy() for name, value in self._learned.items()}
            self.best = BestState(self.step, self.step, arrays)
        elif self.best is not None:
            self.best.evaluated = self.step

    def serve_best(self) -> None:
        """Predict with the best state from here on; what a training continues from stays in the folder."""
        if self.best is None:
            return
        for name, value in self._learned.items():
            value[...] = self.best.arrays[name]
        self._serves_best, self.published_step = True, -1

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One step inside: where it does not come to its end, the penalty forgets what it saw of it."""
        step, seen = self.step, {name: np.copy(value) for name, value in self.home.penalty.state().items()}
        try:
            yield
        except BaseException:
            if self.step == step:
                self.home.penalty.load_state(seen)
            raise

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Steps inside: when they are interrupted or fail, the state of the last finished one is saved."""
        first = self.step
        try:
            yield
        except (KeyboardInterrupt, BlindtuneError):
            if self.step > first:
                self.save()
            raise

    def extend(self, about: About, plan: Plan, per_epoch: int) -> None:
        """Go by settings that may ask for more steps than the run was begun with."""
        if plan.steps < self.step:
            done = f"the run has made {self.step} steps"
            raise RunError(f"{self.folder.path}: {done}; they can be raised, and not lowered to {plan.steps}")
        was = self.plan or Plan.of(self.about.settings, per_epoch)
        self.about, self.plan = about, Plan(plan.steps, was.warmup)

    def describe(self) -> None:
        """Write `run.json`: its presence says that the run can be continued."""
        hosts = [self._host(link) for link in self.group.links]
        about = self.about
        body: dict[str, Any] = {"model": about.model, "settings": about.settings.to_dict(), "hosts": hosts}
        names = {"label_names": list(about.label_names), "data_sha256": about.data_sha256, "hidden": self.hidden}
        body |= {} if self.plan is None else {"plan": asdict(self.plan)}
        self.folder.write_about(body | self.home.description() | names)

    @staticmethod
    def _host(link: HostLink) -> dict[str, Any]:
        host = {"url": link.client.base_url, "job_id": link.job_id}
        return host if link.model is None else host | {"fine_tuned_model": link.model}

    @property
    def hidden(self) -> int:
        """H, the width of the activations."""
        return int(self.home.mixing.weights.shape[1])

    def evaluate(self, texts: Sequence[Text], base: bool) -> dict[str, AnyArray]:
        """`h.{i}` [N, H] of every set and `h.base` where asked for, under the current adapters, without training.

        A finished run is asked by its fine-tuned models, which opens no job, as long as the hosts have them.
        """
        asked = self.group.placement.evaluators()
        if all(self.group.links[k].model is not None for k in asked):
            try:
                return self._evaluated(texts, base)
            except ApiError as error:
                if not _job_may_help(error):
                    raise
                log.info("%s; a job is opened to evaluate", error)
        if self.published_step != self.step:
            for k in asked:
                self.reopen(k)
            if not self.frozen:
                self.group.publish(self.thetas, asked)
            self.published_step = self.step
        with self._by_jobs():
            return self._evaluated(texts, base)

    def _evaluated(self, texts: Sequence[Text], base: bool) -> dict[str, AnyArray]:
        sets = "none" if self.frozen else "all"
        chunks = evaluation_chunks(texts, self.about.settings.eval_batch_size)
        requests = (ForwardRequest(texts=chunk, train=False, adapters=sets, base=base) for chunk in chunks)
        return self.group.evaluate(requests, self.thetas)

    @contextmanager
    def _by_jobs(self) -> Iterator[None]:
        """Inside, the hosts are asked by their jobs though they have models."""
        known = [link.model for link in self.group.links]
        for link in self.group.links:
            link.model = None
        try:
            yield
        finally:
            for link, model in zip(self.group.links, known, strict=True):
                link.model = model

    def complete(self) -> list[str | None]:
        """Leave the adapters on every host and finish the jobs; the models that they became are kept in mind."""
        if not self.frozen:
            self.folder.write_json(LAYOUT, self.layout())
            self.group.publish(self.thetas)
        self.published_step = -1  # what is asked next needs a job that is open, or the model
        for link in self.group.links:
            link.model = link.client.jobs.complete(link.job_id).fine_tuned_model
        self.visits.forget()
        self.describe()
        return [link.model for link in self.group.links]

    def layout(self) -> Mapping[str, Any]:
        """How flat adapters lie, as the first host says, or as the folder has it."""
        known = self.folder.read_json(LAYOUT)
        if known is not None:
            return known
        self.reopen(0)
        link = self.group.links[0]
        return dict(link.client.adapters(link.job_id))

    def rejoin(self, data: Dataset) -> None:
        """Find the jobs of an interrupted run again and adopt the hosts' count; a job that is over is replaced."""
        self.visits.forget()
        for k, link in enumerate(self.group.links):
            job, _ = find_job(link)
            link.model = None
            if job is None:
                link.job_id = self._create_job(link.client, upload_bytes(data.texts), k)
                link.seq = 1
            else:
                link.seq = job.next_seq
        self.describe()

    def reopen(self, host: int) -> None:
        """See that the host has an open job of the run; one without a file where the old one is over.

        What is opened here is closed with the run.
        """
        link = self.group.links[host]
        job, paused = find_job(link)
        if job is None:
            link.job_id = self._create_job(link.client, None, host)
            self.visits.add(link.client, link.job_id, "cancel")
            self.published_step = -1
            log.info("%s: the run's job is over, made %s to evaluate", link.client.host, link.job_id)
        elif paused:
            self.visits.add(link.client, link.job_id, "pause")

    def close(self) -> None:
        """Close what was opened to look at the run, and stop the threads; a run that is under way can be continued."""
        self.visits.close()
        self.published_step = -1

    def _create_job(self, client: Client, upload: bytes | None, host: int) -> str:
        job = create_job(client, self.about.model, self.about.settings, upload, host)
        self.sent.opened(host, job.id)
        return job.id


def _job_may_help(error: ApiError) -> bool:
    """Whether a job can do what a fine-tuned model cannot: it was deleted, or a text is longer than it takes.

    A job cuts such a text, as training did.
    """
    too_long = error.status == 422 and error.code == "invalid_input"
    return too_long or isinstance(error, NotFoundError) or error.code == "settings_unknown"


def secret_order(texts: Sequence[Text], secret: SecretStream) -> I64:
    """The order in which texts are asked for outside of training: similar lengths together, and otherwise secret.

    A file that is sorted by label is a label.
    """
    order = secret.permutation(len(texts), "evaluate", len(texts))
    return order[np.argsort(text_lengths(texts)[order], kind="stable")]


def start_run(about: About, folder: RunFolder, clients: Sequence[Client], data: Dataset, plan: Plan) -> Run:
    """Upload the texts and create a job on every host; the adapters of the first host that runs a set are its start.

    The state is written before `run.json`, which vouches for it.
    """
    settings = about.settings
    frozen = settings.method == "frozen"
    task = make_task(data, settings)
    upload = None if frozen else upload_bytes(data.texts)
    group, hidden = open_jobs(about.model, settings, clients, upload)
    home = fresh_home(settings, hidden, data.classes, folder.secret(), task)
    run = Run(about, folder, group, [] if frozen else first_adapters(group, settings.sets), home, plan=plan)
    for k, link in enumerate(group.links):
        run.sent.opened(k, link.job_id)
    group.check_backbones(data.texts)
    run.save()
    run.describe()
    return run


def restore_run(folder: RunFolder, clients: Sequence[Client]) -> Run:
    """Take up a run from its folder. The jobs are looked for only when they are needed."""
    body, saved = folder.about(), folder.load_state()
    if body is None or saved is None:
        raise RunError(f"{folder.path}: no run here (run.json or state.safetensors is missing)")
    arrays, scalars = saved
    if len(clients) != len(body["hosts"]):
        raise RunError(f"the run has {len(body['hosts'])} hosts, not {len(clients)}")
    settings = Settings.from_dict(body["settings"]).resolve(len(clients))
    about = About(body["model"], settings, tuple(body["label_names"]), body["data_sha256"])
    links = [
        HostLink(client, host["job_id"], seq, host.get("fine_tuned_model"))
        for client, host, seq in zip(clients, body["hosts"], scalars["next_seq"], strict=True)
    ]
    group = HostGroup(links, make_placement(settings.placement, len(links)))
    shape = HomeShape(body["hidden"], len(about.label_names), body.get("regression"))
    home = restored_home(settings, shape, arrays, folder.secret())
    thetas = [arrays[f"theta.{i}"].copy() for i in range(sum(name.startswith("theta.") for name in arrays))]
    plan = None if "plan" not in body else Plan(**body["plan"])
    run = Run(about, folder, group, thetas, home, scalars["step"], scalars["start_norms"], plan=plan)
    run.updates.load_state(arrays, scalars)
    run.watch.load_state(arrays)
    if "best_step" in scalars:
        best = {name.removeprefix(BEST): value for name, value in arrays.items() if name.startswith(BEST)}
        run.best, run.stopped = BestState(scalars["best_step"], scalars["evaluated"], best), scalars["stopped"]
    return run


def _plain(value: Any) -> Any:
    """As people write it: 2, where 2.0 was made of it."""
    return f"{value:g}" if isinstance(value, float) else value


def check_same(
    was: About, about: About, place: Path, free: frozenset[str] = FREE_TO_CHANGE, advice: str = "use another folder"
) -> None:
    """A run continues only as it began, but for the settings in `free`; `place` is its folder."""
    if was.model != about.model:
        raise RunError(f"{place}: the run trains {was.model}, not {about.model}; {advice}")
    old, new = was.settings.to_dict(), about.settings.to_dict()
    names = [name for name in old if old[name] != new[name] and name not in free]
    if names:
        changed = "; ".join(f"{name} was {_plain(old[name])}, now {_plain(new[name])}" for name in names)
        raise RunError(f"{place}: the run was started otherwise ({changed}); {advice}")
    if was.data_sha256 != about.data_sha256:
        raise RunError(f"{place}: the run was started on other data; {advice}")
