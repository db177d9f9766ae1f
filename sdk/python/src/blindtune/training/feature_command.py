"""`blindtune features estimate | clear`: how much the hidden states of some texts are, and what is kept of them.

Owns: what the command line says. Must never: print a key, or read a label.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..client import connect
from ..data import read_texts
from ..features import FeatureSource, FeatureStore, estimate_size, picks_of
from .settings import SETTING_TYPES, Settings

Keys = Callable[[argparse.Namespace], "list[str] | None"]


def add_command(commands: Any, common: argparse.ArgumentParser, keys: Keys) -> None:
    """Add `features` to the commands of `blindtune`."""
    features = commands.add_parser("features", help="the hidden states that method side reads")
    actions = features.add_subparsers(required=True, metavar="estimate | clear")
    command = actions.add_parser("estimate", parents=[common], help=estimate.__doc__)
    command.add_argument("--data", required=True, type=Path, metavar="FILE", help="texts, with or without labels")
    command.add_argument("--model", required=True, help="a model of the host, see GET /v1/models")
    command.add_argument("--layers", default="all", metavar="LAYERS", help="all (default), a number, or 0,3,6")
    sides, dtypes = SETTING_TYPES["side"], SETTING_TYPES["feature_dtype"]
    command.add_argument("--side", choices=sides.choices, default=sides.default, help="default %(default)s")
    command.add_argument("--feature-dtype", choices=dtypes.choices, default=dtypes.default, help="default %(default)s")
    command.add_argument("--project", metavar="DIM", help="components of each level: 96, pca:96 or orthogonal:96:SEED")
    command.set_defaults(command=lambda options: estimate(options, keys))
    command = actions.add_parser("clear", parents=[common], help=clear.__doc__)
    command.set_defaults(command=clear)


def estimate(options: argparse.Namespace, keys: Keys) -> int:
    """Say how large the features of a file are, from a sample of its texts, before they are asked for."""
    given = {name: getattr(options, name) for name in ("layers", "side", "feature_dtype", "project")}
    settings = Settings.from_dict({"method": "side", **given}).resolve(1)
    client = connect(options.host, keys(options))[0]
    source = FeatureSource(
        client,
        options.model,
        settings.levels,
        dtype=settings.feature_dtype,
        project=settings.projection,
        tokens=picks_of(client, options.model) if settings.side == "pooled" else "all",
    )
    size = estimate_size(source, read_texts(options.data))
    store = FeatureStore.of(options.features)
    held = {"held_bytes": store.size(), "limit_bytes": store.limit, "folder": str(store.folder)}
    if options.json:
        figures = {"texts": size.texts, "tokens": size.tokens, "levels": size.levels, "width": size.width}
        print(json.dumps(figures | {"bytes": size.bytes} | held, indent=2))
        return 0
    print(size)
    print(f"{store.folder} holds {store.size() / 1e6:,.0f} of {store.limit / 1e6:,.0f} MB")
    return 0


def clear(options: argparse.Namespace) -> int:
    """Remove all features that are kept; runs ask the host for them again."""
    store = FeatureStore.of(options.features)
    print(f"removed {store.clear() / 1e6:,.0f} MB from {store.folder}")
    return 0
