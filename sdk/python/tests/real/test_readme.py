"""The README's tour and the API's guide answer as printed there, and the guide names every error code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import RealHost

SCRIPTS = Path(__file__).resolve().parents[4] / "scripts"


def run(script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / script), *words]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=180)


def test_the_tour_answers_as_printed(hosts: list[RealHost]) -> None:
    key = hosts[0].make_key("--project", "tour")
    done = run("check_readme.py", BLINDTUNE_BASE_URL=hosts[0].url, BLINDTUNE_API_KEY=key)
    assert done.returncode == 0, done.stderr


def test_the_guide_answers_as_printed(hosts: list[RealHost]) -> None:
    key = hosts[0].make_key("--project", "guide", "--scopes", "admin")
    done = run("check_readme.py", "docs/api.md", BLINDTUNE_BASE_URL=hosts[0].url, BLINDTUNE_ADMIN_KEY=key)
    assert done.returncode == 0, done.stderr


def test_the_guide_names_every_error_code() -> None:
    done = run("error_codes.py")
    assert done.returncode == 0, done.stderr
