"""Networks at home that read a frozen backbone's hidden states: everything that learns from a label stays here."""

from .fit import Epoch, SideModel, SideSettings, fit_side
from .home import SideHome, TaggerHome

__all__ = ["Epoch", "SideHome", "SideModel", "SideSettings", "TaggerHome", "fit_side"]
