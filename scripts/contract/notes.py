"""Which changes of the contract the changelog tells.

Owns: what a note is: an entry of *Unreleased* under a heading that fits, with the operation or schema in backquotes.
Must never: read a file, or judge whether a change breaks anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from .operations import Change

TELLING = ("Changed", "Deprecated", "Removed")


def notes(changelog: str) -> dict[str, set[str]]:
    """What stands in backquotes in *Unreleased*, by heading."""
    unreleased = re.search(r"^## Unreleased\n(.*?)(?=^## |\Z)", changelog, flags=re.DOTALL | re.MULTILINE)
    headings = re.split(r"^### (.+)\n", unreleased[1] if unreleased else "", flags=re.MULTILINE)[1:]
    found: dict[str, set[str]] = {}
    for heading, text in zip(headings[::2], headings[1::2], strict=True):
        found.setdefault(heading.strip(), set()).update(re.findall(r"`([^`]+)`", text))
    return found


def is_told(change: Change, told: Mapping[str, set[str]]) -> bool:
    """Whether a note names it: as `create_job`, `POST /v1/jobs`, `JobObject` or `JobObject.status`."""
    headings = TELLING[1:2] if change.deprecated else TELLING
    words = {word for heading in headings for word in told.get(heading, ())}
    return any(word == name or word.startswith(f"{name}.") for word in words for name in change.names)


def refusal(untold: Iterable[Change], version: str) -> str:
    """What is wrong and what to do about it, place by place; empty where nothing is."""
    by_place: dict[str, list[Change]] = {}
    for change in untold:
        by_place.setdefault(change.place, []).append(change)
    if not by_place:
        return ""
    return "\n".join(
        [
            f"openapi.yaml breaks clients of {version}, or deprecates something, and CHANGELOG.md does not say so:",
            "",
            *(_paragraph(place, found) for place, found in by_place.items()),
            "",
            "Take the change back, or say in CHANGELOG.md, Unreleased, what changed and what a client has to do, with",
            "the schema or the operation in backquotes. docs/releasing.md has the rules.",
        ]
    )


def _paragraph(place: str, found: Sequence[Change]) -> str:
    first = found[0]
    called = f" ({', '.join(first.operations[:4])}{', ...' if len(first.operations) > 4 else ''})"
    headings = "Deprecated" if first.deprecated else "Changed, Deprecated or Removed"
    names = sorted(first.names - set(first.operations), key=lambda name: ("/" in name, " " in name, name))
    return (
        f"- {place}{called if first.operations else ''}: {'; '.join(change.what for change in found)}.\n"
        f"  No note under {headings} names {' or '.join(f'`{name}`' for name in names[:3])}."
    )
