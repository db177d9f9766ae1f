"""One run: its jobs on the hosts, what it trains, and how both come back after a crash.

Owns: the run's state and its two files, `run.json` and `state.safetensors`. Must never: write an API key, or send the
state. A run continues from its last saved step: every random number is a function of the secret and the step, and
theta travels with each forward, so the repeated steps are the same steps whatever the hosts remember.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..arrays import F32, AnyArray
from ..client import Client, LiveJob
from ..client.step_calls import ForwardRequest
from ..data import Dataset, upload_bytes
from ..errors import NotFoundError, RunError
from ..private.private_model import Home
from ..private.tasks import Regression
from .factory import fresh_home, make_task
from .host_group import HostGroup, HostLink
from .leak_watch import LeakWatch
from .placement import make_placement
from .run_folder import RunFolder
from .settings import Settings
from .updates import Updates

log = logging.getLogger("blindtune")

UPLOAD_NAME = "inputs.jsonl"
COMPARED_TEXTS = 2

FREE_TO_CHANGE = frozenset({"eval_batch_size", "save_every"})


@dataclass(frozen=True)
class About:
    """What a run is, which never changes."""

    model: str
    settings: Settings
    label_names: tuple[str, ...]
    data_sha256: str


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

    def __post_init__(self) -> None:
        self.secret = self.folder.secret()
        settings = self.about.settings
        self.updates = Updates(self.thetas, list(self.home.parameters.values()), settings, self.secret)
        self.watch = LeakWatch(settings.audit_every or 0, self.home.classes)

    @property
    def frozen(self) -> bool:
        """Whether only a head is trained."""
        return self.about.settings.method == "frozen"

    def save(self) -> None:
        """Write the state; a crash leaves the old one or the new one."""
        arrays: dict[str, AnyArray] = {f"theta.{i}": theta for i, theta in enumerate(self.thetas)}
        updates, counts = self.updates.state()
        arrays |= {**self.home.parameters, **self.home.state(), **updates, **self.watch.state()}
        scalars: dict[str, Any] = {"step": self.step, "start_norms": self.start_norms, **counts}
        self.folder.save_state(arrays, scalars | {"next_seq": [link.seq for link in self.group.links]})

    def describe(self) -> None:
        """Write `run.json`: its presence says that the run can be continued."""
        hosts = [{"url": link.client.base_url, "job_id": link.job_id} for link in self.group.links]
        about = self.about
        body: dict[str, Any] = {"model": about.model, "settings": about.settings.to_dict(), "hosts": hosts}
        if isinstance(self.home.task, Regression):
            body["regression"] = asdict(self.home.task)
        names = {"label_names": list(about.label_names), "data_sha256": about.data_sha256, "hidden": self.hidden}
        self.folder.write_json("run.json", body | names)

    @property
    def hidden(self) -> int:
        """H, the width of the activations."""
        return int(self.home.mixing.weights.shape[1])

    def evaluate(self, request: ForwardRequest) -> dict[str, AnyArray]:
        """`h.{i}` of every set and `h.base` where asked for, under the current adapters, without training."""
        if self.published_step != self.step:
            asked = self.group.placement.evaluators()
            for k in asked:
                self.reopen(k)
            if not self.frozen:
                self.group.publish(self.thetas, asked)
            self.published_step = self.step
        return self.group.evaluate(request, self.thetas)

    def rejoin(self, data: Dataset) -> None:
        """Find the jobs of an interrupted run again and adopt the hosts' count; a job that is over is replaced."""
        for k, link in enumerate(self.group.links):
            job = _find_job(link)
            if job is None:
                link.job_id = create_job(link.client, self.about, upload_bytes(data.texts), k).id
                link.seq = 1
            else:
                link.seq = job.next_seq
        self.describe()

    def reopen(self, host: int) -> None:
        """See that the host has an open job of the run; one without a file where the old one is over."""
        link = self.group.links[host]
        if _find_job(link) is None:
            link.job_id = create_job(link.client, self.about, None, host).id
            log.info("%s: the run's job is over, made %s to evaluate", link.client.base_url, link.job_id)


def start_run(about: About, folder: RunFolder, clients: Sequence[Client], data: Dataset) -> Run:
    """Upload the texts and create a job on every host; the adapters of the first host that runs a set are its start.

    The state is written before `run.json`, which vouches for it.
    """
    settings = about.settings
    frozen = settings.method == "frozen"
    task = make_task(data, settings)
    upload = None if frozen else upload_bytes(data.texts)
    jobs = [create_job(client, about, upload, k) for k, client in enumerate(clients)]
    links = [HostLink(client, job.id, job.next_seq) for client, job in zip(clients, jobs, strict=True)]
    group = HostGroup(links, make_placement(settings.placement, len(links)))
    if settings.placement != "shares" and len(links) > 1:
        some = list(data.texts[:COMPARED_TEXTS])
        group.check_backbones(ForwardRequest(texts=some, train=False, adapters="none", base=True))
    home = fresh_home(settings, jobs[0].hidden_size, data.classes, folder.secret(), task)
    run = Run(about, folder, group, [] if frozen else first_adapters(group, settings.sets), home)
    run.save()
    run.describe()
    return run


def restore_run(folder: RunFolder, clients: Sequence[Client]) -> Run:
    """Take up a run from its folder. The jobs are looked for only when they are needed."""
    body, saved = folder.read_json("run.json"), folder.load_state()
    if body is None or saved is None:
        raise RunError(f"{folder.path}: no run here (run.json or state.safetensors is missing)")
    arrays, scalars = saved
    if len(clients) != len(body["hosts"]):
        raise RunError(f"the run has {len(body['hosts'])} hosts, not {len(clients)}")
    settings = Settings.from_dict(body["settings"]).resolve(len(clients))
    about = About(body["model"], settings, tuple(body["label_names"]), body["data_sha256"])
    links = [
        HostLink(client, host["job_id"], seq)
        for client, host, seq in zip(clients, body["hosts"], scalars["next_seq"], strict=True)
    ]
    group = HostGroup(links, make_placement(settings.placement, len(links)))
    task = Regression(**body["regression"]) if "regression" in body else None
    home = fresh_home(settings, body["hidden"], len(about.label_names), folder.secret(), task)
    home.load_state(arrays)
    for name, value in home.parameters.items():
        value[...] = arrays[name]
    thetas = [arrays[f"theta.{i}"].copy() for i in range(sum(name.startswith("theta.") for name in arrays))]
    run = Run(about, folder, group, thetas, home, scalars["step"], scalars["start_norms"])
    run.updates.load_state(arrays, scalars)
    run.watch.load_state(arrays)
    return run


def create_job(client: Client, about: About, upload: bytes | None, host: int = 0) -> LiveJob:
    """A job on host number `host`, with the label-free file if there is one."""
    file_id = client.files.create((UPLOAD_NAME, upload)).id if upload is not None else None
    settings = about.settings
    return client.jobs.create(about.model, settings.split_method(), training_file=file_id, seed=settings.job_seed(host))


def check_same(run: Run, about: About) -> None:
    """A run continues only as it began."""
    was, place = run.about, run.folder.path
    if was.model != about.model:
        raise RunError(f"{place}: the run trains {was.model}, not {about.model}; use another folder")
    old, new = was.settings.to_dict(), about.settings.to_dict()
    names = [name for name in old if old[name] != new[name] and name not in FREE_TO_CHANGE]
    if names:
        changed = "; ".join(f"{name} was {old[name]}, now {new[name]}" for name in names)
        raise RunError(f"{place}: the run was started otherwise ({changed}); use another folder")
    if was.data_sha256 != about.data_sha256:
        raise RunError(f"{place}: the run was started on other data; use another folder")


def first_adapters(group: HostGroup, sets: int) -> list[F32]:
    """theta_i [P] as the host that runs set i starts it."""
    found = []
    for i in range(sets):
        host = group.placement.host_of(i, 0, 0)
        link, own = group.links[host], group.placement.sets(host, sets).index(i)
        tensors = link.client.adapter(link.job_id, own, form="flat")
        found.append(np.array(tensors[f"theta.{own}"], dtype=np.float32))
    return found


def _find_job(link: HostLink) -> LiveJob | None:
    try:
        job = link.client.jobs.retrieve(link.job_id)
    except NotFoundError:
        return None
    if job.status == "paused":
        job = link.client.jobs.resume(link.job_id)
    return job if job.open else None
