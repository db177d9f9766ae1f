"""Tier 2: what the shares of a gradient give away to the host that holds them.

Owns: recombination (shortest, lowest rank), averaging over epochs, and the comparison of steps, sets and texts with
what the shares span. Must never: use a label, alpha, or a share that went to another host. The algebra is in
recombine.py. A gradient at the cut is nearly a product d v^T: the sign of d is the label.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import kurtosis

from ..arrays import F32, F64, I64
from . import enumeration, exploit, support
from .recombine import (
    Mixture,
    aligned_average,
    combine_shares,
    consistent,
    left_vectors,
    lowest_rank,
    predictable,
    shared_direction,
)
from .recorder import Seen, SeenForward
from .score import Guess, evaluate
from .tier0 import clusters_of, sample_rows
from .tier0 import guesses as tier0_guesses
from .tier1 import independent
from .views import View, generalized, leading, whitener

FEATURES = 64
AGREEMENT = 1e-2
REPEATED = 400
"""Rows that must have come at least twice before steps are joined over epochs. The standard error of an AUC over n rows
is 1 / sqrt(3 n), 0.029 here; on 70 rows such attacks read up to 0.67 from pure noise."""

ONE = "the host looks at one share by itself, and knows no label"
BATCH = "the host looks at one batch at a time and learns its labels up to a swap"
ALL = "the host combines all shares it holds of one gradient; it learns the labels of a batch up to a swap"
TEXTS = "the host combines all shares it holds and compares them with its own activations of the same texts"
SETS = "the host compares what the shares of different adapter sets have in common, batch by batch"
LABELLINGS = "the host tries all labels of eight rows at a time against the gradient it was sent (LEA)"
SURROGATE = "the host fits a head and labels of its own to the gradients it was sent (ExPLoit); knows class frequencies"
EPOCHS = "the host joins what it was sent for the same rows in different epochs"
ORACLE = "somebody who knows the labels tells the host which of the separated parts is the gradient: an upper bound"


@dataclass(frozen=True)
class SentStep:
    """One step's gradients as they left: `hosts[k][(i, j)]` is share j of set i [B, H] as host k got it; labels [B]."""

    hosts: tuple[Mapping[tuple[int, int], F32], ...]
    labels: I64


@dataclass(frozen=True)
class Step:
    """One step at one host: rows [B], shares (set, share) -> [B, H], and its own activations as features [B, F]."""

    rows: I64
    shares: Mapping[tuple[int, int], F32]
    features: F64 | None = None
    activations: Mapping[int, F32] = field(default_factory=dict)
    """h_i [B, H] of the sets that this host ran."""


def steps_of(seen: Seen, host: int, quick: bool = False) -> list[Step]:
    """The steps at one host whose forward is on record; features are the leading components of its activations, which
    quick attacks do without."""
    pairs = [(seen.forward_of(b), b.shares) for b in seen.backwards if b.host == host]
    known = [
        (forward, {pair: s.reshape(len(s), -1) for pair, s in shares.items()})
        for forward, shares in pairs
        if forward is not None and all(len(s) == len(forward.rows) for s in shares.values())
    ]
    features = None if quick else _features([forward for forward, _ in known])
    if features is None:
        return [Step(forward.rows, shares, None, forward.activations) for forward, shares in known]
    cuts = np.cumsum([len(forward.rows) for forward, _ in known])[:-1]
    return [Step(f.rows, s, z, f.activations) for (f, s), z in zip(known, np.split(features, cuts), strict=True)]


def steps_by_host(seen: Seen, quick: bool = False) -> dict[int, list[Step]]:
    """`steps_of` every host. Hosts that computed the same activations of the same rows share their features."""
    found: dict[int, list[Step]] = {}
    for host in seen.hosts:
        bare = steps_of(seen, host, quick=True)
        twin = next((other for other in found.values() if _alike(bare, other)), None)
        if quick or twin is None:
            found[host] = bare if quick else steps_of(seen, host)
        else:
            found[host] = [replace(step, features=like.features) for step, like in zip(bare, twin, strict=True)]
    return found


def _alike(steps: Sequence[Step], others: Sequence[Step]) -> bool:
    """Whether two hosts computed the same, up to their kernels' rounding."""
    if len(steps) != len(others) or not steps:
        return False
    return all(
        np.array_equal(a.rows, b.rows)
        and a.activations.keys() == b.activations.keys()
        and all(np.linalg.norm(h - b.activations[i]) <= AGREEMENT * np.linalg.norm(h) for i, h in a.activations.items())
        for a, b in zip(steps, others, strict=True)
    )


def guesses(steps: Sequence[Step], host: int, classes: int, quick: bool = False) -> Iterator[Guess]:
    """All attacks of one host on the shares it was sent, named `host{k}/set{i}...`. `quick`: only those of single
    shares, and the shortest combination."""
    if not steps:
        return
    yield from _Host(steps, f"host{host}", classes).guesses(quick)


def gradient_attacks(steps: Sequence[SentStep], classes: int) -> dict[str, float]:
    """Attacks on the gradients as every host got them, by name: tiers 0 and 2, those that need no text."""
    found: dict[str, float] = {}
    if not steps:
        return found
    labels = np.concatenate([step.labels for step in steps])
    starts = np.cumsum([0, *(len(step.labels) for step in steps)])
    for k in range(len(steps[0].hosts)):
        mine = [
            Step(np.arange(start, start + len(step.labels)), step.hosts[k])
            for start, step in zip(starts, steps, strict=False)
        ]
        findings = (evaluate(guess, labels, classes, resamples=0) for guess in guesses(mine, k, classes))
        found.update({f.attack: f.score for f in findings if f is not None and not f.picked_with_labels})
    return found


def batchwise_leak(tensors: Sequence[F32], labels: Sequence[I64], classes: int) -> float:
    """Attack each batch by itself and average, corrected for what the same attack finds on shuffled labels."""
    steps = [Step(np.arange(len(y)), {(0, 0): x}) for x, y in zip(tensors, labels, strict=True) if np.any(x)]
    kept = [y for x, y in zip(tensors, labels, strict=True) if np.any(x)]
    if not steps:
        return 1.0 / classes
    host = _Host(steps, "", classes)
    guess = host.by_batch([_principal(x.shares[(0, 0)], classes) for x in steps], "batchwise", BATCH)
    finding = evaluate(replace(guess, rows=None), np.concatenate(kept), classes, resamples=0)
    return 1.0 / classes if finding is None else finding.score


class _Host:
    """The steps of one host, and how what it finds in each becomes a guess."""

    def __init__(self, steps: Sequence[Step], name: str, classes: int) -> None:
        self.steps, self.name, self.classes = steps, name, classes
        self.rows = np.concatenate([step.rows for step in steps])
        self.batches = np.repeat(np.arange(len(steps)), [len(step.rows) for step in steps])
        self.wanted = classes - 1
        self.pairs = sorted(set.intersection(*({*step.shares} for step in steps)))

    def guesses(self, quick: bool) -> Iterator[Guess]:
        """Share by share, set by set, and all sets together."""
        for pair in self.pairs:
            yield from self.on_share(pair, quick)
        spaces: list[list[F64]] = []
        for i in sorted({i for i, _ in self.pairs}):
            together = [[step.shares[pair] for pair in self.pairs if pair[0] == i] for step in self.steps]
            if len(together[0]) > 1:
                combined = [combine_shares(shares) for shares in together]
                shortest = [_principal(x, self.classes) for x in combined]
                yield self.by_batch(shortest, f"set{i}.combined/batchwise", ALL)
                yield from self.surrogates(combined, i, f"set{i}.combined", quick)
            if not quick:
                mixtures = [Mixture.of(shares) for shares in together]
                spaces.append([m.left for m in mixtures])
                yield from self.on_set(mixtures, f"set{i}")
        if len(spaces) > 1:
            shared = [shared_direction(lefts, self.wanted) for lefts in zip(*spaces, strict=True)]
            yield self.by_batch(shared, "sets/shared-direction", SETS)
            everything = [np.linalg.qr(np.concatenate(lefts, axis=1))[0] for lefts in zip(*spaces, strict=True)]
            yield from self.across(everything, shared, "sets")

    def on_share(self, pair: tuple[int, int], quick: bool) -> Iterator[Guess]:
        """One share by itself: the authors' attacks on all steps at once, each batch alone, averages over epochs."""
        name = f"set{pair[0]}.share{pair[1]}"
        shares = [step.shares[pair].reshape(len(step.rows), -1) for step in self.steps]
        some = sample_rows(len(self.rows))
        view = View(f"{self.name}/{name}", "gradients", np.concatenate(shares)[some].astype(np.float64))
        for guess in tier0_guesses(view, self.classes, quick):
            yield replace(guess, rows=self.rows[some], assumption=ONE)
        yield self.by_batch([_principal(s, self.classes) for s in shares], f"{name}/batchwise", BATCH)
        yield from support.guesses(f"{self.name}/{name}", shares, [step.rows for step in self.steps])
        yield from self.surrogates(shares, pair[0], name, quick)
        averaged = None if quick else aligned_average(shares, [step.rows for step in self.steps])
        if averaged is not None and len(averaged[0]) >= REPEATED:
            found = leading(averaged[1], max(1, self.wanted))
            yield self._guess(found, f"{name}/averaged", EPOCHS, rows=averaged[0])

    def surrogates(self, tensors: Sequence[F32], adapter_set: int, name: str, quick: bool) -> Iterator[Guess]:
        """Label enumeration and ExPLoit on what may be the gradient of one set, [B, D] in each step; the last steps."""
        if self.classes == 2:
            kept = self._last(enumeration.QUICK_ROWS if quick else enumeration.ROWS)
            scores = [enumeration.label_scores(tensors[t]) for t in kept]
            yield self._by_batch_of(kept, np.concatenate(scores), f"{name}/enumeration", LABELLINGS)
        kept = self._last(exploit.QUICK_ROWS if quick else exploit.ROWS)
        known = [self.steps[t].activations.get(adapter_set) for t in kept]
        mine = [h.reshape(len(h), -1) for h in known if h is not None]
        wanted = [tensors[t] for t in kept]
        if [h.shape for h in mine] == [x.shape for x in wanted]:
            fits = exploit.fit(mine, wanted, self.classes, quick)
            yield self._by_batch_of(kept, fits[0].labels, f"{name}/exploit", SURROGATE)

    def _last(self, rows: int) -> list[int]:
        """The last steps that have `rows` rows together, at least one."""
        kept: list[int] = []
        for t in reversed(range(len(self.steps))):
            if kept and sum(len(self.steps[k].rows) for k in (*kept, t)) > rows:
                break
            kept.insert(0, t)
        return kept

    def _by_batch_of(self, kept: Sequence[int], found: F64, name: str, assumption: str) -> Guess:
        """A guess for some of the steps, up to a swap in each: scores [N, 1], or of every class [N, C]."""
        rows = np.concatenate([self.steps[t].rows for t in kept])
        batches = np.repeat(np.arange(len(kept)), [len(self.steps[t].rows) for t in kept])
        attack_name = f"{self.name}/{name}"
        if self.classes == 2:
            return Guess(2, "gradients", attack_name, assumption, found[:, -1:], batches=batches, rows=rows)
        clusters = found.argmax(axis=1).astype(np.int64)
        return Guess(2, "gradients", attack_name, assumption, clusters=clusters, batches=batches, rows=rows)

    def on_set(self, mixtures: Sequence[Mixture], name: str) -> Iterator[Guess]:
        """Everything one host can combine of one adapter set."""
        if len(mixtures[0].whitened) > 1:
            flat = [left_vectors(_centred(lowest_rank(m)), self.wanted) for m in mixtures]
            yield self.by_batch(flat, f"{name}/lowest-rank", ALL)
            yield from self.sources([m.left[:, :-1] for m in mixtures], name)
        else:
            flat = [m.left[:, : self.wanted] for m in mixtures]
        yield from self.across([m.left for m in mixtures], flat, name)

    def sources(self, spaces: Sequence[F64], name: str) -> Iterator[Guess]:
        """The parts of the mixture as independent components, batch by batch; picked by kurtosis, or by the labels.

        A gradient late in training has few large rows (the mistakes), early in training two heaps.
        """
        if self.classes > 2:
            return
        found = [independent(space, space.shape[1]) for space in spaces]
        count = min(0 if x is None else x.shape[1] for x in found)
        if count < 2:
            return
        ordered = [x[:, np.argsort(kurtosis(x), kind="stable")][:, :count] for x in found if x is not None]
        yield self.by_batch([x[:, :1] for x in ordered], f"{name}/sources-flattest", ALL)
        yield self.by_batch([x[:, -1:] for x in ordered], f"{name}/sources-most-peaked", ALL)
        scores = np.concatenate(ordered)
        attack_name = f"{self.name}/{name}/sources-any"
        yield Guess(2, "gradients", attack_name, ORACLE, scores, batches=self.batches, rows=self.rows, oracle=True)

    def across(self, spaces: Sequence[F64], flat: Sequence[F64], name: str) -> Iterator[Guess]:
        """What joins the steps, so that the sign is the same in all: the texts, and rows that came again.

        `spaces` [B, r] are what the shares of each step span, `flat` [B, C - 1] the best single guess in each.
        """
        features = [step.features for step in self.steps if step.features is not None]
        if len(features) == len(self.steps):
            for about, bases in (("span", spaces), ("best", [_orthonormal(x) for x in flat])):
                inside, predicted = predictable(bases, features, self.wanted)
                yield self._guess(np.concatenate(inside), f"{name}/texts-{about}", TEXTS, rows=self.rows)
                if about == "span" and self.classes == 2:
                    nearest = [_nearest(q, p[:, 0]) for q, p in zip(spaces, predicted, strict=True)]
                    yield self._guess(np.concatenate(nearest), f"{name}/texts-source", TEXTS, rows=self.rows)
                    yield from self._oracle(bases, features, name)
        agreed = consistent(spaces, [step.rows for step in self.steps], max(4, self.wanted))
        if agreed is not None and len(agreed[0]) >= REPEATED:
            yield self._guess(agreed[1][:, : self.wanted], f"{name}/epochs", EPOCHS, rows=agreed[0])
            if self.classes == 2:
                oracle = f"{self.name}/{name}/epochs-any"
                yield Guess(2, "gradients", oracle, ORACLE, agreed[1], rows=agreed[0], oracle=True)

    def _oracle(self, bases: Sequence[F64], features: Sequence[F64], name: str) -> Iterator[Guess]:
        several = np.concatenate(predictable(bases, features, min(4, features[0].shape[1]))[0])
        yield Guess(2, "gradients", f"{self.name}/{name}/texts-any", ORACLE, several, rows=self.rows, oracle=True)

    def by_batch(self, found: Sequence[F64], name: str, assumption: str) -> Guess:
        """A guess [B, C - 1] for each step that says nothing about other steps."""
        attack_name = f"{self.name}/{name}"
        if self.classes == 2:
            scores = np.concatenate([x[:, :1] for x in found])
            return Guess(2, "gradients", attack_name, assumption, scores, batches=self.batches, rows=self.rows)
        clusters = np.concatenate([clusters_of(_directions(x), self.classes, 4) for x in found])
        return Guess(2, "gradients", attack_name, assumption, clusters=clusters, batches=self.batches, rows=self.rows)

    def _guess(self, found: F64, name: str, assumption: str, rows: I64) -> Guess:
        """A guess [N, C - 1] that is the same for all steps."""
        attack_name = f"{self.name}/{name}"
        if self.classes == 2:
            return Guess(2, "gradients", attack_name, assumption, found[:, :1], rows=rows)
        clusters = clusters_of(_directions(found), self.classes)
        return Guess(2, "gradients", attack_name, assumption, clusters=clusters, rows=rows)


def _principal(x: F32, classes: int) -> F64:
    """Scores of one batch [B, D] along its leading components, as many as C classes need."""
    return leading(x.reshape(len(x), -1), classes - 1)


def _centred(x: F64) -> F64:
    return np.asarray(x - x.mean(axis=0))


def _orthonormal(x: F64) -> F64:
    return np.asarray(np.linalg.qr(x)[0])


def _directions(x: F64) -> F64:
    """Rows scaled to length one: how sure the model is of a row says nothing about its class."""
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


def _nearest(space: F64, prediction: F64) -> F64:
    """The independent component of a step's space [B, r] that is nearest to `prediction` [B], turned towards it."""
    found = independent(space, space.shape[1])
    columns = space if found is None else found
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = prediction @ columns / (np.linalg.norm(columns, axis=0) * np.linalg.norm(prediction))
    best = int(np.argmax(np.abs(np.nan_to_num(cosines))))
    column = columns[:, best] * np.sign(cosines[best])
    return np.asarray(column / max(float(column.std()), 1e-12))[:, None]


def _features(forwards: Sequence[SeenForward]) -> F64 | None:
    """What the host computed for the rows of all steps, [N, F], the most telling first: the leading components of its
    activations, taking turns with those of the shifts, whitened against the backbone, where that was sent."""
    sets = set.intersection(*({*f.activations} for f in forwards)) if forwards else set()
    if not sets:
        return None
    stacked = {i: np.concatenate([f.activations[i] for f in forwards]) for i in sorted(sets)}
    exact = [h.reshape(len(h), -1).astype(np.float64) for h in stacked.values()]
    blocks = [leading(np.concatenate(exact, axis=1), FEATURES)]
    bases = [f.base for f in forwards if f.base is not None]
    if len(bases) == len(forwards):
        base = np.concatenate(bases).reshape(len(exact[0]), -1)
        shifts = View("", "", np.concatenate([h - base for h in exact], axis=1), len(exact))
        whitening = whitener(base)
        blocks.append(generalized(shifts, whitening, FEATURES))
        blocks.append(generalized(View("", "", base.astype(np.float64)), whitening, FEATURES))
    scaled = [z / np.maximum(z.std(axis=0), 1e-12) for z in blocks]
    width = min(z.shape[1] for z in scaled)
    return np.asarray(np.stack([z[:, :width] for z in scaled], axis=2).reshape(len(exact[0]), -1))
