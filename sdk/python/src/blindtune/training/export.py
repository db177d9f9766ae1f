"""A finished run as a folder: adapters that PEFT loads, and the private rest, under a passphrase if asked.

Owns: the folder's layout. Must never: leave half a folder, or write a label name, the head or the mixing weights
outside of the private file.

    README.md                       a model card of what the hosts knew anyway
    blindtune.json                  model and settings: the same
    set0/adapter_config.json        PEFT's
    set0/adapter_model.safetensors  PEFT's; set1 and so on for the other adapter sets
    tokenizer.json                  the backbone's, of a run that finds spans
    private.safetensors             mixing weights, head, label names; or, under a passphrase,
    private.safetensors.enc         the same, encrypted (private_file.py)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..arrays import F32, AnyArray, decode, encode
from ..client import Client
from ..errors import NotFoundError, RunError
from .adapter_folders import NewFolder, read_adapter, write_adapters
from .card_facts import CardFacts
from .chosen import exported as exported_choices
from .factory import HomeShape, restored_home
from .host_group import HostGroup, HostLink
from .host_jobs import open_jobs
from .model_card import model_card
from .placement import make_placement
from .private_file import decrypt, encrypt
from .run import About, Run
from .run_folder import RunFolder
from .settings import Settings
from .visits import Visits

FORMAT = 1
NO_JOB = "none"
"""In place of a job's id, where there is a model instead."""
README = "README.md"
DESCRIPTION, PRIVATE, ENCRYPTED = "blindtune.json", "private.safetensors", "private.safetensors.enc"


@dataclass(frozen=True)
class Exported:
    """What `export` wrote, read back."""

    folder: Path
    about: dict[str, Any]
    """Model and settings: what the hosts knew anyway."""
    arrays: dict[str, AnyArray]
    private: dict[str, Any]


def export(run: Run, folder: str | Path, passphrase: str | None = None) -> Path:
    """Write the trained model of `run` to a new `folder`; its first host is asked for the adapters' layout.

    With a `passphrase` the private file is encrypted (extra `encryption`). The folder is there in full or not at all.
    """
    private = encrypted(_private_bytes(run), passphrase)
    settings = run.about.settings
    description = {"format": FORMAT, "model": run.about.model, "hidden": run.hidden, "sets": len(run.thetas)}
    layout = None if run.frozen else run.layout()
    links = run.group.links if list(run.group.placement.evaluators()) == [0] else []
    models = {link.client.host: link.model for link in links if link.model is not None}
    description |= {"layout": layout, "fine_tuned_models": models, "settings": settings.to_dict()}
    hosts = None if run.group.links[0].job_id == NO_JOB else len(run.group.links)
    with NewFolder(Path(folder)) as new:
        new.write_json(DESCRIPTION, description)
        new.write(README, model_card(CardFacts.of_export(description, hosts)).encode())
        new.write(PRIVATE if passphrase is None else ENCRYPTED, private)
        if layout is not None:
            write_adapters(new, layout, run.thetas)
    return Path(folder)


def write_private_export(
    folder: str | Path,
    description: dict[str, Any],
    private: bytes,
    passphrase: str | None,
    known: Mapping[str, bytes] | None = None,
) -> Path:
    """A new `folder` of a model that has no adapters: what hosts knew anyway, and the private file.

    `known` are more files of the first kind, by name.
    """
    with NewFolder(Path(folder)) as new:
        for name, content in (known or {}).items():
            new.write(name, content)
        new.write_json(DESCRIPTION, {"format": FORMAT} | description)
        new.write(README, model_card(CardFacts.of_export(description, 1)).encode())
        new.write(PRIVATE if passphrase is None else ENCRYPTED, encrypted(private, passphrase))
    return Path(folder)


def encrypted(private: bytes, passphrase: str | None) -> bytes:
    """The private file's content, under the passphrase where there is one."""
    return private if passphrase is None else encrypt(private, passphrase)


def read_export(folder: str | Path, passphrase: str | None) -> Exported:
    """The folder's content. Nothing is asked of a host."""
    source = RunFolder(folder) if Path(folder).is_dir() else None
    about = source.read_json(DESCRIPTION) if source is not None else None
    if source is None or about is None:
        raise RunError(f"{folder}: no export here ({DESCRIPTION} is missing)")
    if about.get("format") != FORMAT:
        raise RunError(f"{folder}: format {about.get('format')} is not known to this version")
    arrays, metadata = decode(_read_private(source.path, passphrase))
    return Exported(source.path, about, arrays, json.loads(metadata["private"]))


def restore_export(exported: Exported, client: Client, settings: Settings, folder: RunFolder) -> Run:
    """A run that predicts with what was exported: by the model on the host that has it, else on a job of its own."""
    about, private = exported.about, exported.private
    visits, names = Visits(), tuple(private["label_names"])
    group, thetas = _by_model(exported, client, settings) or _open_job(exported, client, settings, visits)
    shape = HomeShape(about["hidden"], len(names), private.get("regression"))
    home = restored_home(settings, shape, exported.arrays, folder.secret())
    return Run(About(about["model"], settings, names, ""), folder, group, thetas, home, visits=visits)


# The private part.


def _private_bytes(run: Run) -> bytes:
    home = run.home
    about: dict[str, Any] = {
        "label_names": list(run.about.label_names),
        **home.description(),
        **exported_choices(run.folder, home),
    }
    arrays: dict[str, AnyArray] = {**home.parameters, **home.mixing.state()}
    return encode(arrays, {"private": json.dumps(about)})


def _read_private(folder: Path, passphrase: str | None) -> bytes:
    plain, hidden = folder / PRIVATE, folder / ENCRYPTED
    if hidden.exists():
        if passphrase is None:
            raise RunError(f"{hidden}: encrypted; pass its passphrase")
        return decrypt(hidden.read_bytes(), passphrase, str(hidden))
    if not plain.exists():
        raise RunError(f"{folder}: {PRIVATE} is missing")
    if passphrase is not None:
        raise RunError(f"{plain}: not encrypted, though a passphrase was given")
    return plain.read_bytes()


# Hosts.


def _by_model(exported: Exported, client: Client, settings: Settings) -> tuple[HostGroup, list[F32]] | None:
    """The fine-tuned model that the host still has; None where it has none, or the export is of an older version."""
    about = exported.about
    model = about.get("fine_tuned_models", {}).get(client.host)
    if model is None or not _has(client, model):
        return None
    thetas = [read_adapter(exported.folder / f"set{i}", about["layout"]) for i in range(about["sets"])]
    return HostGroup([HostLink(client, NO_JOB, model=model)], make_placement(settings.placement, 1)), thetas


def _has(client: Client, model: str) -> bool:
    try:
        client.models.retrieve(model)
    except NotFoundError:
        return False
    return True


def _open_job(exported: Exported, client: Client, settings: Settings, visits: Visits) -> tuple[HostGroup, list[F32]]:
    """A job for the exported adapters, and their flat values."""
    about, folder, model = exported.about, exported.folder, exported.about["model"]
    group, hidden = open_jobs(model, settings, [client], None)
    job_id = group.links[0].job_id
    visits.add(client, job_id, "cancel")
    if hidden != about["hidden"]:
        raise RunError(f"{model} is {hidden} wide on this host, and {about['hidden']} in {folder}")
    layout: Mapping[str, Any] = client.adapters(job_id) if about["sets"] else {}
    thetas = [read_adapter(folder / f"set{i}", layout) for i in range(about["sets"])]
    return group, thetas
