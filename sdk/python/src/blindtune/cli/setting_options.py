"""An option for every setting of a run, made of `Settings`.

Owns: how a type becomes an option. Must never: say a description, a range or a choice again; they stand in settings.py.
"""

from __future__ import annotations

from dataclasses import fields, make_dataclass
from typing import Annotated, Any, Literal

import typer

from ..training.setting_types import SettingType
from ..training.settings import SETTING_TYPES
from .failures import ArgumentError


def _option(name: str, kind: SettingType) -> Any:
    """The annotation of one setting: what it takes, and its help."""
    how: dict[str, Any] = {"help": kind.help, "rich_help_panel": kind.panel, "show_default": False}
    flag = f"--{name.replace('_', '-')}"
    if kind.kind is bool:
        return Annotated[bool, typer.Option(flag, **how)]
    if kind.many and kind.kind is str:
        return Annotated[list[str] | None, typer.Option(flag, metavar="NAME...", **how)]
    if kind.many:
        return Annotated[str | None, typer.Option(flag, metavar="NUMBERS", **how)]
    if kind.choices:
        words: Any = Literal[kind.choices]
        return Annotated[words | None, typer.Option(flag, **how)]
    plain: Any = kind.kind
    return Annotated[plain | None, typer.Option(flag, metavar=kind.kind.__name__.upper(), **how)]


def settings_group(name: str, names: tuple[str, ...], says: str) -> Any:
    """A group of options for these settings."""
    made = [
        (one, _option(one, SETTING_TYPES[one]), False if SETTING_TYPES[one].kind is bool else None) for one in names
    ]
    return make_dataclass(name, made, frozen=True, namespace={"__doc__": says})


def given_settings(options: Any) -> dict[str, Any]:
    """The settings that were given, in their types."""
    found: dict[str, Any] = {}
    for one in fields(options):
        value, kind = getattr(options, one.name), SETTING_TYPES[one.name]
        if value is None or value is False or value == []:
            continue
        found[one.name] = _many(one.name, kind, value) if kind.many and kind.kind is not str else value
    return found


def _many(name: str, kind: SettingType, text: str) -> Any:
    try:
        return kind.read(text)
    except ValueError:
        raise ArgumentError(f"--{name.replace('_', '-')}: {text!r} is not numbers with commas between them") from None


OF_FEATURES = ("layers", "side", "feature_dtype", "project")
AllSettings: Any = settings_group("AllSettings", tuple(SETTING_TYPES), "An option for every setting.")
FeatureSettings: Any = settings_group("FeatureSettings", OF_FEATURES, "Settings that say what features are.")
