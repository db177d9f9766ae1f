"""Made-up notes of a clinic's telephone desk with a private label: does the patient have the complaint now?

Owns: the words, the patterns and the draw; one seed gives one corpus, byte for byte. Must never: copy text from
anywhere, or put a label into a text. Every pattern has a twin with nearly the same words and the opposite label
(negation, contrast, whose complaint it is, order in time, hedges, double negation), so that counting words does
little: a note has to be understood.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SEED = 20241222
TRAIN_ROWS = 4000
DEV_ROWS = 2000
LABEL_NOISE = 0.03
LABEL_NAMES = ("no", "yes")
CLOSING_SHARE = 0.5

COMPLAINTS = (
    "a dry cough",
    "chest pain",
    "a sore throat",
    "back pain",
    "dizziness",
    "a skin rash",
    "knee pain",
    "migraine",
    "stomach cramps",
    "a blocked nose",
    "heartburn",
    "ear pain",
    "nausea",
    "a stiff neck",
    "hip pain",
    "blurred vision",
    "night sweats",
    "swollen ankles",
    "short breath",
    "a toothache",
    "joint pain",
    "a runny nose",
    "itchy eyes",
    "muscle cramps",
    "a high temperature",
    "a racing heart",
    "tingling fingers",
    "a hoarse voice",
    "constipation",
    "hives",
    "eczema",
    "shoulder pain",
    "bleeding gums",
    "a twisted wrist",
    "sinus pressure",
    "poor sleep",
    "fatigue",
    "ringing ears",
    "a swollen gland",
    "leg cramps",
    "vertigo",
    "a burning feeling",
    "shivers",
    "a sore hip",
    "wheezing",
)
RELATIVES = (
    "husband",
    "wife",
    "son",
    "daughter",
    "sister",
    "brother",
    "mother",
    "father",
    "neighbour",
    "uncle",
    "aunt",
    "cousin",
    "flatmate",
    "colleague",
    "grandson",
    "niece",
    "nephew",
    "grandmother",
)
PAST = (
    "last week",
    "in March",
    "over Easter",
    "on Monday",
    "two weeks ago",
    "during the holidays",
    "in the autumn",
    "after the flight",
    "last month",
    "at the weekend",
    "before the move",
    "in spring",
    "on the trip",
    "after the exam",
)
NOW = ("today", "this morning", "since lunch", "right now", "at present", "tonight", "this week", "at the moment")
OPENINGS = (
    "Caller",
    "Patient",
    "New patient",
    "Walk-in",
    "Student",
    "Retired teacher",
    "Bus driver",
    "Young man",
    "Baker",
    "Elderly lady",
    "Gardener",
    "Office worker",
    "Nurse",
    "Farmer",
    "Waiter",
    "Tourist",
    "Mechanic",
    "Pianist",
)
CLOSINGS = (
    "wants a morning slot",
    "insurance unchanged",
    "will send the form",
    "asks for a receipt",
    "prefers e-mail",
    "lives near the station",
    "moved house recently",
    "needs an interpreter",
    "speaks quietly",
    "card on file",
    "parking was full",
    "line was bad",
    "will ring again",
    "asks about the bill",
    "prefers Dr Lang",
    "no allergies known",
)

PATTERNS: tuple[tuple[str, str], ...] = (
    # (label yes, label no): negation
    ("{who} reports {c} {now}", "{who} reports no {bare} {now}"),
    ("{who} rings because of {c} {now}", "{who} rings, not because of {c} {now}"),
    # contrast and order in time
    ("{who} was well {past} but has {c} {now}", "{who} had {c} {past} but is well {now}"),
    # whose complaint it is
    ("{who} has {c}, the {rel} is fine", "{who} is fine, the {rel} has {c}"),
    # hedges and expectations
    ("{who} hoped to avoid {bare} {past}, without luck", "{who} feared {bare} {past}, without reason"),
    ("{who} was told to expect {c}, and it did come", "{who} was told to expect {c}, and it did not come"),
    # double negation
    ("{who} would not say that {bare} is gone", "{who} would say that {bare} is gone"),
    ("{who} does not deny {bare} {now}", "{who} does deny {bare} {now}"),
    ("{who} is not free of {bare} {now}", "{who} is free of {bare} {now}"),
)


@dataclass(frozen=True)
class Note:
    """One text, and the label that stays at home (an index into LABEL_NAMES)."""

    text: str
    label: int


@dataclass(frozen=True)
class Corpus:
    """Texts of `train` and `dev` do not overlap."""

    train: tuple[Note, ...]
    dev: tuple[Note, ...]

    def sha256(self) -> str:
        """Names texts and labels in one line."""
        lines = [f"{note.text}\t{note.label}" for note in (*self.train, *self.dev)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def make_corpus(seed: int = SEED, train_rows: int = TRAIN_ROWS, dev_rows: int = DEV_ROWS) -> Corpus:
    """Both halves of both sizes come in balanced pairs of labels before the noise."""
    draw = _Draw(seed)
    notes = _distinct_notes(draw)
    rows = [next(notes) for _ in range(train_rows + dev_rows)]
    return Corpus(tuple(rows[:train_rows]), tuple(rows[train_rows:]))


class _Draw:
    """Choices that depend on `random()` alone, whose sequence Python promises to keep for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def one(self, items: Sequence[str]) -> str:
        return items[int(self._random.random() * len(items))]

    def pattern(self, label: int) -> str:
        yes, no = PATTERNS[int(self._random.random() * len(PATTERNS))]
        return yes if label else no


def _distinct_notes(draw: _Draw) -> Iterator[Note]:
    seen: set[str] = set()
    label = 0
    while True:
        text = _text(draw, draw.pattern(label))
        if text in seen:
            continue
        seen.add(text)
        yield Note(text, 1 - label if draw.chance(LABEL_NOISE) else label)
        label = 1 - label


def _text(draw: _Draw, pattern: str) -> str:
    complaint = draw.one(COMPLAINTS)
    words = {
        "who": draw.one(OPENINGS),
        "c": complaint,
        "bare": complaint.removeprefix("a "),
        "rel": draw.one(RELATIVES),
        "past": draw.one(PAST),
        "now": draw.one(NOW),
    }
    text = pattern.format_map(words)
    closing = f"; {draw.one(CLOSINGS)}" if draw.chance(CLOSING_SHARE) else ""
    return f"{text[0].upper()}{text[1:]}{closing}."
