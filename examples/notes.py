"""Made-up notes of a telephone desk for the examples here: does the caller have the complaint now?

Owns: the words. Must never: copy text from anywhere. `examples/demo` has a harder corpus.
"""

from __future__ import annotations

import random

CALLERS = ("the baker", "a student", "the neighbour", "a retired nurse", "the bus driver", "a new patient")
COMPLAINTS = ("back pain", "a dry cough", "dizziness", "an itchy rash", "stomach cramps", "a stiff neck")
NOW = ("still has {} today", "reports {} since lunch", "cannot sleep because of {}", "was well, now has {}")
OVER = ("had {} and is well again", "no longer has {}", "reports that {} is gone", "slept well, {} has passed")
LABELS = ("well", "ill")


def make_notes(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """`count` notes, and their labels: indices into LABELS, about half of each."""
    draw = random.Random(seed)
    texts, labels = [], []
    for _ in range(count):
        label = draw.randrange(2)
        said = draw.choice(NOW if label else OVER).format(draw.choice(COMPLAINTS))
        texts.append(f"{draw.choice(CALLERS).capitalize()} {said}, call {draw.randrange(1000)}.")
        labels.append(label)
    return texts, labels
