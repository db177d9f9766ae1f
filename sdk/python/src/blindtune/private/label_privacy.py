"""Label differential privacy by randomized response, the loss that corrects for it, and the bound that follows.

Owns: the flips, and what is proven about them. Must never: draw a row's label twice, which costs twice epsilon. Before
training each label is kept with probability e^eps / (e^eps + C - 1) and else replaced by one of the others, each as
likely. All that training does then is post-processing: adapters, gradients, activations and the head together.

What is bounded: for any attacker, with any computing power and any side knowledge (the texts, all other labels), the
odds of one label of a row against another after the run are at most e^eps times the odds before it. "Before" contains
whatever the text itself tells, and what a model trained on other rows tells about it: no method takes that back, and a
host that learns the concept can guess rows above the bound for an attacker who knew nothing. What the bound caps is the
excess: what *this row's* label adds. The number below is a proof about the mechanism, not a measurement.

Sources: Warner 1965 (randomized response); Ghazi et al. 2021, arXiv 2102.06062 (label DP); Patrini et al. 2017, arXiv
1609.03872 (forward correction).
"""

from __future__ import annotations

import math

import numpy as np

from ..arrays import F32, F64, I64
from .heads import softmax
from .secret import SecretStream

SMALLEST = 1e-30


def keep_probability(epsilon: float, classes: int) -> float:
    """How often a label stays as it is: e^eps / (e^eps + C - 1). Also the most an attacker without prior is right."""
    return 1.0 / (1.0 + (classes - 1) * math.exp(-epsilon))


def flip_probability(epsilon: float, classes: int) -> float:
    """How often a label is replaced by one of the others."""
    return 1.0 - keep_probability(epsilon, classes)


def randomized_response(labels: I64, epsilon: float, classes: int, secret: SecretStream) -> I64:
    """The labels [N] that training may look at, drawn once for each row; the same secret gives the same ones."""
    flipped = secret.uniform(len(labels), "label-flip") < flip_probability(epsilon, classes)
    shift = 1 + np.floor(secret.uniform(len(labels), "label-other") * (classes - 1)).astype(np.int64)
    return np.where(flipped, (labels + shift) % classes, labels)


def transition(epsilon: float, classes: int) -> F64:
    """T [C, C]: T[y, z] is how likely label y is shown as z."""
    others = flip_probability(epsilon, classes) / (classes - 1)
    matrix = np.full((classes, classes), others)
    np.fill_diagonal(matrix, keep_probability(epsilon, classes))
    return matrix


def corrected_cross_entropy(logits: F32, labels: I64, matrix: F64) -> tuple[float, F32]:
    """Forward correction: the mean of -log((softmax(z) T)[label]), and its gradient [B, C].

    `labels` [B] are the ones shown. Its minimum over all classifiers is where the cross entropy on true labels has its.
    """
    p = softmax(logits.astype(np.float64))
    columns = matrix[:, labels].T
    joint = p * columns
    shown = np.maximum(joint.sum(axis=1), SMALLEST)
    gradient = (p - joint / shown[:, None]) / len(labels)
    return float(-np.log(shown).mean()), np.asarray(gradient, dtype=logits.dtype)


# The bound.


def posterior_odds(epsilon: float) -> float:
    """The largest factor by which a run changes anyone's odds of one label of a row against another: e^eps."""
    return math.exp(epsilon)


def largest_posterior(prior: float, epsilon: float) -> float:
    """The most certain that an attacker can become of a label it gave the probability p = `prior` before.

    p e^eps / (p e^eps + 1 - p). Concave in the prior, so it also bounds the accuracy on trained rows of an attacker
    whose accuracy on fresh rows of the same distribution, done as well as can be, is `prior`.
    """
    raised = prior * math.exp(epsilon)
    return raised / (raised + 1.0 - prior)


def largest_accuracy(epsilon: float, classes: int) -> float:
    """The most often that one to whom all labels were as likely is right; for two classes also the best AUC."""
    return keep_probability(epsilon, classes)


def largest_advantage(epsilon: float, classes: int = 2) -> float:
    """The accuracy above, rescaled to 0 for a guess and 1 for certainty: (e^eps - 1) / (e^eps + C - 1).

    For two classes that is tanh(eps / 2).
    """
    return math.expm1(epsilon) / (math.exp(epsilon) + classes - 1)


def describe(epsilon: float, classes: int) -> str:
    """The bound in one sentence, for the report."""
    accuracy, advantage = largest_accuracy(epsilon, classes), largest_advantage(epsilon, classes)
    return (
        f"proven (label_epsilon {epsilon:g}): whatever the host does, training multiplies its odds about a row's label "
        f"by at most {posterior_odds(epsilon):.3g}; one to whom all {classes} labels were as likely is right at most "
        f"{accuracy:.1%} of the time (advantage {advantage:.3g}); what the text itself tells is not covered"
    )
