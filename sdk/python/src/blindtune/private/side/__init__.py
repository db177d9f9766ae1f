"""Networks at home that read a frozen backbone's hidden states: everything that learns from a label stays here."""

from .fit import KINDS, Epoch, SideModel, SideSettings, fit_side, network_class
from .home import SideHome, TaggerHome
from .network import Objective, Regularization
from .weighted import Weighted, balanced

__all__ = [
    "KINDS",
    "Epoch",
    "Objective",
    "Regularization",
    "SideHome",
    "SideModel",
    "SideSettings",
    "TaggerHome",
    "Weighted",
    "balanced",
    "fit_side",
    "network_class",
]
