"""Networks at home that read a frozen backbone's hidden states: everything that learns from a label stays here."""

from .fit import KINDS, Epoch, Evaluated, SideModel, SideSettings, Told, Watched, fit_side, network_class
from .home import SideHome, TaggerHome
from .network import Objective, Regularization
from .weighted import Weighted, balanced

__all__ = [
    "KINDS",
    "Epoch",
    "Evaluated",
    "Objective",
    "Regularization",
    "SideHome",
    "SideModel",
    "SideSettings",
    "TaggerHome",
    "Told",
    "Watched",
    "Weighted",
    "balanced",
    "fit_side",
    "network_class",
]
