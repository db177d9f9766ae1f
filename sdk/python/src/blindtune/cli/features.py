"""`blindtune features estimate | clear`: how much the hidden states of some texts are, and what is kept of them.

Owns: what the command line says. Must never: print a key, or read a label.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

import typer

from .failures import DONE
from .groups import Talk
from .options import Columns, Hosts
from .reading import unlabelled
from .setting_options import FeatureSettings, given_settings


@dataclass(frozen=True, kw_only=True)
class Texts(Columns):
    """Texts, and the model that reads them."""

    data: Annotated[str, typer.Option(metavar="FILE", help="texts, with or without labels")]
    model: Annotated[str, typer.Option(help="a model of the host, see `blindtune models`")]


def estimate(texts: Texts, settings: FeatureSettings, hosts: Hosts, talk: Talk) -> int:
    """Say how large the features of a file are, from a sample of its texts, before they are asked for."""
    from ..client import connect
    from ..features import FeatureSource, FeatureStore, estimate_size, picks_of
    from ..training.settings import Settings

    chosen = Settings.from_dict({"method": "side", **given_settings(settings)}).resolve(1)
    client = connect(hosts.hosts, hosts.keys)[0]
    source = FeatureSource(
        client,
        texts.model,
        chosen.levels,
        dtype=chosen.feature_dtype,
        project=chosen.projection,
        tokens=picks_of(client, texts.model) if chosen.side == "pooled" else "all",
    )
    size = estimate_size(source, unlabelled(texts.data, texts))
    store = FeatureStore.of(hosts.features)
    held = {"held_bytes": store.size(), "limit_bytes": store.limit, "folder": str(store.folder)}
    if talk.as_json:
        figures = {"texts": size.texts, "tokens": size.tokens, "levels": size.levels, "width": size.width}
        print(json.dumps(figures | {"bytes": size.bytes} | held, indent=2))
        return DONE
    print(size)
    print(f"{store.folder} holds {store.size() / 1e6:,.0f} of {store.limit / 1e6:,.0f} MB")
    return DONE


def clear(hosts: Hosts, talk: Talk) -> int:
    """Remove all features that are kept; runs ask the host for them again."""
    from ..features import FeatureStore

    store = FeatureStore.of(hosts.features)
    removed = store.clear()
    if talk.as_json:
        print(json.dumps({"removed_bytes": removed, "folder": str(store.folder)}))
    else:
        print(f"removed {removed / 1e6:,.0f} MB from {store.folder}")
    return DONE
