"""The GPU kit's script: every check and measurement that a card is wanted for, within seven minutes, as one JSON file.

    python run.py [--out DIR] [--work DIR] [--minutes 7] [--steps name,name]

`make gpu-kit` puts this file into the kit as run.py; docs/gpu-kit.md says what a kit is. It needs a Python with torch,
transformers, peft, safetensors and numpy, and nothing else: no network, no Rust. GPU_SMOKE=1 tries it on the CPU.
Each step is a process of its own (gpu_steps.py). The JSON file is written before and after every step.
Owns: the order of steps, their deadlines, the record. Must never: import torch or the SDK, or leave a process behind.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STEPS_SCRIPT = (HERE / "benches" if (HERE / "benches").is_dir() else HERE) / "gpu_steps.py"
KIT = STEPS_SCRIPT.parents[1]

NOT_RUN, RUNNING, PASSED, FAILED = "not run", "running", "passed", "failed"
OVER, INTERRUPTED = "over budget", "interrupted"
ENDING_S = 8.0
"""A step that is told to end has so long to stop what it started; it comes out of the step's own time."""
TAIL_LINES = 30
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2)


@dataclass(frozen=True)
class Step:
    """One process. `reserve_s` is its time whatever the steps before it took; it gets what they left over, too."""

    name: str
    what: str
    reserve_s: float
    command: tuple[str, ...]


@dataclass
class Record:
    """The JSON file."""

    path: Path
    about: dict[str, Any]
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self) -> None:
        """All of it, in one move: whoever reads sees a whole file."""
        staged = self.path.with_suffix(".tmp")
        whole = self.about | {"verdict": self.verdict, "steps": list(self.steps.values())}
        staged.write_text(json.dumps(whole, indent=1) + "\n")
        staged.replace(self.path)

    @property
    def verdict(self) -> str:
        """`passed` when every step passed, `running` while one may still."""
        states = {step["status"] for step in self.steps.values()}
        if "ended" not in self.about:
            return RUNNING
        return PASSED if states == {PASSED} else FAILED


class Interrupted(Exception):
    """Somebody wants the run to end."""


def deadline_of(steps: Sequence[Step], place: int, left_s: float) -> float:
    """Seconds for the step at `place`: all that is left but what the later ones are sure of."""
    return max(0.0, left_s - sum(step.reserve_s for step in steps[place + 1 :]))


def scaled(steps: Sequence[Step], budget_s: float) -> list[Step]:
    """The same steps with reserves that fill the budget."""
    whole = sum(step.reserve_s for step in steps)
    return [Step(step.name, step.what, step.reserve_s * budget_s / whole, step.command) for step in steps]


def run(steps: Sequence[Step], record: Record, budget_s: float, environment: Mapping[str, str]) -> int:
    """Run them in order; 0 when all passed. What fails or overruns does not stop those that follow."""
    begun = time.monotonic()
    steps = scaled(steps, budget_s)
    record.about |= {"begun": now(), "budget_s": budget_s}
    record.steps = {step.name: {"name": step.name, "what": step.what, "status": NOT_RUN} for step in steps}
    record.write()
    try:
        for place, step in enumerate(steps):
            share = deadline_of(steps, place, budget_s - (time.monotonic() - begun))
            _take(step, share - ENDING_S, record, environment)
    except Interrupted as reason:
        end_descendants()
        record.about["interrupted"] = str(reason)
    record.about |= {"ended": now(), "seconds": round(time.monotonic() - begun, 1)}
    record.write()
    return 0 if record.verdict == PASSED else 1


def _take(step: Step, deadline_s: float, record: Record, environment: Mapping[str, str]) -> None:
    entry = record.steps[step.name]
    entry |= {"status": RUNNING, "begun": now(), "deadline_s": round(deadline_s, 1)}
    record.write()
    say(f"{step.name}: {step.what} (at most {deadline_s:.0f} s)")
    logs = record.path.parent / "logs" / step.name
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    begun, result = time.monotonic(), logs / "result.json"
    told = {**environment, "KIT_RESULT": str(result), "BENCH_LOGS": str(logs)}
    status, why = INTERRUPTED, "the run was told to end"
    try:
        status, why = _process(step, deadline_s, logs / "step.log", told)
    finally:
        end_descendants()
        found = read_json(result)
        told_why = found.pop("error", None)
        entry |= {"status": status, "seconds": round(time.monotonic() - begun, 1), "result": found}
        if status != PASSED:
            entry["error"] = told_why if told_why and status == FAILED else why
            entry["logs"] = {path.name: tail(path) for path in sorted(logs.glob("*.log"))}
        record.write()
    say(f"  {status} after {entry['seconds']} s" + ("" if status == PASSED else f": {entry['error']}"))


def _process(step: Step, deadline_s: float, log: Path, environment: Mapping[str, str]) -> tuple[str, str]:
    """How the step ended, and why when it did not pass."""
    if deadline_s <= 0:
        return OVER, "no time was left"
    with log.open("wb") as out:
        child = subprocess.Popen(
            step.command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        code = child.wait(deadline_s)
    except subprocess.TimeoutExpired:
        _end(child)
        return OVER, f"it was not done within {deadline_s:.0f} s"
    except Interrupted:
        _end(child)
        raise
    if code == 0:
        return PASSED, ""
    return FAILED, f"it ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """Tell it to end: it stops its hosts on the way out."""
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(ENDING_S)


def become_subreaper() -> None:
    """What a step's processes leave behind becomes ours, so that it can be found and ended."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


def end_descendants() -> None:
    """Kill every process below this one, until there is none."""
    for _ in range(100):
        found = descendants(os.getpid())
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.05)


def descendants(root: int) -> set[int]:
    """Ids of all processes below this one."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit():
                # The name in brackets may hold blanks; the parent is the second field behind it (proc(5)).
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    tree = {root}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return tree - {root}


def read_json(path: Path) -> dict[str, Any]:
    """What a step wrote so far."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def tail(path: Path) -> list[str]:
    """The last lines of a log."""
    return path.read_text(errors="replace").splitlines()[-TAIL_LINES:]


def now() -> str:
    """The time, for people."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"[gpu-kit] {text}", file=sys.stderr, flush=True)


def all_steps() -> list[Step]:
    """What a card is wanted for, the short and certain first. Reserves add up to 400 s."""

    def step(name: str, what: str, reserve_s: float) -> Step:
        return Step(name, what, reserve_s, (sys.executable, str(STEPS_SCRIPT), name))

    return [
        step("machine", "what this machine is", 30),
        step("host", "the host starts on the device, with this Python's LibTorch and the kit's Postgres", 30),
        step("golden-float32", "golden cases of every family in float32", 50),
        step("golden-bfloat16", "golden cases of every family with a bfloat16 backbone", 30),
        step("out-of-memory", "a pass that the memory does not hold is refused, and the job goes on", 40),
        step("llama-2-7b", "LLaMA-2-7B's shape against transformers + PEFT", 150),
        step("deberta-v2-xxlarge", "DeBERTa-v2-XXLarge's shape against transformers + PEFT", 70),
    ]


def find_torch() -> Path:
    """The folder of this Python's torch, which is not imported here."""
    found = find_spec("torch")
    if found is None or not found.submodule_search_locations:
        sys.exit(f"gpu-kit: {sys.executable} has no torch: run this with the Python that has it")
    return Path(next(iter(found.submodule_search_locations)))


def environment_of(kit: Path, work: Path, torch: Path, smoke: bool) -> dict[str, str]:
    """What the steps are run with: the kit's programs, and for the host the LibTorch in the folder `torch`."""
    postgres = kit / "postgres"
    if os.geteuid() == 0:  # Postgres then runs under another account, which may not reach the kit
        postgres = Path(shutil.copytree(postgres, work / "postgres"))
    libraries = [torch / "lib", *sorted((torch.parent / "nvidia").glob("*/lib")), postgres / "lib"]
    found = [str(folder) for folder in libraries if folder.is_dir()]
    given = os.environ.get("LD_LIBRARY_PATH", "")
    return os.environ | {
        "LD_LIBRARY_PATH": ":".join([*found, *([given] if given else [])]),
        "POSTGRES_BIN_DIR": str(postgres / "bin"),
        "BLINDTUNE_BIN": str(kit / "bin/blindtuned"),
        "BLINDTUNE_PEER": sys.executable,
        "BENCH_MODELS": str(work / "models"),
        "TMPDIR": str(work),
        "PYTHONPATH": str(kit / "site"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "GPU_SMOKE": "1" if smoke else "0",
    }


def make_runnable(kit: Path) -> None:
    """Copies may have lost the modes."""
    for program in (kit / "bin").glob("*"), (kit / "postgres/bin").glob("*"):
        for path in program:
            with contextlib.suppress(OSError):
                path.chmod(0o755)


@contextlib.contextmanager
def work_folder(wanted: Path | None) -> Iterator[Path]:
    """Where models and hosts' states lie meanwhile: 17 GB at 7B, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="blindtune-kit-", dir=wanted))
    folder.chmod(0o755)  # the private Postgres may run under another account
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(prog="run.py", description="Checks and measures blindtune on this machine's card.")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for gpu-kit.json and logs")
    parser.add_argument("--work", type=Path, help="existing folder with 17 GB of room for models, meanwhile")
    parser.add_argument("--minutes", type=float, default=7.0, help="after which it has ended")
    parser.add_argument("--steps", default="", help="only these, by name, with commas")
    return parser.parse_args()


def on_signal(number: int, _: object) -> None:
    """Ask once; a second signal changes nothing."""
    signal.signal(number, signal.SIG_IGN)
    raise Interrupted(signal.Signals(number).name)


def main() -> int:
    """Run the kit; 1 when a step did not pass."""
    asked = read_arguments()
    chosen = set(filter(None, asked.steps.split(",")))
    steps = [step for step in all_steps() if not chosen or step.name in chosen]
    if unknown := chosen - {step.name for step in steps}:
        sys.exit(f"gpu-kit: there is no step {', '.join(sorted(unknown))}")
    smoke = os.environ.get("GPU_SMOKE", "") not in ("", "0")
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    record = Record(out / "gpu-kit.json", {"kit": read_json(KIT / "kit.json"), "smoke": smoke})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    become_subreaper()
    make_runnable(KIT)
    torch = find_torch()
    with work_folder(asked.work) as work:
        code = run(steps, record, asked.minutes * 60 - 2 * ENDING_S, environment_of(KIT, work, torch, smoke))
    for step in record.steps.values():
        print(f"{step['name']:<20}{step['status']:<13}{step.get('seconds', 0):>7.1f} s  {summary(step)}")
    print(f"{record.verdict}{' (SMOKE TEST: no figure is a measurement)' if smoke else ''}: {record.path}")
    return code


def summary(step: dict[str, Any]) -> str:
    """A line on a step: its own words, or why it did not pass."""
    return str(step.get("error") or step.get("result", {}).get("summary", ""))


if __name__ == "__main__":
    sys.exit(main())
