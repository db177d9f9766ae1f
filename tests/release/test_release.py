"""A release of the host, used where there is nothing else: an empty folder, no variables, no Postgres on PATH.

RELEASE names what `make release` made: its folder, or its tarball, which is unpacked here.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_host import MODEL, WIDTH, TinyHost, serving

RELEASE = Path(os.environ["RELEASE"])
BARE = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder outside any working tree, which other accounts can read: as root, the host runs Postgres under one."""
    with tempfile.TemporaryDirectory(prefix="blindtune-release-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder).resolve()


@pytest.fixture(scope="module")
def unpacked(place: Path) -> Path:
    """The release. Hard links: half a gigabyte need not be copied."""
    if RELEASE.is_dir():
        copied = place / RELEASE.name
        if subprocess.run(["cp", "-al", RELEASE, copied], stderr=subprocess.DEVNULL).returncode:
            subprocess.run(["cp", "-a", RELEASE, copied], check=True)
    else:
        with tarfile.open(RELEASE) as archive:
            archive.extractall(place, filter="data")
    (folder,) = place.iterdir()
    return folder


@pytest.fixture(scope="module")
def host(unpacked: Path, place: Path) -> Iterator[TinyHost]:
    """It serves the tiny backbone, from a Postgres of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            patch.delenv(name)
        for name, value in BARE.items():
            patch.setenv(name, value)
        host = TinyHost(place / "host", {})
        host.folder.mkdir()
        host.binary = unpacked / "blindtuned"
        with serving(host):
            yield host


def test_it_serves(host: TinyHost, unpacked: Path) -> None:
    """Up to an embedding, with a key."""
    version = subprocess.run([unpacked / "blindtuned", "--version"], capture_output=True, text=True, env=BARE).stdout
    with urllib.request.urlopen(f"{host.url}/readyz") as answer:
        assert json.load(answer) == {"status": "ok", "version": version.split()[1]}
    body = json.dumps({"model": MODEL, "input": "w5 w6"}).encode()
    headers = {"Authorization": f"Bearer {host.key('clinic')}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{host.url}/v1/embeddings", body, headers)) as answer:
        assert len(json.load(answer)["data"][0]["embedding"]) == WIDTH


def test_it_loads_what_it_brings_and_little_else(host: TinyHost, unpacked: Path) -> None:
    """LibTorch and Postgres from the release; from the machine glibc, libgcc and libstdc++."""
    assert host.process is not None
    mapped = {line.split()[-1] for line in Path(f"/proc/{host.process.pid}/maps").read_text().splitlines()}
    libraries = {Path(name) for name in mapped if ".so" in name}
    assert any(library == unpacked / "torch/lib/libtorch_cpu.so" for library in libraries)
    names = ("ld-linux", "libc", "libm", "libdl", "librt", "libutil", "libpthread", "libgcc_s", "libstdc++")
    system = tuple(f"{name}." if name != "ld-linux" else name for name in names)
    foreign = [library for library in libraries if not library.is_relative_to(unpacked)]
    assert not [library for library in foreign if not library.name.startswith(system)]
    programs = {Path(link).resolve() for link in Path("/proc").glob("[0-9]*/exe") if _is_of(link, unpacked)}
    assert programs == {unpacked / "blindtuned", unpacked / "postgres/bin/postgres"}


def _is_of(link: Path, unpacked: Path) -> bool:
    try:
        return link.resolve().is_relative_to(unpacked)
    except OSError:  # ended meanwhile, or another account's
        return False


def test_it_holds_texts_and_licences(unpacked: Path) -> None:
    """What the makers of its libraries ask for goes with them."""
    there = {path.name for path in unpacked.iterdir()}
    assert there >= {"LICENSE", "README.md", "CHANGELOG.md", "openapi.yaml", "default.toml", "licenses"}
    makers = {path.name.split("-")[0] for path in (unpacked / "licenses").iterdir() if any(path.iterdir())}
    assert makers >= {"torch", "nvidia_cuda_runtime", "nvidia_cuda_cupti"}
    assert (unpacked / "postgres/LICENSE").is_file()
