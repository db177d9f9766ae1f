"""`blindtune card`: a run as a model card.

Owns: where it is written. Must never: overwrite what somebody may have added to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .failures import DONE, ArgumentError
from .groups import Talk
from .looks import Folder
from .reading import tell


@dataclass(frozen=True, kw_only=True)
class Written:
    """Where the card goes, and what is in it."""

    out: Annotated[Path | None, typer.Option(metavar="FILE", help="write it here; else it is printed")] = None
    force: Annotated[bool, typer.Option("--force", help="replace a file that is there")] = False
    with_label_names: Annotated[
        bool, typer.Option("--with-label-names", help="name the labels; else they are numbered")
    ] = False


def card(folder: Folder, written: Written, talk: Talk) -> int:
    """Print a model card of a finished run: method, scores, protection, leak and limits, in words. Asks no host."""
    if written.out is not None and written.out.exists() and not written.force:
        raise ArgumentError(f"--out {written.out}: already there; --force replaces it, with what you added to it")
    from ..training.card_facts import of_folder
    from ..training.model_card import model_card

    text = model_card(of_folder(folder.run), written.with_label_names)
    if written.out is not None:
        written.out.write_text(text, encoding="utf-8")
        tell(f"model card written to {written.out}")
    elif talk.as_json:
        print(json.dumps({"card": text}, ensure_ascii=False))
    else:
        print(text, end="")
    return DONE
