"""A finished run as a folder: adapters that PEFT loads, and the private rest, under a passphrase if asked.

Owns: the folder's layout and the encryption. Must never: leave half a folder, or write a label name, the head or the
mixing weights outside of the private file.

    blindtune.json                  model and settings: what the hosts knew anyway
    set0/adapter_config.json        PEFT's
    set0/adapter_model.safetensors  PEFT's; set1 and so on for the other adapter sets
    private.safetensors             mixing weights, head, label names; or, under a passphrase,
    private.safetensors.enc         the same: 16 bytes magic, 16 salt (scrypt), 12 nonce, then AES-256-GCM
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import F32, AnyArray, decode, encode
from .client import Client, connect
from .errors import RunError
from .extras import need
from .hosts import HostGroup, HostLink
from .placement import make_placement
from .private.mixing import Mixing
from .private.private_model import Home
from .private.tasks import Regression
from .run import About, Run, create_job
from .runfolder import RunFolder
from .settings import Settings
from .trainer import P3EFT

FORMAT = 1
DESCRIPTION, PRIVATE, ENCRYPTED = "blindtune.json", "private.safetensors", "private.safetensors.enc"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MAGIC = b"blindtune-priv-1"
SALT_BYTES, NONCE_BYTES = 16, 12
SCRYPT = {"length": 32, "n": 2**17, "r": 8, "p": 1}
"""OWASP's first choice: 128 MiB and about half a second for each guess."""


def export(tuner: P3EFT, folder: str | Path, passphrase: str | None = None) -> Path:
    """Write the trained model of `tuner` to a new `folder`; its first host is asked for the adapters' layout.

    With a `passphrase` the private file is encrypted (extra `encryption`). The folder is there in full or not at all.
    """
    run = tuner._ready()
    private = _private_bytes(run)
    if passphrase is not None:
        private = encrypt(private, passphrase)
    settings = run.about.settings
    description = {"format": FORMAT, "model": run.about.model, "hidden": run.hidden, "sets": len(run.thetas)}
    layout = None if run.frozen else _layout(run)
    with NewFolder(Path(folder)) as new:
        new.write_json(DESCRIPTION, description | {"settings": settings.to_dict()})
        new.write(PRIVATE if passphrase is None else ENCRYPTED, private)
        if layout is not None:
            write_adapters(new, layout, run.thetas)
    return Path(folder)


def load_export(
    folder: str | Path,
    host: str | Client | None = None,
    *,
    api_key: str | None = None,
    passphrase: str | None = None,
) -> P3EFT:
    """A `P3EFT` that predicts, evaluates and audits with what `export` wrote, on one host that has the model.

    It does not continue the training: `fit` starts another run.
    """
    source = RunFolder(folder) if Path(folder).is_dir() else None
    about = source.read_json(DESCRIPTION) if source is not None else None
    if source is None or about is None:
        raise RunError(f"{folder}: no export here ({DESCRIPTION} is missing)")
    if about.get("format") != FORMAT:
        raise RunError(f"{folder}: format {about.get('format')} is not known to this version")
    arrays, metadata = decode(_read_private(source.path, passphrase))
    private = json.loads(metadata["private"])
    settings = replace(Settings.from_dict(about["settings"]), placement="shares")  # one host runs all sets
    (client,) = connect([host] if host is not None else [], api_key)
    tuner = P3EFT(about["model"], [client], progress=False, **settings.to_dict())
    group, thetas = _open_job(source.path, tuner, about)
    names = tuple(private["label_names"])
    task = Regression(**private["regression"]) if "regression" in private else None
    home = Home.fresh(tuner.settings, about["hidden"], len(names), tuner.folder.secret(), task)
    home.mixing = Mixing.restored(arrays)
    for name, value in home.parameters.items():
        value[...] = arrays[name]
    tuner._run = Run(About(tuner.model, tuner.settings, names, ""), tuner.folder, group, thetas, home)
    return tuner


def write_adapters(new: RunFolder, layout: Mapping[str, Any], thetas: Sequence[F32]) -> None:
    """`set0`, `set1`, ... as PEFT has them, from flat values [P] and what `Client.adapters` says of their layout."""
    for i, theta in enumerate(thetas):
        matrices = {
            slot["name"]: theta[slot["offset"] : slot["offset"] + int(np.prod(slot["shape"]))].reshape(slot["shape"])
            for slot in layout["layout"]
        }
        new.write_json(f"set{i}/{CONFIG}", layout["peft_config"])
        new.write(f"set{i}/{WEIGHTS}", encode(matrices, {"format": "pt"}))


def read_adapter(folder: Path, layout: Mapping[str, Any]) -> F32:
    """The flat values [P] of one set. `folder` is what PEFT calls an adapter."""
    tensors = decode((folder / WEIGHTS).read_bytes())[0]
    theta = np.zeros(layout["parameters"], np.float32)
    for slot in layout["layout"]:
        found = tensors.pop(slot["name"], None)
        if found is None or list(found.shape) != list(slot["shape"]):
            raise RunError(f"{folder}: {slot['name']} of shape {slot['shape']} is missing: it is for another model")
        theta[slot["offset"] : slot["offset"] + found.size] = found.ravel()
    if tensors:
        raise RunError(f"{folder}: the host's model has no {min(tensors)}")
    return theta


# The private part.


def encrypt(content: bytes, passphrase: str) -> bytes:
    """AES-256-GCM under a key that scrypt makes of the passphrase and a fresh salt."""
    if not passphrase:
        raise RunError("the passphrase is empty")
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    header = MAGIC + salt + nonce
    return header + bytes(_cipher(passphrase, salt).encrypt(nonce, content, header))


def decrypt(content: bytes, passphrase: str, name: str) -> bytes:
    """What `encrypt` was given; `name` is the file's, for the error."""
    magic, salt, nonce, hidden = _cut(content)
    if magic != MAGIC or not hidden:
        raise RunError(f"{name}: not an encrypted private file")
    invalid = need("cryptography.exceptions", "encryption", "an encrypted export").InvalidTag
    try:
        return bytes(_cipher(passphrase, salt).decrypt(nonce, hidden, magic + salt + nonce))
    except invalid:
        raise RunError(f"{name}: wrong passphrase, or the file was changed") from None


def _cut(content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    salt, nonce = len(MAGIC) + SALT_BYTES, len(MAGIC) + SALT_BYTES + NONCE_BYTES
    return content[: len(MAGIC)], content[len(MAGIC) : salt], content[salt:nonce], content[nonce:]


def _cipher(passphrase: str, salt: bytes) -> Any:
    scrypt = need("cryptography.hazmat.primitives.kdf.scrypt", "encryption", "an encrypted export")
    aead = need("cryptography.hazmat.primitives.ciphers.aead", "encryption", "an encrypted export")
    return aead.AESGCM(scrypt.Scrypt(salt=salt, **SCRYPT).derive(passphrase.encode()))


def _private_bytes(run: Run) -> bytes:
    home = run.home
    about: dict[str, Any] = {"label_names": list(run.about.label_names)}
    if isinstance(home.task, Regression):
        about["regression"] = asdict(home.task)
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


def _layout(run: Run) -> dict[str, Any]:
    link = run.group.links[0]
    before = link.job_id
    run.reopen(0)
    if link.job_id != before:
        run.published_step = -1
    return link.client.adapters(link.job_id)


def _open_job(folder: Path, tuner: P3EFT, about: Mapping[str, Any]) -> tuple[HostGroup, list[F32]]:
    """A job for the exported adapters, and their flat values."""
    (client,) = tuner.clients
    job = create_job(client, About(tuner.model, tuner.settings, (), ""), None)
    if job.hidden_size != about["hidden"]:
        raise RunError(f"{tuner.model} is {job.hidden_size} wide on this host, and {about['hidden']} in {folder}")
    layout = client.adapters(job.id) if about["sets"] else {}
    thetas = [read_adapter(folder / f"set{i}", layout) for i in range(about["sets"])]
    return HostGroup([HostLink(client, job.id, job.next_seq)], make_placement("shares", 1)), thetas


class NewFolder:
    """A folder that appears under its name when all is written, and not at all after an error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> RunFolder:
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunError(f"{self.path}: already there; name a new folder")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        return RunFolder(self._partial)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._partial.replace(self.path)  # onto an empty folder, or onto nothing
        else:
            shutil.rmtree(self._partial)
