"""One run: its jobs on the hosts, what it trains, and how both come back after a crash.

Owns: the run's state and its two files, `run.json` and `state.safetensors`. Must never: write an API key, or send the
state. A run continues from its last saved step: every random number is a function of the secret and the step, and
theta travels with each forward, so the repeated steps are the same steps whatever the hosts remember.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import F32, I64, AnyArray
from ..client import Client
from ..client.step_calls import ForwardRequest
from ..data import Dataset, Text, evaluation_chunks, text_lengths, upload_bytes
from ..errors import RunError
from .factory import HomeShape, fresh_home, make_obfuscation, make_task, make_updates, make_watch, restored_home
from .host_group import HostGroup, HostLink
from .host_jobs import create_job, find_job, first_adapters, open_jobs
from .placement import make_placement
from .private_backprop import PrivateBackprop
from .run_folder import RunFolder
from .settings import Settings

if TYPE_CHECKING:
    from ..private.private_model import Home
    from ..private.secret import SecretStream

log = logging.getLogger("blindtune")

FREE_TO_CHANGE = frozenset({"eval_batch_size", "fetch", "save_every"})


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
        self.backprop = PrivateBackprop(self.group, make_obfuscation(settings), self.secret)
        self.updates = make_updates(settings, self.thetas, self.home, self.secret)
        self.watch = make_watch(settings, self.home.classes)

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
        names = {"label_names": list(about.label_names), "data_sha256": about.data_sha256, "hidden": self.hidden}
        self.folder.write_json("run.json", body | self.home.description() | names)

    @property
    def hidden(self) -> int:
        """H, the width of the activations."""
        return int(self.home.mixing.weights.shape[1])

    def evaluate(self, texts: Sequence[Text], base: bool) -> dict[str, AnyArray]:
        """`h.{i}` [N, H] of every set and `h.base` where asked for, under the current adapters, without training."""
        if self.published_step != self.step:
            asked = self.group.placement.evaluators()
            for k in asked:
                self.reopen(k)
            if not self.frozen:
                self.group.publish(self.thetas, asked)
            self.published_step = self.step
        settings = self.about.settings
        sets = "none" if self.frozen else "all"
        chunks = evaluation_chunks(texts, settings.eval_batch_size)
        requests = (ForwardRequest(texts=chunk, train=False, adapters=sets, base=base) for chunk in chunks)
        return self.group.evaluate(requests, self.thetas)

    def rejoin(self, data: Dataset) -> None:
        """Find the jobs of an interrupted run again and adopt the hosts' count; a job that is over is replaced."""
        for k, link in enumerate(self.group.links):
            job = find_job(link)
            if job is None:
                link.job_id = self._create_job(link.client, upload_bytes(data.texts), k)
                link.seq = 1
            else:
                link.seq = job.next_seq
        self.describe()

    def reopen(self, host: int) -> None:
        """See that the host has an open job of the run; one without a file where the old one is over."""
        link = self.group.links[host]
        if find_job(link) is None:
            link.job_id = self._create_job(link.client, None, host)
            log.info("%s: the run's job is over, made %s to evaluate", link.client.base_url, link.job_id)

    def _create_job(self, client: Client, upload: bytes | None, host: int) -> str:
        return create_job(client, self.about.model, self.about.settings, upload, host).id


def secret_order(texts: Sequence[Text], secret: SecretStream) -> I64:
    """The order in which texts are asked for outside of training: similar lengths together, and otherwise secret.

    A file that is sorted by label is a label.
    """
    order = secret.permutation(len(texts), "evaluate", len(texts))
    return order[np.argsort(text_lengths(texts)[order], kind="stable")]


def start_run(about: About, folder: RunFolder, clients: Sequence[Client], data: Dataset) -> Run:
    """Upload the texts and create a job on every host; the adapters of the first host that runs a set are its start.

    The state is written before `run.json`, which vouches for it.
    """
    settings = about.settings
    frozen = settings.method == "frozen"
    task = make_task(data, settings)
    upload = None if frozen else upload_bytes(data.texts)
    group, hidden = open_jobs(about.model, settings, clients, upload)
    group.check_backbones(data.texts)
    home = fresh_home(settings, hidden, data.classes, folder.secret(), task)
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
    shape = HomeShape(body["hidden"], len(about.label_names), body.get("regression"))
    home = restored_home(settings, shape, arrays, folder.secret())
    thetas = [arrays[f"theta.{i}"].copy() for i in range(sum(name.startswith("theta.") for name in arrays))]
    run = Run(about, folder, group, thetas, home, scalars["step"], scalars["start_norms"])
    run.updates.load_state(arrays, scalars)
    run.watch.load_state(arrays)
    return run


def check_same(was: About, about: About, place: Path) -> None:
    """A run continues only as it began; `place` is its folder."""
    if was.model != about.model:
        raise RunError(f"{place}: the run trains {was.model}, not {about.model}; use another folder")
    old, new = was.settings.to_dict(), about.settings.to_dict()
    names = [name for name in old if old[name] != new[name] and name not in FREE_TO_CHANGE]
    if names:
        changed = "; ".join(f"{name} was {old[name]}, now {new[name]}" for name in names)
        raise RunError(f"{place}: the run was started otherwise ({changed}); use another folder")
    if was.data_sha256 != about.data_sha256:
        raise RunError(f"{place}: the run was started on other data; use another folder")
