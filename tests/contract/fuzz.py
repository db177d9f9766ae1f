"""`fuzz.py SECONDS`: schemathesis with all checks against a real host that has objects to be found. Exits as schemathesis does.

Owns: the host, two projects, their objects and the files that name them. The checks and their settings are in schemathesis.toml.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from bare_client import BareClient
from tiny_host import MODEL, SLASHED, TinyHost, running_host

# A fuzzer makes more of everything than a project may.
SETTINGS = {"BLINDTUNE_LIMITS__JOBS_PER_PROJECT": "100000", "BLINDTUNE_LIMITS__RUNNING_PER_PROJECT": "100000"}
OBJECTS = 24


def main(seconds: int, more: list[str]) -> int:
    """Run for about so long."""
    with running_host(SETTINGS) as host, tempfile.TemporaryDirectory(prefix="blindtune-fuzz-") as folder:
        work = Path(folder)
        for name in ("schemathesis.toml", "hooks.py"):
            shutil.copy(HERE / name, work / name)
        keys = {name: host.key(name) for name in ("mine", "other")}
        write_keys(work / "keys.yaml", keys)
        for name, values in seed(host, keys["mine"]).items():
            lines = [json.dumps(value) for value in values]
            (work / f"{name}.dict").write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [Path(sys.executable).parent / "schemathesis", "run", f"{host.url}/openapi.json"]
        command += ["--max-time", str(seconds), "--checks", "all", *more]
        return subprocess.run(command, cwd=work, env=os.environ | {"PYTHONPATH": str(work)}).returncode


def write_keys(path: Path, keys: dict[str, str]) -> None:
    """The two projects' keys, in the form that schemathesis takes for several users."""
    entries = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]}
        for name, key in keys.items()
    ]
    path.write_text(json.dumps({"auth": entries}), encoding="utf-8")


def seed(host: TinyHost, key: str) -> dict[str, list[str]]:
    """Objects of each kind, several, because some calls delete them: their ids by kind."""
    client = BareClient(host.url, key)
    files = [client.upload()["id"] for _ in range(OBJECTS)]
    jobs = [client.job(training_file=files[0])["id"] for _ in range(OBJECTS)]
    for job in jobs:
        client.step(job, 1)
    made = [client.model() for _ in range(4)]
    return {"files": files, "jobs": jobs, "models": [MODEL, SLASHED, *made]}


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
