"""Hidden states of a frozen backbone, asked for once and kept at home.

Owns: the way from texts to `Taps`. Must never: import what knows a label; which texts are asked for, in which order and
when, is all that a host learns here.
"""

from .download import FeatureSize, FeatureSource, download, estimate_size
from .host_job import download_by_job
from .picks import picks_of
from .store import FOLDER_VARIABLE, FeatureStore
from .transform import Transform

__all__ = [
    "FOLDER_VARIABLE",
    "FeatureSize",
    "FeatureSource",
    "FeatureStore",
    "Transform",
    "download",
    "download_by_job",
    "estimate_size",
    "picks_of",
]
