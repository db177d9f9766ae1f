"""Made notes with names, doses and dates: drawn word by word from a seed, of nothing that anybody wrote.

Names are made of syllables, so that fresh notes have names that no training note has; numbers are also rooms, beds and
pulses, and some words are names here and verbs there, so that a word by itself does not tell.
"""

from __future__ import annotations

import numpy as np

from blindtune.data import Dataset, Span

STARTS = [
    "bren",
    "cal",
    "dor",
    "el",
    "fal",
    "gar",
    "hol",
    "jor",
    "kel",
    "lan",
    "mar",
    "nor",
    "os",
    "per",
    "ral",
    "sten",
]
ENDS = ["da", "dell", "den", "ford", "ia", "ick", "ina", "lan", "ley", "man", "mund", "ney", "ra", "son", "ter", "wyn"]
VERBS = ["will", "may", "grant", "mark", "grace", "sue"]
"""Names here, and common words elsewhere."""
DRUGS = ["aspirin", "insulin", "morphine", "heparin", "ibuprofen", "warfarin"]
UNITS = ["mg", "ml", "units", "mcg", "g"]
MONTHS = ["january", "february", "march", "april", "june", "july", "august", "october"]
PLACES = ["room", "bed", "ward", "page", "line"]
SIGNS = ["pulse", "weight", "age", "score", "rate"]


class Note:
    """Words and the spans among them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.text = rng, ""
        self.spans: list[Span] = []

    def say(self, words: str, label: str | None = None) -> Note:
        start = len(self.text) + bool(self.text)
        self.text = f"{self.text} {words}".strip()
        if label is not None:
            self.spans.append(Span(start, start + len(words), label))
        return self

    def pick(self, words: list[str]) -> str:
        return str(self.rng.choice(words))

    def name(self) -> Note:
        first = self.pick(VERBS) if self.rng.random() < 0.25 else self.pick(STARTS) + self.pick(ENDS)
        last = f" {self.pick(STARTS)}{self.pick(ENDS)}" if self.rng.random() < 0.5 else ""
        return self.say(first + last, "NAME")

    def dose(self) -> Note:
        amount = self.rng.choice([f"{self.rng.integers(1, 900)}", f"{self.rng.random() * 9:.1f}"])
        often = self.pick(["", "", " twice daily", " at night"])
        return self.say(f"{amount} {self.pick(UNITS)}{often}", "DOSE")

    def date(self) -> Note:
        day, month, year = self.rng.integers(1, 29), self.rng.integers(1, 13), self.rng.integers(1990, 2030)
        forms = [f"{day} {self.pick(MONTHS)} {year}", f"{day:02d}/{month:02d}/{year}", f"{self.pick(MONTHS)} {day}"]
        return self.say(self.pick(forms), "DATE")

    def number(self) -> Note:
        return self.say(f"{self.pick(PLACES + SIGNS)} {self.rng.integers(1, 900)}")


def _admitted(note: Note) -> None:
    note.say("patient").name().say("was admitted on").date().say("to").number()


def _given(note: Note) -> None:
    note.say("gave").dose().say("of").say(note.pick(DRUGS)).say("to").name().say("in").number()


def _reviewed(note: Note) -> None:
    note.name().say("reviewed the chart ,").number().say("; next visit").date()


def _plain(note: Note) -> None:
    note.say("we").say(note.pick(VERBS[:4])).say("see the patient again , with").number().say("and").number()


def _stopped(note: Note) -> None:
    note.say(note.pick(DRUGS)).say("was stopped by").name().say("after").dose().say("since").date()


SENTENCES = (_admitted, _given, _reviewed, _plain, _stopped)


def notes(count: int, seed: int = 0) -> Dataset:
    """One or two sentences a note."""
    rng = np.random.default_rng(seed)
    made = [Note(rng) for _ in range(count)]
    for note in made:
        for _ in range(rng.integers(1, 3)):
            SENTENCES[rng.integers(len(SENTENCES))](note)
            note.say(".")
    return Dataset.from_lists(
        [note.text for note in made], [note.spans for note in made], ("DATE", "DOSE", "NAME"), task="tokens"
    )
