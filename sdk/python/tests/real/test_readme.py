"""The README's curl tour answers as printed there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .conftest import RealHost

SCRIPT = Path(__file__).resolve().parents[4] / "scripts" / "check_readme.py"


def test_the_tour_answers_as_printed(hosts: list[RealHost]) -> None:
    host = {"BLINDTUNE_BASE_URL": hosts[0].url, "BLINDTUNE_API_KEY": hosts[0].make_key("--project", "tour")}
    done = subprocess.run([sys.executable, SCRIPT], env=os.environ | host, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
