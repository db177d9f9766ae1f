"""Hidden states on the label holder's disk, shared by all runs that ask for the same texts.

Owns: the files, their index, and the limit of their size. Must never: know a label; what is kept follows from texts and
from what was asked of a host alone.

One safetensors file an answer (`hidden.{level}` [T, d], `lengths` [N]), and an SQLite index of where each text lies. A
file counts from the moment it is in the index, and its SHA-256 is checked before it is first read: what a crash or a
failing disk leaves behind is asked for again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from ..arrays import I64, AnyArray, encode
from ..data.taps import Taps, level_name
from ..errors import RunError

log = logging.getLogger("blindtune")

FOLDER_VARIABLE = "BLINDTUNE_FEATURES"
LIMIT_VARIABLE = "BLINDTUNE_FEATURES_BYTES"
LIMIT = 20 * 10**9
"""Bytes that a store may hold, unless told otherwise."""
IN_MEMORY = 10**9
"""Bytes up to which a level that is read lies in memory; a larger one is mapped from a file that has no name."""
FEW = 500
"""Texts that one query of the index names."""

TABLES = """
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL);
CREATE TABLE IF NOT EXISTS texts (key TEXT PRIMARY KEY, file TEXT NOT NULL, place INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS texts_of_file ON texts (file);
"""


@dataclass(frozen=True)
class _Place:
    """Where a text lies: the file, and its number in it."""

    file: str
    place: int


class FeatureStore:
    """A folder of hidden states, of at most `limit` bytes. Several processes may use it at once.

    Without a folder it is `BLINDTUNE_FEATURES`, or in the user's cache; without a limit `BLINDTUNE_FEATURES_BYTES`, or
    20 GB.
    """

    def __init__(self, folder: str | Path | None = None, limit: int | None = None) -> None:
        self.folder = default_folder() if folder is None else Path(folder)
        self.limit = int(os.environ.get(LIMIT_VARIABLE) or LIMIT) if limit is None else limit
        self._checked: set[str] = set()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._index() as index:
            index.executescript(TABLES)

    @classmethod
    def of(cls, where: str | Path | FeatureStore | None) -> FeatureStore:
        """A store, or the one in a folder."""
        return where if isinstance(where, FeatureStore) else cls(where)

    def missing(self, keys: Sequence[str]) -> list[int]:
        """The numbers of the keys that are not here, in their order; a key that comes twice is missing once."""
        places = self._places(keys)
        first = {key: number for number, key in reversed(list(enumerate(keys)))}
        return [number for number, key in enumerate(keys) if key not in places and first[key] == number]

    def add(self, keys: Sequence[str], taps: Taps) -> None:
        """Keep the taps of these texts [N]; the files used least recently make room."""
        names = (level_name(number) for number in range(len(taps.levels)))
        tensors = dict(zip(names, taps.levels, strict=True)) | {"lengths": np.diff(taps.offsets)}
        body, name = encode(tensors), f"{uuid.uuid4().hex}.safetensors"
        row = self._write(name, body)
        with self._index() as index:
            index.execute("INSERT INTO files VALUES (?, ?, ?, ?)", row)
            index.executemany(
                "INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", [(key, name, place) for place, key in enumerate(keys)]
            )
        self._checked.add(name)

    def keep(self, name: str, body: bytes) -> None:
        """Keep a file of this name beside the features; it counts and makes room as they do."""
        row = self._write(name, body)
        with self._index() as index:
            index.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row)
        self._checked.add(name)

    def kept(self, name: str) -> bytes | None:
        """What `keep` was given, or None where it made room or is not what was written."""
        with self._index() as index:
            known = index.execute("SELECT 1 FROM files WHERE name = ?", (name,)).fetchone()
        if known is None:
            return None
        if not self._is_whole(name):
            self._drop([name])
            return None
        self._touch([name])
        return (self.folder / name).read_bytes()

    def read(self, keys: Sequence[str]) -> Taps:
        """The taps of these texts, which are all here."""
        places = self._places(keys)
        wanted: dict[str, list[tuple[int, int]]] = {}
        for number, key in enumerate(keys):
            if key not in places:
                raise RunError(f"{self.folder}: features were removed while they were in use; run again")
            wanted.setdefault(places[key].file, []).append((number, places[key].place))
        self._touch(wanted)
        return _Reading(self.folder, wanted, len(keys)).taps()

    def size(self) -> int:
        """Bytes held."""
        with self._index() as index:
            return int(index.execute("SELECT coalesce(sum(bytes), 0) FROM files").fetchone()[0])

    def clear(self) -> int:
        """Remove everything; the bytes that were held."""
        held = self.size()
        with self._index() as index:
            names = [str(name) for (name,) in index.execute("SELECT name FROM files")]
        self._drop(names)
        return held

    # Parts.

    def _write(self, name: str, body: bytes) -> tuple[str, str, int, float]:
        """The file, whole or not at all, where others made room; its row in the index is given back."""
        self._make_room(len(body))
        partial = self.folder / f"{name}.partial"
        partial.write_bytes(body)
        partial.replace(self.folder / name)
        return name, hashlib.sha256(body).hexdigest(), len(body), time.time()

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        """The index, in one transaction."""
        with closing(sqlite3.connect(self.folder / "index.sqlite", timeout=60)) as index, index:
            yield index

    def _places(self, keys: Sequence[str]) -> dict[str, _Place]:
        """Where each text is that is here and whole."""
        found: dict[str, _Place] = {}
        with self._index() as index:
            for first in range(0, len(keys), FEW):
                part = keys[first : first + FEW]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, file, place FROM texts WHERE key IN ({marks})"
                found |= {key: _Place(file, place) for key, file, place in index.execute(query, list(part))}
        broken = [name for name in sorted({place.file for place in found.values()}) if not self._is_whole(name)]
        if broken:
            self._drop(broken)
        return {key: place for key, place in found.items() if place.file not in broken}

    def _is_whole(self, name: str) -> bool:
        """Whether a file is what was written, by its SHA-256; looked at once."""
        if name in self._checked:
            return True
        with self._index() as index:
            known = index.execute("SELECT sha256 FROM files WHERE name = ?", (name,)).fetchone()
        try:
            found = hashlib.sha256((self.folder / name).read_bytes()).hexdigest()
        except FileNotFoundError:
            found = ""
        if known is None or known[0] != found:
            log.warning(
                "%s: features in %s are not what was written there; they are asked for again", self.folder, name
            )
            return False
        self._checked.add(name)
        return True

    def _touch(self, names: Iterable[str]) -> None:
        now = time.time()
        with self._index() as index:
            index.executemany("UPDATE files SET used = ? WHERE name = ?", [(now, name) for name in names])

    def _make_room(self, needed: int) -> None:
        """Remove what was used least recently until `needed` more bytes fit."""
        with self._index() as index:
            rows = index.execute("SELECT name, bytes FROM files ORDER BY used").fetchall()
        spare = self.limit - needed - sum(size for _, size in rows)
        gone: list[str] = []
        for name, size in rows:
            if spare >= 0:
                break
            gone.append(name)
            spare += size
        self._drop(gone)

    def _drop(self, names: Sequence[str]) -> None:
        """The index forgets a file before it goes: nobody finds half of it."""
        with self._index() as index:
            index.executemany("DELETE FROM texts WHERE file = ?", [(name,) for name in names])
            index.executemany("DELETE FROM files WHERE name = ?", [(name,) for name in names])
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        self._checked.difference_update(names)


class _Reading:
    """Texts that lie in several files, put together in the order asked."""

    def __init__(self, folder: Path, wanted: dict[str, list[tuple[int, int]]], count: int) -> None:
        self.folder, self.wanted = folder, wanted
        self.lengths: I64 = np.zeros(count, np.int64)
        self.levels: list[AnyArray] = []

    def taps(self) -> Taps:
        """Two rounds: how long the texts are, then their states."""
        for name, pairs in self.wanted.items():
            numbers, places = np.array(pairs, np.int64).T
            with safe_open(self.folder / name, "np") as file:
                self.lengths[numbers] = file.get_tensor("lengths")[places]
        self.offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])
        for name, pairs in self.wanted.items():
            self._copy(name, pairs)
        return Taps(tuple(self.levels), self.offsets)

    def _copy(self, name: str, pairs: list[tuple[int, int]]) -> None:
        with safe_open(self.folder / name, "np") as file:
            starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(file.get_tensor("lengths"))])
            ranges = [(self.offsets[n], self.offsets[n + 1], starts[p], starts[p + 1]) for n, p in pairs]
            for number in range(sum(key != "lengths" for key in file.keys())):  # noqa: SIM118  not a mapping
                states = file.get_tensor(level_name(number))
                if number == len(self.levels):
                    self.levels.append(self._room(states))
                for to, to_end, first, end in ranges:
                    self.levels[number][to:to_end] = states[first:end]

    def _room(self, like: AnyArray) -> AnyArray:
        """An empty level [T, d]: in memory, or where all texts are too many for that in a file."""
        shape = (int(self.offsets[-1]), like.shape[1])
        if shape[0] * shape[1] * like.itemsize <= IN_MEMORY:
            return np.empty(shape, like.dtype)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            return np.memmap(file, like.dtype, "w+", shape=shape)


def default_folder() -> Path:
    """`BLINDTUNE_FEATURES`, else `blindtune/features` in the user's cache folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blindtune" / "features"
