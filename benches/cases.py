"""What the bench measures: shapes, inputs, cases, and the goal of each comparison.

Owns: the seeds, so that a run can be repeated. Must never: start or time anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from blindtune.arrays import F32, I64, AnyArray

SEED = 20261123
# A batch is the middle one of so many draws, by fill: one long input more or less is not what is measured.
DRAWS = 15
LORA = {"rank": 8, "alpha": 16.0}

BERT_BASE: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}
# 16,776,192 float32 parameters: 64 MiB of weights.
BERT_64MIB: dict[str, Any] = BERT_BASE | {
    "vocab_size": 7616,
    "hidden_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
}

# Word pieces of SST-2's training rows, [CLS] and [SEP] included, and how many of 10,000 rows have so many. Mean 13.3.
SST2_LENGTHS = {
    **dict(zip(range(3, 11), (294, 790, 901, 794, 705, 617, 551, 485), strict=True)),
    **dict(zip(range(11, 21), (438, 393, 358, 317, 290, 264, 247, 225, 204, 191), strict=True)),
    **dict(zip(range(21, 31), (168, 164, 155, 135, 122, 120, 109, 103, 93, 80), strict=True)),
    **dict(zip(range(31, 41), (73, 66, 67, 59, 50, 45, 42, 36, 29, 30), strict=True)),
    **dict(zip(range(41, 51), (29, 23, 22, 19, 13, 12, 13, 11, 8, 6), strict=True)),
    **dict(zip(range(51, 60), (7, 6, 5, 3, 3, 3, 2, 1, 1), strict=True)),
}


@dataclass(frozen=True)
class Side:
    """One way to take a step. `kind` is host or peer; `each` sends one backward call a share number."""

    name: str
    kind: str
    precision: str = "float32"
    settings: Mapping[str, str] = field(default_factory=dict)
    each: bool = False


@dataclass(frozen=True)
class Comparison:
    """`ours` over `theirs`. The goal is the largest ratio of times that is good enough; without one it is reported."""

    ours: str
    theirs: str
    goal: float | None = None


@dataclass(frozen=True)
class Case:
    """One batch at a time, taken by every side in turn. `length` None stands for lengths of SST-2."""

    name: str
    title: str
    rows: int
    length: int | None
    sets: int
    shares: int
    sides: tuple[Side, ...]
    comparisons: tuple[Comparison, ...]
    # Largest relative difference from the first side that a float32 side may have.
    tolerance: float = 1e-4


HOST = Side("host f32", "host")
PEFT = Side("PEFT f32", "peer")
# How much of our float32 is oneDNN: PEFT multiplies by LibTorch's BLAS.
HOST_BLAS = Side("host f32 BLAS", "host", settings={"engine.onednn": "false"})
HOST_BF16 = Side("host bf16", "host", "bfloat16")
PEFT_BF16 = Side("PEFT bf16", "peer", "bfloat16")
RETAINED = Side("retained", "host", each=True)
STATELESS = Side("stateless", "host", settings={"engine.graphs_per_job": "0"}, each=True)

CASES = (
    Case(
        "full-n1m1",
        "full length, 8 x 128 tokens, n=1 m=1",
        *(8, 128, 1, 1),
        (PEFT, HOST, HOST_BLAS, HOST_BF16, PEFT_BF16),
        (
            Comparison("host f32", "PEFT f32", 1.0),
            Comparison("host f32 BLAS", "PEFT f32"),
            Comparison("host bf16", "PEFT f32"),
            Comparison("host bf16", "PEFT bf16"),
        ),
    ),
    Case(
        "glue-n1m1",
        "GLUE lengths, batch 32 of SST-2, n=1 m=1",
        *(32, None, 1, 1),
        (PEFT, HOST, HOST_BLAS, HOST_BF16, PEFT_BF16),
        (
            Comparison("host f32", "PEFT f32", 0.40),
            Comparison("host f32 BLAS", "PEFT f32"),
            Comparison("host bf16", "PEFT f32", 0.25),
            Comparison("host bf16", "PEFT bf16", 0.50),
        ),
    ),
    Case(
        "full-n2m2",
        "full length, 8 x 128 tokens, n=2 m=2",
        *(8, 128, 2, 2),
        (PEFT, HOST),
        (Comparison("host f32", "PEFT f32"),),
    ),
    Case(
        "p3eft-n2m2",
        "P3EFT step, batch 64 of SST-2, n=2 m=2",
        *(64, None, 2, 2),
        (PEFT, HOST),
        (Comparison("host f32", "PEFT f32", 0.40),),
    ),
    Case(
        "retained-n2m2",
        "graphs kept, batch 64 of SST-2, n=2 m=2",
        *(64, None, 2, 2),
        (RETAINED, STATELESS),
        (Comparison("retained", "stateless", 0.60),),
        0.0,
    ),
)

# Jobs at once, each with one short text. Stacked and alone are equal to the bit with oneDNN at one thread (AMD EPYC);
# otherwise larger products round elsewhere, by up to 2.8e-6 on MiniLM, where stacked, alone and PEFT are each 2e-6 from
# float64: which processor runs it decides. Mixed-up rows are off by 1e-2 and more.
JOBS, JOB_TOKENS = 8, 12
CASE_OF_JOBS = Case(
    "jobs-8",
    f"{JOBS} jobs of one text of {JOB_TOKENS} tokens, n=1 m=1; seconds for a step of all {JOBS}",
    *(1, JOB_TOKENS, 1, 1),
    (Side("one by one", "host"), Side("together", "host"), Side("together, unstacked", "host")),
    (Comparison("together", "one by one", 0.67), Comparison("together, unstacked", "one by one")),
    1e-5,
)


@dataclass(frozen=True)
class Batch:
    """Inputs, adapter values and cotangents, the same for every side."""

    ids: tuple[tuple[int, ...], ...]
    theta: tuple[F32, ...]
    shares: Mapping[tuple[int, int], F32]

    @property
    def tokens(self) -> int:
        """Tokens without padding."""
        return sum(map(len, self.ids))

    @property
    def fill(self) -> float:
        """Share of real tokens where each input is padded to the longest."""
        return fill(self.ids)

    @property
    def input_ids(self) -> I64:
        """All ids, one input after the other."""
        return np.concatenate([np.asarray(row, np.int64) for row in self.ids])

    @property
    def lengths(self) -> I64:
        """Tokens of each input."""
        return np.array([len(row) for row in self.ids], np.int64)

    def tensors(self) -> dict[str, AnyArray]:
        """Everything, by the names of the wire."""
        named: dict[str, AnyArray] = {"input_ids": self.input_ids, "lengths": self.lengths}
        named |= {f"theta.{i}": theta for i, theta in enumerate(self.theta)}
        return named | {f"s.{i}.{j}": share for (i, j), share in self.shares.items()}


def fill(ids: Sequence[Sequence[int]]) -> float:
    """Share of real tokens where each input is padded to the longest."""
    lengths = [len(row) for row in ids]
    return sum(lengths) / (len(lengths) * max(lengths))


Draw = Callable[[np.random.Generator, int], Sequence[Sequence[int]]]


def of_length(length: int, vocabulary: int) -> Draw:
    """Random ids, all inputs as long as this."""
    return lambda random, rows: random.integers(1, vocabulary, (rows, length)).tolist()


def like_sst2(vocabulary: int) -> Draw:
    """Random ids with lengths of SST-2, from the list above."""
    lengths = np.array(list(SST2_LENGTHS))
    odds = np.array(list(SST2_LENGTHS.values()), float)

    def draw(random: np.random.Generator, rows: int) -> list[list[int]]:
        drawn = random.choice(lengths, rows, p=odds / odds.sum())
        return [random.integers(1, vocabulary, int(length)).tolist() for length in drawn]

    return draw


def from_texts(texts: Sequence[str], tokenize: Callable[[list[str]], Sequence[Sequence[int]]]) -> Draw:
    """Rows of a data set, drawn without putting back."""

    def draw(random: np.random.Generator, rows: int) -> Sequence[Sequence[int]]:
        return tokenize([texts[place] for place in random.choice(len(texts), rows, replace=False)])

    return draw


def make_batch(draw: Draw, rows: int, counts: tuple[int, int], sizes: tuple[int, int], turn: int) -> Batch:
    """The batch of one round: `counts` are sets and shares, `sizes` adapter parameters P and width H."""
    random = np.random.default_rng([SEED, rows, turn])
    (sets, shares), (parameters, width) = counts, sizes
    drawn = [tuple(tuple(row) for row in draw(random, rows)) for _ in range(DRAWS)]
    ids = sorted(drawn, key=fill)[DRAWS // 2]
    theta = tuple(normal(random, (parameters,), 0.02) for _ in range(sets))
    cotangents = {(i, j): normal(random, (rows, width), 1.0) for i in range(sets) for j in range(shares)}
    return Batch(ids, theta, cotangents)


def normal(random: np.random.Generator, shape: tuple[int, ...], scale: float) -> F32:
    """Normal values in float32."""
    return random.standard_normal(shape, np.float32) * np.float32(scale)
