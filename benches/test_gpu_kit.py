"""The GPU kit without a card and without torch: deadlines, the record, what the kit holds, a host started from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpu_kit
import gpu_steps
import pytest
from bench import ROOT, Options
from gpu_golden import FAMILIES, SETS, by_family, read_cases
from gpu_kit import FAILED, NOT_RUN, OVER, PASSED, RUNNING, Record, Step, deadline_of, run, scaled

WRITE = "import json, os; open(os.environ['KIT_RESULT'], 'w').write(json.dumps({}))"


def step(name: str, code: str, reserve_s: float = 5.0) -> Step:
    """A step that is a line of Python."""
    return Step(name, f"what {name} does", reserve_s, (sys.executable, "-c", code))


def taken(out: Path, *steps: Step, budget_s: float = 60.0) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the steps as the file has them."""
    code = run(steps, Record(out / "gpu-kit.json", {}), budget_s, dict(os.environ))
    return code, {one["name"]: one for one in json.loads((out / "gpu-kit.json").read_text())["steps"]}


def alive(pid: int) -> bool:
    """Whether there is such a process, one that has ended and not been waited for left out."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_step_gets_what_is_left_but_what_the_later_ones_are_sure_of() -> None:
    """Reserves fill the budget, whatever they add up to."""
    steps = [step("a", "", 10), step("b", "", 20), step("c", "", 30)]
    assert [deadline_of(steps, place, 60) for place in range(3)] == [10, 30, 60]
    assert deadline_of(steps, 1, 55) == 25, "the first left nothing over"
    assert deadline_of(steps, 0, 40) == 0
    assert [one.reserve_s for one in scaled(steps, 120)] == [20, 40, 60]
    whole = gpu_kit.all_steps()
    assert sum(one.reserve_s for one in whole) == 400 and {one.name for one in whole} == gpu_steps.STEPS.keys()


def test_the_file_is_whole_before_and_after_every_step(tmp_path: Path) -> None:
    """A step itself reads it: those before it are told of, those behind it named."""
    look = f"import json; steps = json.load(open({str(tmp_path / 'gpu-kit.json')!r}))['steps']; " + WRITE.replace(
        "{}", "{'seen': {one['name']: one['status'] for one in steps}}"
    )
    code, found = taken(tmp_path, step("a", look), step("b", look), step("c", look))
    assert code == 0
    assert found["a"]["result"]["seen"] == {"a": RUNNING, "b": NOT_RUN, "c": NOT_RUN}
    assert found["b"]["result"]["seen"] == {"a": PASSED, "b": RUNNING, "c": NOT_RUN}
    assert json.loads((tmp_path / "gpu-kit.json").read_text())["verdict"] == PASSED


def test_a_step_that_fails_is_named_and_the_others_run(tmp_path: Path) -> None:
    """With its own words where it had any, else with how it ended; and with the tail of its log."""
    says = WRITE.replace("{}", "{'error': 'the card is blue', 'seen': 7}") + "; raise SystemExit(1)"
    dies = "import os; print('last words', flush=True); os.kill(os.getpid(), 11)"
    code, found = taken(tmp_path, step("a", says), step("b", dies), step("c", WRITE))
    assert code == 1
    assert (found["a"]["status"], found["a"]["error"]) == (FAILED, "the card is blue")
    assert found["a"]["result"] == {"seen": 7}
    assert (found["b"]["status"], found["b"]["error"]) == (FAILED, "it ended with SIGSEGV")
    assert found["b"]["logs"] == {"step.log": ["last words"]}
    assert found["c"]["status"] == PASSED
    assert json.loads((tmp_path / "gpu-kit.json").read_text())["verdict"] == FAILED


def test_a_step_that_overruns_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it knew is kept, and the next one has its time."""
    monkeypatch.setattr(gpu_kit, "ENDING_S", 0.5)
    gpu_kit.become_subreaper()
    lasts = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True); "
        + WRITE.replace("{}", "{'child': child.pid}")
        + "; time.sleep(300)"
    )
    begun = time.monotonic()
    code, found = taken(tmp_path, step("a", lasts, 6), step("b", WRITE, 114), budget_s=120.0)
    assert found["a"]["deadline_s"] == 5.5 and found["b"]["deadline_s"] >= 113.0
    assert code == 1 and time.monotonic() - begun < 120
    assert found["a"]["status"] == OVER and "it was not done within" in found["a"]["error"]
    assert found["a"]["result"]["child"] > 0 and not alive(found["a"]["result"]["child"])
    assert found["b"]["status"] == PASSED


def test_a_run_that_is_killed_leaves_a_file_that_says_where_it_was(tmp_path: Path) -> None:
    """And one that is told to end says so, and leaves no process."""
    script = (
        "import os, signal, sys; from pathlib import Path; import gpu_kit; "
        "signal.signal(signal.SIGTERM, gpu_kit.on_signal); gpu_kit.become_subreaper(); "
        "step = lambda name, code: gpu_kit.Step(name, '', 30, (sys.executable, '-c', code)); "
        "steps = [step('a', 'pass'), step('b', 'import time; time.sleep(60)'), step('c', 'pass')]; "
        "gpu_kit.run(steps, gpu_kit.Record(Path(sys.argv[1]) / 'gpu-kit.json', {}), 60, dict(os.environ))"
    )
    for number, status, verdict in ((signal.SIGKILL, RUNNING, RUNNING), (signal.SIGTERM, "interrupted", FAILED)):
        out = tmp_path / number.name
        out.mkdir()
        started = subprocess.Popen([sys.executable, "-c", script, out], cwd=Path(gpu_kit.__file__).parent)
        left = wait_for(out / "gpu-kit.json", "b", started.pid)
        started.send_signal(number)
        started.wait(20)
        found = json.loads((out / "gpu-kit.json").read_text())
        assert [one["status"] for one in found["steps"]] == [PASSED, status, NOT_RUN]
        assert found["verdict"] == verdict
        if number == signal.SIGTERM:
            assert not any(map(alive, left)) and found["interrupted"] == "SIGTERM"
        for pid in filter(alive, left):
            os.kill(pid, signal.SIGKILL)


def wait_for(path: Path, name: str, root: int) -> set[int]:
    """The processes below `root`, once the step of this name runs."""
    for _ in range(200):
        steps = gpu_kit.read_json(path).get("steps", [])
        found = gpu_kit.descendants(root)
        if found and any(one["name"] == name and one["status"] == RUNNING for one in steps):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{name} did not begin")


def test_every_family_has_golden_cases_and_is_judged() -> None:
    """A family without a case, with one that failed or with one too far off does not pass."""
    for folder, _ in SETS.values():
        assert {case.family for case in read_cases(folder)} == set(FAMILIES)
    fine, far, odd = {"h": 1e-6, "G": 1e-5}, {"h": 1e-6, "G": 2e-4}, {"h": float("nan"), "G": 0.0}
    given = {"bert": fine, "roberta": far, "t5": {"error": "refused"}, "llama": fine, "mistral": odd}
    judged = by_family({name: case | {"family": name} for name, case in given.items()}, 1e-4)["families"]
    assert {family for family, one in judged.items() if one["passed"]} == {"bert", "llama"}
    assert judged["roberta"]["G"] == 2e-4 and judged["qwen2"]["cases"] == 0


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit with the host that the tests use, which is not optimised and larger than a released one."""
    folder = tmp_path_factory.mktemp("away") / "gpu-kit"
    made = build(folder, KIT_LIMIT_MIB="100")
    assert made.returncode == 0, made.stderr
    return folder


def build(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """As `make gpu-kit`."""
    environment = os.environ | {"BLINDTUNE_BIN": str(Options.read().binary), "KIT_OUT": str(folder)} | settings
    return subprocess.run([ROOT / "scripts/gpu-kit.sh"], env=environment, capture_output=True, text=True, check=False)


def test_the_kit_is_small_and_compiled_for_no_python(kit: Path, tmp_path: Path) -> None:
    """Above the limit nothing is packed."""
    files = [path for path in kit.rglob("*") if path.is_file()]
    # A released host has about 31 of the 60 MiB.
    assert sum(path.stat().st_size for path in files if path != kit / "bin" / "blindtuned") < 25 << 20
    assert not [path for path in (kit / "site").rglob("*") if path.suffix in (".so", ".pyc")]
    assert kit.with_name("gpu-kit.tar.gz").stat().st_size < 60 << 20
    about = json.loads((kit / "kit.json").read_text())
    assert (about["profile"], about["needs_torch"]) == ("given", "2.11.0") and about["needs_glibc"] >= "2.17"
    refused = build(tmp_path / "small", KIT_LIMIT_MIB="20")
    assert refused.returncode != 0 and "must stay under 20 MiB" in refused.stderr
    assert not (tmp_path / "small.tar.gz").exists()


@pytest.fixture
def work() -> Iterator[Path]:
    """A folder that other accounts can reach, as pytest's own is not: Postgres does not run as root."""
    with gpu_kit.work_folder(None) as folder:
        yield folder


def test_a_host_starts_from_the_kit_alone(kit: Path, work: Path) -> None:
    """With its own Postgres, another folder's LibTorch, and no package of this Python's but numpy and safetensors."""
    given = gpu_kit.environment_of(kit, work, (ROOT / ".deps/libtorch").resolve(), smoke=True)
    environment = {name: value for name, value in given.items() if os.environ.get(name) != value}
    environment |= {"PATH": "/usr/bin:/bin", "HOME": str(work), "KIT_RESULT": str(work / "result.json")}
    asked = (
        "import sys; before = set(sys.modules); import gpu_steps; sys.argv = ['', 'host']; code = gpu_steps.main(); "
        "new = sys.modules.keys() - before; "
        "files = {name: str(getattr(sys.modules[name], '__file__', '')) for name in new}; "
        "print(*{name.partition('.')[0] for name, file in files.items() if 'site-packages' in file}); sys.exit(code)"
    )
    command = [sys.executable, "-c", asked]
    done = subprocess.run(command, env=environment, cwd=kit / "benches", capture_output=True, text=True, check=False)
    found = json.loads((work / "result.json").read_text())
    assert done.returncode == 0, (found, done.stderr)
    assert found["readyz"][0] == 200 and found["libraries"]
    # httpx loads its command line where this Python has click and rich (datasets brings them here); it needs neither.
    assert set(done.stdout.split()) - {"click", "rich", "pygments", "markdown_it", "mdurl"} <= {"numpy", "safetensors"}
