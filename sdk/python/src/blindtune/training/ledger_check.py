"""Whether hosts list in their ledgers what a run recorded as sent, call by call, by SHA-256; and the verdict in words.

Owns: which call is compared with which, and what a difference means. Must never: count as a match what it could not
compare, or need a private part of the run.

A host lists a numbered call once, however often it was sent; of the others each that it did. A call without an answer
may be listed or not, one that the host answered must be. The record is read before the ledger for what must be there
and after it for what may be, so that a run may go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..client import Client
from ..client.objects import LedgerEntry
from ..client.sent import SentCall
from ..errors import BlindtuneError, NotFoundError, RunError
from .run_folder import ABOUT, RunFolder
from .sent_record import Attempt, Sent, SentRecord

PAGE = 100
"""Entries of a ledger that are asked for at once: the most a host gives."""
NO_RECORD = "the run folder has no record of what was sent there: an older version made the run, or this is a copy"
OLDER = "they were sent before the run kept a record"
GONE = "the host has no such job, or not for this key: it was deleted, or its time was over, and its ledger with it"
SIDE = (
    "method side makes no call of a training job: its texts went by activations calls or as the file of a features "
    "job, and neither is in a ledger"
)
MODELS = "what was asked of the fine-tuned models later (activations) is in no ledger, and not counted"

What = Literal["differs", "not in the record", "not in the ledger"]
MEANING: Mapping[What, str] = {
    "differs": "differs: the host lists a call with another hash or size than the run recorded. Something changed it "
    "on its way, or one of the two records was changed later.",
    "not in the record": "not in the record: the host lists a call that this run does not know. Somebody else with a "
    "key of the project sent it to the run's job, or the run's record has lost lines.",
    "not in the ledger": "not in the ledger: the host answered a call that it does not list. Its ledger is not "
    "complete: it was changed, or the host was restored from a backup.",
}


@dataclass(frozen=True)
class Difference:
    """One call on which the run and a host do not agree. `sent_*` is the run's side, `listed_*` the host's."""

    what: What
    kind: str
    """Of the call: forward, evaluate, backward and so on."""
    seq: int | None
    sent_bytes: int | None = None
    sent_sha256: str | None = None
    listed_bytes: int | None = None
    listed_sha256: str | None = None
    listed_at: int | None = None

    def lines(self) -> list[str]:
        """In words, with both hashes."""
        step = "" if self.seq is None else f"seq {self.seq} "
        sent = "nothing" if self.sent_sha256 is None else f"{self.sent_sha256}, {self.sent_bytes} bytes"
        listed = "nothing" if self.listed_sha256 is None else f"{self.listed_sha256}, {self.listed_bytes} bytes"
        return [f"  {step}{self.kind}: {self.what}", f"    sent    {sent}", f"    listed  {listed}"]


@dataclass(frozen=True)
class JobCheck:
    """The calls of one job on one host."""

    host: str
    job: str
    matching: int = 0
    differences: tuple[Difference, ...] = ()
    not_compared: int = 0
    """Calls of which one side is missing."""
    why: str = ""
    """Why they could not be compared."""
    refused: int = 0
    """Attempts that the host refused: no call, and in no ledger."""
    unanswered: int = 0
    """Attempts that nobody answered and the host does not list: they never arrived, or were not taken."""

    @property
    def calls(self) -> int:
        """All that one side or the other knows of."""
        return self.matching + len(self.differences) + self.not_compared

    def lines(self) -> list[str]:
        """What is to be said of it beside the count."""
        found = [line for one in self.differences for line in one.lines()]
        if self.why:
            found.append(f"  {_calls(self.not_compared)} cannot be compared: {self.why}")
        return [f"{self.host}, job {self.job}:", *found] if found else []


@dataclass(frozen=True)
class LedgerCheck:
    """What came of comparing a run's record with the ledgers of its hosts. `print` it, or read its fields."""

    jobs: tuple[JobCheck, ...]
    notes: tuple[str, ...] = ()
    """What is in no ledger at all."""

    @property
    def matching(self) -> int:
        """Calls whose bytes have one SHA-256 on both sides."""
        return sum(job.matching for job in self.jobs)

    @property
    def calls(self) -> int:
        """All that one side or the other knows of."""
        return sum(job.calls for job in self.jobs)

    @property
    def not_compared(self) -> int:
        """Calls of which one side is missing; they are no matches."""
        return sum(job.not_compared for job in self.jobs)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Every call on which the two sides do not agree."""
        return tuple(one for job in self.jobs for one in job.differences)

    @property
    def complete(self) -> bool:
        """Whether everything could be compared."""
        return not any(job.why for job in self.jobs)

    @property
    def agrees(self) -> bool | None:
        """Whether all calls match: nothing differs, and nothing was left out. None where there is no call at all."""
        return self.complete and not self.differences if self.calls or not self.complete else None

    @property
    def hosts(self) -> dict[str, tuple[JobCheck, ...]]:
        """The jobs by host."""
        names = dict.fromkeys(job.host for job in self.jobs)
        return {name: tuple(job for job in self.jobs if job.host == name) for name in names}

    def lines(self) -> list[str]:
        """What differs and what it means, what could not be compared, and the count of each host and of all."""
        found = [line for job in self.jobs for line in job.lines()]
        found += [meaning for what, meaning in MEANING.items() if any(one.what == what for one in self.differences)]
        found += self._attempts()
        found += self.notes
        if not self.jobs:
            return [*found, "no call to compare"]
        return [*found, *(f"{host}: {_count(jobs)}" for host, jobs in self.hosts.items()), _count(self.jobs)]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        hosts = [
            {"host": host, **_counted(jobs), "jobs": [asdict(job) | {"calls": job.calls} for job in jobs]}
            for host, jobs in self.hosts.items()
        ]
        whole = {"agrees": self.agrees, "complete": self.complete, **_counted(self.jobs)}
        return whole | {"hosts": hosts, "notes": list(self.notes)}

    def _attempts(self) -> list[str]:
        refused, unanswered = (sum(getattr(job, name) for job in self.jobs) for name in ("refused", "unanswered"))
        found = [f"{_attempted(refused)} refused by the host, which lists none of those"] if refused else []
        if unanswered:
            found.append(f"{_attempted(unanswered)} not answered, and the host lists none of those: it took none (yet)")
        return found


def _counted(jobs: Sequence[JobCheck]) -> dict[str, int]:
    differing = sum(len(job.differences) for job in jobs)
    counts = {"calls": sum(job.calls for job in jobs), "matching": sum(job.matching for job in jobs)}
    return counts | {"differing": differing, "not_compared": sum(job.not_compared for job in jobs)}


def _count(jobs: Sequence[JobCheck]) -> str:
    found = _counted(jobs)
    rest = [f"{found['differing']} do not agree"] if found["differing"] else []
    rest += [f"{found['not_compared']} could not be compared"] if found["not_compared"] else []
    return "; ".join([f"{found['matching']} of {_calls(found['calls'])} match by SHA-256", *rest])


def _calls(count: int) -> str:
    return f"{count} call" if count == 1 else f"{count} calls"


def _attempted(count: int) -> str:
    return "1 attempt was" if count == 1 else f"{count} attempts were"


# Of a run folder.


def verify_ledgers(folder: RunFolder, clients: Sequence[Client]) -> LedgerCheck:
    """Compare a run folder's record with the ledgers of its hosts, for which there is a client each, in their order.

    Of method auto every candidate's.
    """
    jobs: list[JobCheck] = []
    notes: list[str] = []
    for one in runs_in(folder):
        about = one.about() or {}
        jobs += _of_run(one, about, clients)
        notes += unlisted(about)
    return LedgerCheck(tuple(jobs), tuple(dict.fromkeys(notes)))


def run_jobs(folder: RunFolder) -> list[tuple[int, str]]:
    """Number of the host and id of every job that a run folder knows of, of method auto those of every candidate."""
    return [pair for one in runs_in(folder) for pair in _jobs(one.about() or {}, SentRecord(one).read())]


def runs_in(folder: RunFolder) -> Iterator[RunFolder]:
    """The folder itself; of method auto those of its candidates."""
    about = folder.about()
    if about is None:
        raise RunError(f"{folder.path}: no run here (run.json is missing)")
    if about["settings"]["method"] != "auto":
        yield folder
        return
    for place in sorted(folder.path.glob(f"*/{ABOUT}")):
        yield RunFolder(place.parent)


def _jobs(about: Mapping[str, Any], sent: Sent) -> list[tuple[int, str]]:
    now = [(k, host["job_id"]) for k, host in enumerate(about["hosts"]) if "job_id" in host]
    return list(dict.fromkeys([*sent.jobs, *now]))


def unlisted(about: Mapping[str, Any]) -> list[str]:
    """What of a run is in no ledger, in words."""
    if about["settings"]["method"] == "side":
        return [SIDE]
    if any("fine_tuned_model" in host for host in about["hosts"]):
        return [MODELS]
    return []


def _of_run(folder: RunFolder, about: Mapping[str, Any], clients: Sequence[Client]) -> list[JobCheck]:
    if len(clients) < len(about["hosts"]):
        raise RunError(f"{folder.path}: the run has {len(about['hosts'])} hosts, not {len(clients)}")
    record, found = SentRecord(folder), []
    for host, job in _jobs(about, record.read()):
        must = record.read().of(host, job)
        if not 0 <= host < len(clients):
            found.append(JobCheck(f"host {host}", job, not_compared=_known(must), why="the run has no such host"))
            continue
        client, name = clients[host], clients[host].host
        try:
            listed = list(client.jobs.ledger(job, limit=PAGE))
        except NotFoundError:
            found.append(JobCheck(name, job, not_compared=_known(must), why=GONE))
        except BlindtuneError as error:
            found.append(JobCheck(name, job, not_compared=_known(must), why=f"its ledger was not given: {error}"))
        else:
            may = record.read()
            found.append(compare(name, job, Sides(must, may.of(host, job), listed, may.jobs.get((host, job), False))))
    return found


def _known(attempts: Sequence[Attempt]) -> int:
    """How many calls the attempts are that the host took, as far as the run knows."""
    taken = [attempt.call for attempt in attempts if attempt.taken]
    numbered = {call.seq for call in taken if call.seq is not None}
    return len(numbered) + sum(call.seq is None for call in taken)


# Of one job.


@dataclass(frozen=True)
class Sides:
    """The two sides of one job: `must` are the attempts as they were before the ledger was read, `may` after it."""

    must: Sequence[Attempt]
    may: Sequence[Attempt]
    listed: Sequence[LedgerEntry]
    whole: bool
    """Whether the record has the job from its first call on."""


def compare(host: str, job: str, sides: Sides) -> JobCheck:
    """The calls of one job, one by one."""
    older = 0 if sides.whole else _older_than_the_record(sides)
    known: dict[object, list[Attempt]] = {}
    for attempt in sides.may:
        known.setdefault(_identity(attempt.call), []).append(attempt)
    matching = 0
    extra: list[LedgerEntry] = []
    for entry in sides.listed[older:]:
        same = known.get(_identity(entry))
        if not same:
            extra.append(entry)
            continue
        matching += 1
        if entry.seq is not None:
            same.clear()  # repeats of a numbered call are that call; of the others the host lists each that it did
        else:
            same.remove(next((attempt for attempt in same if attempt.taken), same[0]))
    left = [attempt for attempts in known.values() for attempt in attempts]
    return JobCheck(
        host,
        job,
        matching,
        _differences(extra, _missing(left, sides.must)),
        older,
        "" if not older else OLDER if sides.may else NO_RECORD,
        sum(attempt.refused for attempt in sides.may),
        sum(not attempt.refused and not attempt.taken for attempt in left),
    )


def _older_than_the_record(sides: Sides) -> int:
    """How many entries of the ledger are, where the record begins in the middle of a job."""
    first = min((attempt.call.seq for attempt in sides.may if attempt.call.seq is not None), default=None)
    known = {_identity(attempt.call) for attempt in sides.may}
    for place, entry in enumerate(sides.listed):
        numbered = entry.seq is not None and first is not None and entry.seq >= first
        if numbered or _identity(entry) in known:
            return place
    return len(sides.listed)


def _missing(left: Sequence[Attempt], must: Sequence[Attempt]) -> list[SentCall]:
    """What the host answered and does not list; of a numbered call that was sent again the same bytes once."""
    sure = {attempt.name for attempt in must if attempt.taken}
    found: dict[object, SentCall] = {}
    for attempt in left:
        if attempt.name in sure:
            found[attempt.name if attempt.call.seq is None else _identity(attempt.call)] = attempt.call
    return list(found.values())


def _differences(extra: Sequence[LedgerEntry], missing: Sequence[SentCall]) -> tuple[Difference, ...]:
    """Calls that one side lacks; what both lack of one kind and step is one call that differs."""
    left: dict[object, list[SentCall]] = {}
    for call in missing:
        left.setdefault((call.kind, call.seq), []).append(call)
    found = []
    for entry in extra:
        listed: dict[str, Any] = {"listed_bytes": entry.bytes, "listed_sha256": entry.sha256}
        listed |= {"listed_at": entry.created_at}
        alike = left.get((entry.kind, entry.seq))
        if alike:
            call = alike.pop(0)
            found.append(Difference("differs", entry.kind, entry.seq, call.bytes, call.sha256, **listed))
        else:
            found.append(Difference("not in the record", entry.kind, entry.seq, **listed))
    for call in (call for alike in left.values() for call in alike):
        found.append(Difference("not in the ledger", call.kind, call.seq, call.bytes, call.sha256))
    return tuple(found)


def _identity(call: SentCall | LedgerEntry) -> tuple[str, int | None, int, str]:
    """Kind, step number, size and hash."""
    return call.kind, call.seq, call.bytes, call.sha256
