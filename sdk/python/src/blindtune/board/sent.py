"""What of a run left the house: its own record, what hosts know by it, and whether their ledgers say the same.

Owns: the sums by host and kind of call. Must never: count bytes that were not recorded, or compare hashes by itself;
the code of `blindtune ledger verify` does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..client import Client
from ..training.card_facts import learned_by
from ..training.ledger_check import MEANING as DIFFERS
from ..training.ledger_check import NO_RECORD, runs_in, unlisted, verify_ledgers
from ..training.protection import MEANING, protection_of
from ..training.run_folder import RunFolder
from ..training.run_status import RunStatus
from ..training.sent_record import Attempt, SentRecord
from ..training.settings import Settings

KINDS = {
    "forward": "texts, or numbers of rows, for which the host computes activations",
    "evaluate": "texts, or numbers of rows, to predict and evaluate on",
    "backward": "pieces of a gradient, hidden as the method has it",
    "put_adapter": "new values of the adapters",
    "optim_step": "a step of the host's optimizer",
}
"""What a kind of call carries."""


def sent(place: Path) -> dict[str, Any]:
    """By host and kind of call; and what each host learns of the run, in words."""
    folder = RunFolder(place)
    about, report = folder.about() or {}, folder.read_json("report.json") or {}
    hosts = list(RunStatus.of(place).hosts)
    attempts = list(_attempts(folder))
    name = report.get("protection") or protection_of(about["settings"])
    settings = Settings.from_dict(about["settings"]).resolve(len(hosts))
    learned = (report.get("leak") or {}).get("host_learns") or learned_by(settings, len(hosts))
    fit = report.get("fit") or {}
    body = {
        "hosts": [{"host": host, "kinds": _by_kind(k, attempts)} for k, host in enumerate(hosts)],
        "calls": len(attempts),
        "bytes": sum(one.call.bytes for one in attempts),
        "training_bytes": fit.get("bytes_up", report.get("bytes_up")),
        "learns": list(learned),
        "protection": name,
        "protection_means": MEANING[name],
        "notes": list(dict.fromkeys(note for one in runs_in(folder) for note in unlisted(one.about() or {}))),
    }
    return body | {"no_record": None if attempts or settings.method == "side" else NO_RECORD}


def _attempts(folder: RunFolder) -> Iterator[Attempt]:
    for one in runs_in(folder):
        yield from SentRecord(one).read().attempts


def _by_kind(host: int, attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    """Each attempt left the house, also one that was refused."""
    mine = [one for one in attempts if one.host == host]
    found = []
    for kind in dict.fromkeys(one.call.kind for one in mine):
        of_kind = [one for one in mine if one.call.kind == kind]
        row: dict[str, Any] = {"kind": kind, "carries": KINDS.get(kind, ""), "calls": len(of_kind)}
        row |= {"bytes": sum(one.call.bytes for one in of_kind), "refused": sum(one.refused for one in of_kind)}
        found.append(row | {"unanswered": sum(one.status is None for one in of_kind)})
    return found


def compared(place: Path, clients: Sequence[Client]) -> Mapping[str, Any]:
    """The record against the ledgers of the run's hosts, call by call, by SHA-256."""
    found = verify_ledgers(RunFolder(place), clients)
    kinds = {one.what for one in found.differences}
    means = {what: meaning for what, meaning in DIFFERS.items() if what in kinds}
    return found.to_dict() | {"lines": found.lines(), "means": means}
