"""Attacks a host can run on what it sees, to measure how much of the labels is left in it.

Owns: the public names of the audit. Must never: claim that a low number is a proof; it says that these attacks, under
the assumptions each finding names, failed on these rows.

    recorder.py   what the hosts saw, recorded from the wire
    tier0.py      the P3EFT authors' attacks
    tier1.py      unsupervised attacks over all views of the activations (views.py)
    tier2.py      attacks on shares (algebra in recombine.py)
    inversion.py  tier 3: from consecutive adapter values to the gradient (optimizers in moments.py)
    tier4.py      attackers who know a few labels
    tier3.py         that attack within a bound on its calls (update_record.py keeps what it needs)
    enumeration.py   LEA, on gradients (tier 2)
    exploit.py       ExPLoit, on gradients (tier 2)
    active.py        a host that cheats (tier 2)
    support.py       zeros, repeats, ranks and lengths of what was sent (tier 0)
    dose.py          planted leaks: which attack could have seen one
    gates.py         bounds fixed before a run
    channels.py      what was looked at, and what was not
    evidence.py      all that as a part of the report
    effort.py        how much an audit does
    share_bound.py   what is proven about shares
    score.py      scoring with the true labels, after the fact
    report.py     findings and the report
    assess.py     all of it in one call
"""

from .assess import Tensors, look, on_activations, run
from .channels import channels
from .effort import Doses, Effort
from .evidence import Channel, DoseCurve, Evidence, Support, Verdict
from .gates import Gates
from .inversion import HostJacobian, Inversion, Knowledge, invert, invert_recorded_update
from .moments import AdamWReader, SGDReader
from .recombine import combine_shares
from .recorder import Recorder, Seen, SeenBackward, SeenForward
from .report import KINDS, Finding, LeakReport, exposure, worst
from .score import Guess, as_classes, evaluate
from .share_bound import ShareBound
from .tier0 import (
    MAX_ROWS,
    activation_attacks,
    attack,
    kmeans_accuracy,
    norm_auc,
    principal_scores,
    sample_rows,
    spectral_auc,
)
from .tier2 import SentStep, batchwise_leak, gradient_attacks
from .update_record import UpdateRecorder

__all__ = [
    "KINDS",
    "MAX_ROWS",
    "AdamWReader",
    "Channel",
    "DoseCurve",
    "Doses",
    "Effort",
    "Evidence",
    "Finding",
    "Gates",
    "Guess",
    "HostJacobian",
    "Inversion",
    "Knowledge",
    "LeakReport",
    "Recorder",
    "SGDReader",
    "Seen",
    "SeenBackward",
    "SeenForward",
    "SentStep",
    "ShareBound",
    "Support",
    "Tensors",
    "UpdateRecorder",
    "Verdict",
    "activation_attacks",
    "as_classes",
    "attack",
    "batchwise_leak",
    "channels",
    "combine_shares",
    "evaluate",
    "exposure",
    "gradient_attacks",
    "invert",
    "invert_recorded_update",
    "kmeans_accuracy",
    "look",
    "norm_auc",
    "on_activations",
    "principal_scores",
    "run",
    "sample_rows",
    "spectral_auc",
    "worst",
]
