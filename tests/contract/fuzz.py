"""`fuzz.py SECONDS`: schemathesis with all checks against a real host that has objects to be found.

Owns: the host, two projects, their objects and the files that name them. Checks and settings are in schemathesis.toml.
Exits as schemathesis does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bare_client import HOSTED, BareClient
from tiny_host import MODEL, SLASHED, running_host

HERE = Path(__file__).resolve().parent
# A fuzzer makes more of everything than a project may.
# It asks as fast as it can, and its webhooks go nowhere but to this machine (hooks.py).
SETTINGS = {
    "BLINDTUNE_LIMITS__JOBS_PER_PROJECT": "100000",
    "BLINDTUNE_LIMITS__RUNNING_PER_PROJECT": "100000",
    "BLINDTUNE_LIMITS__REQUESTS_PER_MINUTE": "100000000",
    "BLINDTUNE_WEBHOOKS__ALLOW_PRIVATE": "true",
}
SCOPES = "jobs:*,files:*,models:*,steps:*,admin"
# One of the two: what an operator sees of projects would else be taken for what a stranger sees.
OPERATOR = {"mine": f"{SCOPES},operator", "other": SCOPES}
OBJECTS = 24


def main(seconds: int, more: list[str]) -> int:
    """Run for about so long."""
    with running_host(SETTINGS) as host, tempfile.TemporaryDirectory(prefix="blindtune-fuzz-") as folder:
        work = Path(folder)
        for name in ("schemathesis.toml", "hooks.py"):
            shutil.copy(HERE / name, work / name)
        keys = {name: host.key(name, "--scopes", scopes, "--days", "366") for name, scopes in OPERATOR.items()}
        write_keys(work / "keys.yaml", keys)
        client = BareClient(host.url, keys["mine"])
        environment = os.environ | {"PYTHONPATH": str(work), **own(client)}
        for name, values in (seed(client) | seed_more(client)).items():
            lines = [json.dumps(value) for value in values]
            (work / f"{name}.dict").write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [Path(sys.executable).parent / "schemathesis", "run", f"{host.url}/openapi.json"]
        command += ["--max-time", str(seconds), "--checks", "all", *more]
        return subprocess.run(command, cwd=work, env=environment).returncode


def write_keys(path: Path, keys: dict[str, str]) -> None:
    """The two projects' keys, in the form that schemathesis takes for several users."""
    entries = [
        {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {key}"}]}
        for name, key in keys.items()
    ]
    path.write_text(json.dumps({"auth": entries}), encoding="utf-8")


def own(client: BareClient) -> dict[str, str]:
    """The ids of the key that all is asked with and of its project, for the hooks.

    Revoked or limited, every answer would be 401 or 429 and nothing would be tried.
    """
    me = client.call("GET", "/v1/me")
    return {"BLINDTUNE_FUZZ_KEY_ID": str(me["key_id"]), "BLINDTUNE_FUZZ_PROJECT_ID": str(me["project"])}


def seed(client: BareClient) -> dict[str, list[str]]:
    """Files, jobs and models, several of each, because some calls delete them: their ids by kind."""
    files = [client.upload()["id"] for _ in range(OBJECTS)]
    jobs = [client.job(training_file=files[0])["id"] for _ in range(OBJECTS)]
    forwards = [client.step(job, 1) for job in jobs]
    models = [client.model() for _ in range(4)]
    return {"files": files, "jobs": jobs, "forwards": forwards, "models": [MODEL, SLASHED, *models]}


def seed_more(client: BareClient) -> dict[str, list[str]]:
    """Checkpoints, uploads, webhooks, keys and projects."""
    hosted = client.job(method=HOSTED)["id"]
    client.step(hosted, 1)
    client.call("POST", f"/v1/fine_tuning/jobs/{hosted}/optim_step", {"seq": 3, "lr": 0.01})
    points = [client.call("POST", f"/v1/fine_tuning/jobs/{hosted}/checkpoints")["id"] for _ in range(3)]
    upload = {"bytes": 64, "filename": "rows.jsonl", "mime_type": "application/jsonl", "purpose": "fine-tune"}
    uploads = [client.call("POST", "/v1/uploads", upload)["id"] for _ in range(OBJECTS)]
    hook = {"url": "http://127.0.0.1:9/hook"}
    webhooks = [client.call("POST", "/v1/webhooks", hook)["id"] for _ in range(6)]
    keys = [client.call("POST", "/v1/api_keys", {"name": "spare"})["id"] for _ in range(6)]
    projects = [client.call("POST", "/v1/projects", {"name": f"ward-{number}"})["id"] for number in range(6)]
    found = {"hosted": [hosted], "checkpoints": points, "uploads": uploads, "webhooks": webhooks, "keys": keys}
    found["projects"] = projects
    return found | seed_batches(client)


def seed_batches(client: BareClient) -> dict[str, list[str]]:
    """Files of requests, and batches of them."""
    endpoint, body = "/v1/embeddings", {"model": MODEL, "input": "w5"}
    line = json.dumps({"custom_id": "a", "method": "POST", "url": endpoint, "body": body}).encode()
    requests = [client.upload(content=line, purpose="batch")["id"] for _ in range(6)]
    wanted = {"endpoint": endpoint, "completion_window": "24h"}
    batches = [client.call("POST", "/v1/batches", wanted | {"input_file_id": file})["id"] for file in requests]
    return {"requests": requests, "batches": batches}


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
