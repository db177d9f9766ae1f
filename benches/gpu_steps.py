"""The steps of the GPU kit, one a process: `gpu_steps.py NAME`. gpu_kit.py runs them, with a deadline.

What a step knows so far is in the file that KIT_RESULT names, from the moment it knows it; 1 when it failed.
Owns: what each step does, and what passes. Must never: import torch beside a host that it measures.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gpu
import gpu_golden
import httpx
from bench import ROOT, machine, make_model
from blindtune import ApiError, RetryPolicy
from cases import Batch, make_batch, of_length
from hosts import Host, HostError, Hosts
from sides import HostJob, Work, difference

# One layer whose feed-forward is so wide that 65,536 tokens, which the host takes, want 256 GiB at once.
WIDE: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 1 << 20,
    "max_position_embeddings": 64,
}
SMOKE_MEMORY_BYTES = 64 << 30  # of addresses: a processor may promise memory that it does not have
# A host refuses what its estimate says is larger than its budget (413 too_large): here the estimate must not help it.
NO_BUDGET = {"engine.graph_bytes": str(1 << 50)}
# Both sides round to bfloat16 at every layer; what is unrelated differs by about 1.
UNRELATED = 0.5
CUDA_HALF_FOUND = ("no CUDA device", "there is a card")


class CheckError(Exception):
    """What a step looks at is not as it should be."""


class Known:
    """The file of what a step knows so far."""

    def __init__(self, path: Path) -> None:
        self.path, self.values = path, dict[str, Any]()

    def add(self, more: Mapping[str, Any]) -> None:
        """Write it, at once and whole."""
        self.values |= more
        staged = self.path.with_suffix(".tmp")
        staged.write_text(json.dumps(plain(self.values)))
        staged.replace(self.path)


def plain(value: Any) -> Any:
    """As JSON has it: no infinity, no NaN, which other readers refuse."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def step_machine(card: gpu.Card, known: Known) -> str:
    """Versions, the card and its driver; fails where the host cannot run."""
    import torch  # nothing is measured in this process

    host = [str(card.options.binary), "--version"]
    known.add(machine() | {"python": platform.python_version(), "glibc": platform.libc_ver()[1]})
    known.add({name: version(name) for name in ("torch", "transformers", "peft", "safetensors", "numpy")})
    known.add({"host": printed(host), "postgres": printed([f"{os.environ['POSTGRES_BIN_DIR']}/postgres", "--version"])})
    known.add({"cuda": torch.version.cuda, "cards": torch.cuda.device_count(), "nvidia_smi": nvidia_smi()})
    known.add({"work_free_gb": shutil.disk_usage(os.environ["TMPDIR"]).free / 1e9})
    # The host is linked against one version, and LibTorch promises nothing to others.
    needed = json.loads((ROOT / "kit.json").read_text())["needs_torch"]
    if torch.__version__.partition("+")[0] != needed:
        raise CheckError(f"torch is {torch.__version__}; the host needs {needed}")
    if not card.smoke and not torch.cuda.is_available():
        raise CheckError("torch finds no CUDA device")
    return str(known.values["nvidia_smi"].get("name", "no card"))


def nvidia_smi() -> dict[str, str]:
    """The first card's name, driver and memory, as its driver says."""
    fields = ("name", "driver_version", "memory.total", "memory.used", "power.limit", "clocks.max.sm")
    if not shutil.which("nvidia-smi"):
        return {}
    asked = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        line = printed(asked).splitlines()[0]
    except CheckError as error:  # it is told of; torch is the one to say whether there is a card
        return {"error": str(error)}
    return dict(zip(fields, map(str.strip, line.split(",")), strict=False))


def printed(command: list[str]) -> str:
    """What a program prints; fails with its words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CheckError(f"{command[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout.strip()


def step_host(card: gpu.Card, known: Known) -> str:
    """A host comes up on the device, and computes with this Python's LibTorch."""
    begun = time.perf_counter()
    with card.hosts({}) as hosts:
        host = hosts.get()
        known.add({"device": card.device, "ready_s": time.perf_counter() - begun})
        ready = httpx.get(f"{host.url}/readyz", trust_env=False)
        known.add({"readyz": [ready.status_code, ready.json()], "libraries": libraries(host)})
        known.add({"log": [line for line in host.logged().splitlines() if "computing on" in line]})
        if ready.status_code != 200:
            raise CheckError(f"/readyz answered {ready.status_code}")
        check_libraries(card, known.values["libraries"])
    if card.smoke:
        known.add({"cuda_half": cuda_half(card)})
        if torch_has_cuda() and not any(words in known.values["cuda_half"] for words in CUDA_HALF_FOUND):
            raise CheckError(f"the host does not find LibTorch's CUDA half: {known.values['cuda_half']}")
    return f"ready after {known.values['ready_s']:.1f} s on {card.device}"


def libraries(host: Host) -> list[str]:
    """The files of LibTorch that the host has mapped."""
    maps = Path(f"/proc/{host.process.pid}/maps").read_text()
    return sorted(set(re.findall(r"/\S*/lib(?:torch|c10)\w*\.so\S*", maps)))


def cuda_half(card: gpu.Card) -> str:
    """What a host on cuda:0 says where there is no card: that, once it has found LibTorch's CUDA half."""
    try:
        with Hosts(card.options.binary, {"engine.device": "cuda:0"}, {}) as hosts:
            hosts.get()
    except HostError as error:
        return str(error)
    return "there is a card"


def torch_has_cuda() -> bool:
    """Whether the LibTorch in use comes with a CUDA half."""
    return Path(os.environ["LD_LIBRARY_PATH"].split(":")[0], "libtorch_cuda.so").is_file()


def check_libraries(card: gpu.Card, mapped: list[str]) -> None:
    """All of them are this Python's; on a card its CUDA half is there."""
    folder = Path(os.environ["LD_LIBRARY_PATH"].split(":")[0]).resolve()
    if strange := [path for path in mapped if Path(path).resolve().parent != folder]:
        raise CheckError(f"the host maps {strange[0]}, which is not in {folder}")
    wanted = "libtorch_cpu.so" if card.smoke else "libtorch_cuda.so"
    if wanted not in {Path(path).name for path in mapped}:
        raise CheckError(f"the host has not mapped {wanted}")


def step_golden(precision: str, card: gpu.Card, known: Known) -> str:
    """Every family, with products in full float32; then what the host does by itself, for the record."""
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    with card.hosts({}) as hosts:
        known.add(gpu_golden.run_precision(hosts.get(), precision, known.add))
    families = known.values["families"]
    if failed := [family for family, one in families.items() if not one["passed"]]:
        why = "; ".join(describe(family, families[family]) for family in failed)
        raise CheckError(f"{why}; at most {known.values['tolerance']:.0e} is right")
    if precision == "float32":
        del os.environ["NVIDIA_TF32_OVERRIDE"]
        with card.hosts({}) as hosts:
            by_itself = gpu_golden.run_precision(hosts.get(), precision, lambda _: None)
            known.add({"tf32_as_shipped": by_itself["families"]})
    largest = max(one[kind] for one in families.values() for kind in ("h", "G"))
    return f"{len(known.values['cases'])} cases of {len(families)} families differ by at most {largest:.1e}"


def describe(family: str, one: dict[str, Any]) -> str:
    """A family that did not pass, in words."""
    if not one["cases"]:
        return f"{family} has no case"
    return f"{family} differs by h {one['h']:.1e}, G {one['G']:.1e}"


def step_memory(card: gpu.Card, known: Known) -> str:
    """A pass too large is refused as documented; the same job then gives the numbers that it gave before."""
    if card.smoke:
        resource.setrlimit(resource.RLIMIT_AS, (SMOKE_MEMORY_BYTES, SMOKE_MEMORY_BYTES))
    folder = card.options.models / "wide"
    with card.link() as link:
        make_model(link, folder, WIDE)
    work = Work("wide", str(folder), WIDE["hidden_size"], 1, "mean")
    with card.hosts({"wide": folder}) as hosts:
        job = HostJob(hosts.get(NO_BUDGET), work, retry=RetryPolicy(patience_s=0.0))
        before, _ = job.take(wide_batch(job, 2, 4))
        known.add({"memory_before": nvidia_smi().get("memory.used")})
        known.add({"refused": refusal(job)})
        known.add({"memory_after": nvidia_smi().get("memory.used")})
        job.seq -= 1  # no step was taken
        after, _ = job.take(wide_batch(job, 2, 4))
        job.close()
    known.add({"differs": {kind: difference(after, before, kind) for kind in ("h", "G")}})
    if known.values["refused"] != {"status": 503, "code": "out_of_memory"}:
        raise CheckError(f"the large pass was answered {known.values['refused']}")
    if not max(known.values["differs"].values()) <= 1e-6:
        raise CheckError(f"the step after it differs by {known.values['differs']}")
    return "refused with 503 out_of_memory; the step after it gives what the one before gave"


def wide_batch(job: HostJob, rows: int, tokens: int) -> Batch:
    """Inputs of one length; the same for the same size."""
    draw = of_length(tokens, WIDE["vocab_size"])
    return make_batch(draw, rows, (1, 1), (job.parameters, WIDE["hidden_size"]), 0)


def refusal(job: HostJob) -> dict[str, Any]:
    """What the pass of 65,536 tokens is answered."""
    try:
        job.take(wide_batch(job, 1024, 64))
    except ApiError as error:
        return {"status": error.status, "code": error.code}
    return {"status": 200, "code": "it ran"}


def step_bench(name: str, card: gpu.Card, known: Known) -> str:
    """As `make bench-gpu`, one block a side; the batch is halved where a side has not the memory for it."""
    shape = next(shape for shape in gpu.shapes(card.smoke, card.layers) if shape.name.startswith(name))
    free, needed = shutil.disk_usage(os.environ["TMPDIR"]).free, 2.4 * shape.weights
    if free < needed:
        raise CheckError(
            f"{free / 1e9:.0f} GB are free for a model of {needed / 1e9:.0f} GB: name another folder with --work"
        )
    card.note = known.add
    shape, result, facts = gpu.run_fitting(card, shape)
    row = result.rows[0]
    known.add({"comparison": row.record(), "flops": shape.flops, "rows": shape.rows})
    known.add({"facts": [fact.record() for fact in facts]})
    known.add({"share_of_peak": {fact.name: shape.flops / wall / card.peak for fact, wall in walls(facts, row)}})
    if not max(row.differs.values()) < UNRELATED:
        raise CheckError(f"the sides disagree: {row.differs}")
    speeds = ", ".join(f"{fact.name.partition(', ')[2]} {fact.value:,.0f} tokens/s" for fact in facts)
    shares = "/".join(f"{100 * share:.1f}" for share in known.values["share_of_peak"].values())
    return f"{speeds}; {shares} % of {card.peak / 1e12:.1f} TFLOP/s; wall {row.wall.by_round.median:.3f} of PEFT's"


def walls(facts: list[Any], row: Any) -> list[tuple[Any, float]]:
    """Each side's fact and median seconds, ours first."""
    return list(zip(facts, (row.wall_ours.median, row.wall_theirs.median), strict=True))


STEPS: dict[str, Callable[[gpu.Card, Known], str]] = {
    "machine": step_machine,
    "host": step_host,
    "golden-float32": lambda card, known: step_golden("float32", card, known),
    "golden-bfloat16": lambda card, known: step_golden("bfloat16", card, known),
    "out-of-memory": step_memory,
    "llama-2-7b": lambda card, known: step_bench("llama-2-7b", card, known),
    "deberta-v2-xxlarge": lambda card, known: step_bench("deberta-v2-xxlarge", card, known),
}


def main() -> int:
    """Take one step."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # hosts are stopped on the way out
    known = Known(Path(os.environ["KIT_RESULT"]))
    os.environ.setdefault("BLOCKS", "1")
    os.environ.setdefault("ROUNDS", "3" if os.environ.get("GPU_SMOKE") == "1" else "5")
    try:
        known.add({"summary": STEPS[sys.argv[1]](gpu.Card.read(), known)})
    except Exception as error:
        traceback.print_exc()
        known.add({"error": str(error) if isinstance(error, CheckError) else f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
