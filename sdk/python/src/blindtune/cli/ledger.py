"""`blindtune ledger verify | show`: what hosts were sent, by their ledgers, beside what the run recorded.

Owns: what is shown of ledgers. Must never: call a run verified of which something could not be compared.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import DONE, FAILED, UNMET, ArgumentError
from .groups import Talk
from .hosts import clients
from .jobs import found_job
from .looks import Folder
from .options import Where
from .reading import tell
from .tables import show

if TYPE_CHECKING:
    from ..client import Client
    from ..client.objects import LedgerEntry
    from ..training.run_folder import RunFolder

UNKNOWN = "NOT KNOWN WHETHER THE LEDGERS AGREE: not every call could be compared"
DISAGREE = "THE LEDGERS DO NOT AGREE WITH WHAT THE RUN SENT"


@dataclass(frozen=True, kw_only=True)
class RunOrJob:
    """Whose ledger is shown."""

    run: Annotated[str, typer.Argument(metavar="RUN|JOB", help="a run folder, or the id of a job with --host")]


def verify(folder: Folder, where: Where, talk: Talk) -> int:
    """Compare what a run sent with the ledgers of its hosts, call by call. Exits with 3 where they differ."""
    from ..training.ledger_check import verify_ledgers

    run = _opened(folder.run)
    found = verify_ledgers(run, _clients(run, where))
    lines = found.lines()
    verdict = DISAGREE if found.differences else UNKNOWN if not found.complete else None
    if talk.as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        print("\n".join(lines if verdict is None else [*lines[:-1], verdict, lines[-1]]))
    return UNMET if found.differences else DONE if found.complete else FAILED


def show_ledger(wanted: RunOrJob, where: Where, talk: Talk) -> int:
    """Show what hosts list of a run or a job, with calls and bytes by kind. With --json a list of entries."""
    rows = [row for client, job in _jobs(wanted.run, where) for row in _rows(client, job)]
    show(rows, talk.as_json, "no call in a ledger")
    if rows and not talk.as_json:
        show(_totals(rows), False)
    return DONE


def _opened(place: Path) -> RunFolder:
    """A run folder; none is made."""
    from ..errors import RunError
    from ..training.run_folder import RunFolder

    if not place.is_dir():
        raise RunError(f"{place}: no run here (run.json is missing)")
    return RunFolder(place)


def _clients(run: RunFolder, where: Where) -> list[Client]:
    """Of the hosts that were named, else of the run's."""
    known = [str(host["url"]) for host in (run.about() or {}).get("hosts", ())]
    if where.hosts and len(where.hosts) != len(known):
        raise ArgumentError(f"--host: the run has {len(known)} hosts, not {len(where.hosts)}; name all, in their order")
    return clients(where if where.hosts else replace(where, host=known))


def _jobs(wanted: str, where: Where) -> list[tuple[Client, str]]:
    if not Path(wanted).is_dir():
        client, _ = found_job(where, wanted)
        return [(client, wanted)]
    from ..training.ledger_check import run_jobs

    run = _opened(Path(wanted))
    hosts = _clients(run, where)
    return [(hosts[k], job) for k, job in run_jobs(run) if 0 <= k < len(hosts)]


def _rows(client: Client, job: str) -> list[dict[str, Any]]:
    from ..errors import NotFoundError
    from ..training.ledger_check import GONE, PAGE

    try:
        return [_row(client, job, entry) for entry in client.jobs.ledger(job, limit=PAGE)]
    except NotFoundError:
        tell(f"{client.host}, job {job}: {GONE}")
        return []


def _row(client: Client, job: str, entry: LedgerEntry) -> dict[str, Any]:
    return {
        "host": client.host,
        "job": job,
        "seq": entry.seq,
        "kind": entry.kind,
        "bytes": entry.bytes,
        "created_at": entry.created_at,
        "tensors": {str(tensor["name"]): tensor["shape"] for tensor in entry.tensors},
        "sha256": entry.sha256,
    }


def _totals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls and bytes of each kind, and of all."""
    kinds = dict.fromkeys(row["kind"] for row in rows)
    parts = {kind: [row["bytes"] for row in rows if row["kind"] == kind] for kind in kinds}
    parts |= {"all": [row["bytes"] for row in rows]}
    return [{"kind": kind, "calls": len(sizes), "bytes": sum(sizes)} for kind, sizes in parts.items()]
