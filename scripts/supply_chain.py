"""Holds the crates in Cargo.lock to deny.toml: licences, second copies and sources; and asks every list of Python
packages for exact versions. Needs no network and takes a second, so `make lint` runs it; what is known against a
version is scripts/audit/audit.sh's matter.

Owns: the reading of deny.toml as cargo-deny reads it. Must never: fetch, or hold a rule that deny.toml does not.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
TOKEN = re.compile(r"\(|\)|[^\s()]+")
PINNED = re.compile(r"[A-Za-z0-9._-]+==[^\s;]+( ; [^\\]+)?( +--hash=sha256:[0-9a-f]{64})+")


def licence_allowed(expression: str, allowed: Iterable[str]) -> bool:
    """Whether an SPDX expression can be met by the licences allowed. An old "A/B" is "A OR B"."""
    words, names = TOKEN.findall(expression.replace("/", " OR ")), set(allowed)

    def either() -> bool:
        met = both()
        while words and words[0] == "OR":
            words.pop(0)
            met = both() or met
        return met

    def both() -> bool:
        met = one()
        while words and words[0] == "AND":
            words.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        if not words:
            return False
        word = words.pop(0)
        if word == "(":
            met = either()
            return bool(words) and words.pop(0) == ")" and met
        if words[:1] == ["WITH"]:
            word = f"{word} WITH {words[1]}"
            del words[:2]
        return word in names

    return either() and not words


def check_licences(packages: Sequence[Mapping[str, Any]], policy: Mapping[str, Any]) -> list[str]:
    """Crates whose licence is none of those allowed."""
    allowed = policy["licenses"]["allow"]
    return [
        f"{package['name']} {package['version']}: licence {package['license'] or 'not stated'} is not allowed"
        for package in packages
        if not licence_allowed(package["license"] or "", allowed)
    ]


def check_copies(packages: Sequence[Mapping[str, Any]], policy: Mapping[str, Any]) -> list[str]:
    """Crates of which there are several versions, without a reason for all but one."""
    versions = defaultdict(list)
    for package in packages:
        versions[package["name"]].append(package["version"])
    reasoned = {row["crate"] for row in policy["bans"]["skip"] if row["reason"]}
    left = {name: [one for one in many if f"{name}@{one}" not in reasoned] for name, many in versions.items()}
    return [
        f"{name}: {' and '.join(many)} without a reason in deny.toml" for name, many in left.items() if len(many) > 1
    ]


def check_sources(packages: Sequence[Mapping[str, Any]], policy: Mapping[str, Any]) -> list[str]:
    """Crates from elsewhere than the registries and repositories allowed. Without a source it is ours."""
    sources = policy["sources"]
    allowed = {f"registry+{url}" for url in sources["allow-registry"]} | {f"git+{url}" for url in sources["allow-git"]}
    foreign = [package for package in packages if package["source"] and package["source"] not in allowed]
    return [f"{package['name']} {package['version']}: comes from {package['source']}" for package in foreign]


def unused_reasons(packages: Sequence[Mapping[str, Any]], policy: Mapping[str, Any]) -> list[str]:
    """Reasons for crates that are no longer there."""
    there = {f"{package['name']}@{package['version']}" for package in packages}
    return [row["crate"] for row in policy["bans"]["skip"] if row["crate"] not in there]


def check_pins(locks: Iterable[Path]) -> list[str]:
    """Packages of lists that do not name one version from the index and the files that it may be: `make locks`."""
    return [
        f"{lock.name}: {line!r} is not NAME==VERSION with its --hash=sha256:"
        for lock in locks
        for line in lock.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
        if line and not line.startswith("#") and not PINNED.fullmatch(line)
    ]


def crates(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All crates of the targets that deny.toml names."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    command += [word for target in policy["graph"]["targets"] for word in ("--filter-platform", target)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)["packages"]
    return found


def locks() -> list[Path]:
    """Every list of Python packages of the repository."""
    done = subprocess.run(["git", "ls-files", "*requirements*.lock"], cwd=ROOT, capture_output=True, text=True)
    return [ROOT / name for name in done.stdout.split()] or sorted(ROOT.glob("[!.]*/**/requirements*.lock"))


def main() -> int:
    """0 when all is as deny.toml says."""
    policy = tomllib.loads((ROOT / "deny.toml").read_text(encoding="utf-8"))
    packages, lists = crates(policy), locks()
    checks = (check_licences, check_copies, check_sources)
    wrong = [line for check in checks for line in check(packages, policy)] + check_pins(lists)
    for crate in unused_reasons(packages, policy):
        print(f"deny.toml: {crate} is no longer there: remove its reason", file=sys.stderr)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    print(f"{len(packages)} crates and {len(lists)} lists of Python packages are as deny.toml and their pins say")
    return 0


if __name__ == "__main__":
    sys.exit(main())
