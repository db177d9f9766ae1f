"""What each host saw, taken from the wire: the bytes that were sent to it and the bytes it answered.

Owns: the recorder, which decodes requests by itself, and the record. Must never: be told anything by the trainer; a
label, a gradient or a secret that is not on the wire cannot get in here.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..arrays import F32, I64, AnyArray, decode, encode
from ..client.step_calls import Call

ROWS = 2000
STEP = re.compile(r"jobs/(?P<job>[^/]+)/(?P<kind>forward|backward)$")


@dataclass(frozen=True)
class SeenForward:
    """One training forward at one host.

    `rows` [B] index the job's file; `activations[i]` is h_i [B, H] and `base` h_base [B, H], both of which the host
    computed; `thetas[i]` is the flat adapter [P] it was sent, kept on demand only.
    """

    host: int
    seq: int
    rows: I64
    thetas: Mapping[int, F32]
    activations: Mapping[int, F32]
    base: F32 | None
    job: str = ""
    forward_id: str = ""


@dataclass(frozen=True)
class SeenBackward:
    """One backward at one host: `shares[(i, j)]` is share j (as that host counts) of set i, [B, H]."""

    host: int
    seq: int
    shares: Mapping[tuple[int, int], F32]
    job: str = ""
    forward_id: str = ""


@dataclass(frozen=True)
class Seen:
    """The last rows that hosts saw, oldest first."""

    forwards: tuple[SeenForward, ...] = ()
    backwards: tuple[SeenBackward, ...] = ()

    @property
    def hosts(self) -> tuple[int, ...]:
        """Numbers of the hosts that saw something."""
        return tuple(sorted({f.host for f in self.forwards} | {b.host for b in self.backwards}))

    def forward_of(self, backward: SeenBackward) -> SeenForward | None:
        """The forward whose gradient this is."""
        for forward in reversed(self.forwards):
            if (forward.host, forward.job, forward.forward_id) == (backward.host, backward.job, backward.forward_id):
                return forward
        return None

    def activations(self, host: int) -> tuple[dict[int, F32], F32 | None, I64]:
        """h_i [N, H] by set, h_base, and rows [N]: every row once, as that host saw it last."""
        mine = [f for f in self.forwards if f.host == host and f.activations]
        if not mine:
            return {}, None, np.zeros(0, np.int64)
        rows = np.concatenate([f.rows for f in mine])
        last = np.sort(len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1])
        sets = set.intersection(*({*f.activations} for f in mine))
        table = {i: np.concatenate([f.activations[i] for f in mine])[last] for i in sorted(sets)}
        bases = [f.base for f in mine if f.base is not None]
        base = np.concatenate(bases)[last] if len(bases) == len(mine) else None
        return table, base, rows[last]


class Store(Protocol):
    """Where a record outlives the process; `RunFolder` is one."""

    def write_seen(self, name: str, content: bytes) -> None:
        """Keep `content` under `name`."""
        ...

    def forget_seen(self, name: str) -> None:
        """Drop what is kept under `name`, if anything."""
        ...

    def read_seen(self) -> Iterable[bytes]:
        """Everything that is kept, in any order."""
        ...


Entry = SeenForward | SeenBackward
Key = tuple[int, str, int]


class Recorder:
    """Keeps what the last `rows` rows of each host looked like, in memory and in `store` if there is one.

    `recorder.on(k)` is the hook for the client of host k: `Client(..., recorder=recorder.on(0))`. Threads may share it.
    With `keep_thetas` forwards keep the adapters too, 4 P bytes for each set and step.
    """

    def __init__(self, rows: int = ROWS, keep_thetas: bool = False, store: Store | None = None) -> None:
        self.rows = rows
        self.keep_thetas = keep_thetas
        self._store = store
        self._lock = threading.Lock()
        self._entries: dict[Key, Entry] = {}
        self._order = 0
        if store is not None:
            self._restore(store)

    def on(self, host: int) -> Callable[[Call, bytes], None]:
        """The hook of one host."""
        return lambda call, answer: self.record(host, call, answer)

    def record(self, host: int, call: Call, answer: bytes) -> None:
        """Take in one call and its answer. A step that is sent again replaces itself; evaluations are left out."""
        query, step = dict(call.query), STEP.search(call.path)
        if step is None or "seq" not in query or call.content_type == "application/json":
            return
        sent = decode(call.body)[0]
        seq, job = int(query["seq"]), step["job"]
        entry: Entry
        if step["kind"] == "backward":
            shares = {_pair(name): np.asarray(value) for name, value in sent.items()}
            entry = SeenBackward(host, seq, shares, job, query["forward_id"])
        elif "rows" in sent:
            entry = self._forward(host, seq, job, sent, answer)
        else:
            return
        with self._lock:
            self._keep(entry)

    def seen(self) -> Seen:
        """The record so far."""
        with self._lock:
            entries = list(self._entries.values())
        return Seen(
            tuple(e for e in entries if isinstance(e, SeenForward)),
            tuple(e for e in entries if isinstance(e, SeenBackward)),
        )

    def _forward(self, host: int, seq: int, job: str, sent: Mapping[str, AnyArray], answer: bytes) -> SeenForward:
        tensors, metadata = decode(answer)
        thetas = {int(name[6:]): value for name, value in sent.items() if name.startswith("theta.")}
        activations = {int(n[2:]): h for n, h in tensors.items() if n.startswith("h.") and n != "h.base"}
        return SeenForward(
            host=host,
            seq=seq,
            rows=sent["rows"].astype(np.int64),
            thetas=thetas if self.keep_thetas else {},
            activations=activations,
            base=tensors.get("h.base"),
            job=job,
            forward_id=metadata.get("forward_id", ""),
        )

    def _keep(self, entry: Entry) -> None:
        key = (entry.host, entry.job, entry.seq)
        self._entries.pop(key, None)
        self._entries[key] = entry
        self._order += 1
        if self._store is not None:
            self._store.write_seen(_file_name(key), _to_bytes(entry, self._order))
        self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        """Drop what is too much, now that `entry` was kept: the oldest rows."""
        alike = [k for k, e in self._entries.items() if type(e) is type(entry) and e.host == entry.host]
        held = sum(_size(self._entries[k]) for k in alike)
        for oldest in alike[:-1]:
            if held <= self.rows:
                break
            held -= _size(self._entries[oldest])
            self._drop(oldest)

    def _drop(self, key: Key) -> None:
        del self._entries[key]
        if self._store is not None:
            self._store.forget_seen(_file_name(key))

    def _restore(self, store: Store) -> None:
        found = sorted((_from_bytes(content) for content in store.read_seen()), key=lambda pair: pair[0])
        for order, entry in found:
            self._entries[(entry.host, entry.job, entry.seq)] = entry
            self._order = order


def _size(entry: Entry) -> int:
    if isinstance(entry, SeenForward):
        return len(entry.rows)
    return max((len(share) for share in entry.shares.values()), default=0)


def _pair(name: str) -> tuple[int, int]:
    _, i, j = name.split(".")
    return int(i), int(j)


def _file_name(key: Key) -> str:
    host, job, seq = key
    return f"{host}.{re.sub('[^A-Za-z0-9-]', '_', job)}.{seq:07d}"


def _to_bytes(entry: Entry, order: int) -> bytes:
    about = {"host": entry.host, "seq": entry.seq, "job": entry.job, "forward_id": entry.forward_id, "order": order}
    tensors: dict[str, AnyArray] = {}
    if isinstance(entry, SeenForward):
        tensors = {"rows": entry.rows} | {f"h.{i}": h for i, h in entry.activations.items()}
        tensors |= {f"theta.{i}": theta for i, theta in entry.thetas.items()}
        tensors |= {} if entry.base is None else {"h.base": entry.base}
    else:
        tensors = {f"s.{i}.{j}": share for (i, j), share in entry.shares.items()}
    return encode(tensors, {"seen": json.dumps(about)})


def _from_bytes(content: bytes) -> tuple[int, Entry]:
    tensors, metadata = decode(content)
    about = json.loads(metadata["seen"])
    host, seq, job, forward_id = (about[name] for name in ("host", "seq", "job", "forward_id"))
    if "rows" not in tensors:
        shares = {_pair(name): value for name, value in tensors.items()}
        return about["order"], SeenBackward(host, seq, shares, job, forward_id)
    thetas = {int(name[6:]): value for name, value in tensors.items() if name.startswith("theta.")}
    activations = {int(n[2:]): h for n, h in tensors.items() if n.startswith("h.") and n != "h.base"}
    base = tensors.get("h.base")
    return about["order"], SeenForward(host, seq, tensors["rows"], thetas, activations, base, job, forward_id)
