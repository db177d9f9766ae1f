"""One run: its jobs on the hosts, what it trains, and how both come back after a crash.

Owns: the run's state and its two files, `run.json` and `state.safetensors`. Must never: write an API key, or send the
state. A run continues from its last saved step: every random number is a function of the secret and the step, and
theta travels with each forward, so the repeated steps are the same steps whatever the hosts remember.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .arrays import F32, AnyArray
from .client import Client
from .data import Dataset, upload_bytes
from .errors import NotFoundError, RunError
from .heads import Head
from .home import Home
from .hosts import HostGroup, HostLink
from .mixing import Mixing
from .objects import Job
from .optim import AdamW
from .runfolder import RunFolder
from .settings import Settings

log = logging.getLogger("blindtune")

UPLOAD_NAME = "inputs.jsonl"


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
        self.optimizer = AdamW([*self.thetas, *self.home.head.parameters], self.about.settings.optimizer())

    @property
    def frozen(self) -> bool:
        """Whether only a head is trained."""
        return self.about.settings.method == "frozen"

    def save(self) -> None:
        """Write the state; a crash leaves the old one or the new one."""
        head = self.home.head
        arrays: dict[str, AnyArray] = {f"theta.{i}": theta for i, theta in enumerate(self.thetas)}
        arrays |= {f"head.{name}": value for name, value in zip(head.names, head.parameters, strict=True)}
        arrays |= {"mixing": self.home.mixing.weights} | self.optimizer.state()
        seqs = [link.seq for link in self.group.links]
        scalars = {"step": self.step, "start_norms": self.start_norms, "next_seq": seqs}
        self.folder.save_state(arrays, scalars | {"optimizer_steps": self.optimizer.step_count})

    def describe(self) -> None:
        """Write `run.json`: its presence says that the run can be continued."""
        hosts = [{"url": link.client.base_url, "job_id": link.job_id} for link in self.group.links]
        about = self.about
        body = {"model": about.model, "settings": about.settings.to_dict(), "hosts": hosts}
        names = {"label_names": list(about.label_names), "data_sha256": about.data_sha256, "hidden": self.hidden}
        self.folder.write_json("run.json", body | names)

    @property
    def hidden(self) -> int:
        """H, the width of the activations."""
        return int(self.home.mixing.weights.shape[1])

    def evaluation_link(self) -> HostLink:
        """The first host, knowing the current adapters."""
        link = self.group.links[0]
        if self.published_step != self.step:
            self._reopen(link)
            if not self.frozen:
                link.publish(self.thetas)
            self.published_step = self.step
        return link

    def rejoin(self, data: Dataset) -> None:
        """Find the jobs of an interrupted run again and adopt the hosts' count; a job that is over is replaced."""
        for link in self.group.links:
            job = _find_job(link)
            if job is None:
                link.job_id = create_job(link.client, self.about, upload_bytes(data.texts)).id
                link.seq = 1
            else:
                link.seq = job.next_seq
        self.describe()

    def _reopen(self, link: HostLink) -> None:
        if _find_job(link) is None:
            link.job_id = create_job(link.client, self.about, None).id
            log.info("%s: the run's job is over, made %s to evaluate", link.client.base_url, link.job_id)


def start_run(about: About, folder: RunFolder, clients: Sequence[Client], data: Dataset) -> Run:
    """Upload the texts and create a job on every host; the first host's adapters are the start for all.

    The state is written before `run.json`, which vouches for it.
    """
    settings = about.settings
    frozen = settings.method == "frozen"
    upload = None if frozen else upload_bytes(data.texts)
    jobs = [create_job(client, about, upload) for client in clients]
    links = [HostLink(client, job.id, job.next_seq) for client, job in zip(clients, jobs, strict=True)]
    thetas = [_flat_adapter(links[0], i) for i in range(0 if frozen else settings.adapter_sets)]
    home = Home.fresh(settings, jobs[0].hidden_size, data.classes, folder.secret())
    run = Run(about, folder, HostGroup(links), thetas, home)
    run.save()
    run.describe()
    return run


def restore_run(folder: RunFolder, clients: Sequence[Client]) -> Run:
    """Take up a run from its folder. The jobs are looked for only when they are needed."""
    body, saved = folder.read_json("run.json"), folder.load_state()
    if body is None or saved is None:
        raise RunError(f"{folder.path}: no run here (run.json or state.safetensors is missing)")
    arrays, scalars = saved
    settings = Settings.from_dict(body["settings"])
    about = About(body["model"], settings, tuple(body["label_names"]), body["data_sha256"])
    if len(clients) != len(body["hosts"]):
        raise RunError(f"the run has {len(body['hosts'])} hosts, not {len(clients)}")
    links = [
        HostLink(client, host["job_id"], seq)
        for client, host, seq in zip(clients, body["hosts"], scalars["next_seq"], strict=True)
    ]
    home = Home.fresh(settings, body["hidden"], len(about.label_names), folder.secret())
    home.mixing = Mixing(arrays["mixing"])
    _fill(home.head, arrays)
    thetas = [arrays[f"theta.{i}"].copy() for i in range(sum(name.startswith("theta.") for name in arrays))]
    run = Run(about, folder, HostGroup(links), thetas, home, scalars["step"], scalars["start_norms"])
    run.optimizer.load_state(arrays, scalars["optimizer_steps"])
    return run


def create_job(client: Client, about: About, upload: bytes | None) -> Job:
    """A job on one host, with the label-free file if there is one. Every host gets the same seed."""
    file_id = client.files.create((UPLOAD_NAME, upload)).id if upload is not None else None
    settings = about.settings
    return client.jobs.create(about.model, settings.split_method(), training_file=file_id, seed=settings.seed)


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


def _flat_adapter(link: HostLink, index: int) -> F32:
    tensors = link.client.adapter(link.job_id, index, form="flat")
    return np.array(tensors[f"theta.{index}"], dtype=np.float32)


def _fill(head: Head, arrays: dict[str, AnyArray]) -> None:
    for name, value in zip(head.names, head.parameters, strict=True):
        value[...] = arrays[f"head.{name}"]


def _find_job(link: HostLink) -> Job | None:
    try:
        job = link.client.jobs.retrieve(link.job_id)
    except NotFoundError:
        return None
    if job.status == "paused":
        job = link.client.jobs.resume(link.job_id)
    return job if job.open else None
