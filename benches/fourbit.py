"""Memory of a 7B backbone in 4 bits: `make bench-nf4`. LAYERS (32) in LLaMA-2-7B's shape, random weights, on the CPU.

Owns: the model's folder (temporary, 13 GB of bfloat16 at 32 layers) and its own hosts. Loopback only; ends by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench import Options
from blindtune.client.step_calls import ForwardRequest
from gpu import LLAMA_2_7B
from hosts import Host, Hosts
from table import Fact

MOST_GB = 4.5


def tensors(config: dict[str, int], layer: int | None) -> dict[str, tuple[int, ...]]:
    """Names and shapes of one layer, or of what stands beside the layers."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    if layer is None:
        return {"model.embed_tokens.weight": (config["vocab_size"], width), "model.norm.weight": (width,)}
    path = f"model.layers.{layer}"
    named = {f"{path}.self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
    named |= {f"{path}.mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
    named[f"{path}.mlp.down_proj.weight"] = (width, inner)
    return named | {f"{path}.{name}_layernorm.weight": (width,) for name in ("input", "post_attention")}


def write_shard(path: Path, shapes: dict[str, tuple[int, ...]], values: np.ndarray) -> None:
    """A safetensors file of bfloat16, filled from `values` over and over."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for left in range(end, 0, -values.nbytes):
            file.write(values.tobytes()[:left])


def write_model(folder: Path, config: dict[str, int]) -> None:
    """A shard for each layer, with an index."""
    folder.mkdir()
    normal = np.random.default_rng(0).normal(0, 0.02, 1 << 22).astype(np.float32)
    values = (normal.view(np.uint32) >> 16).astype(np.uint16)  # the upper half of a float32 is a bfloat16
    index = {}
    for layer in [None, *range(config["num_hidden_layers"])]:
        shapes, name = tensors(config, layer), f"model-{layer}.safetensors"
        write_shard(folder / name, shapes, values)
        index |= dict.fromkeys(shapes, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    (folder / "config.json").write_text(json.dumps(config))


def measure(host: Host, double: bool) -> list[Fact]:
    """Opens a job, runs one short forward, and reads the process's private memory when it rests."""
    client = host.client()
    split = {"adapter_sets": 1, "precision": "nf4", "double_quant": double}
    begun = time.perf_counter()
    job = client.jobs.create("seven", {"type": "split", "split": split}, seed=0).id
    ids = np.arange(1, 9, dtype=np.int64)
    client.forward(job, ForwardRequest(input_ids=ids, lengths=np.array([8], np.int64), train=False))
    seconds = time.perf_counter() - begun
    time.sleep(11.0)
    name = "NF4, double quantization" if double else "NF4"
    memory = Fact(f"{name}: private memory of the whole host", host.anonymous() / 1e9, "GB", MOST_GB)
    return [memory, Fact(f"{name}: reading, quantizing and a first forward", seconds, "s", None)]


def main() -> int:
    """Print the figures; exit 1 when a host took more than 4.5 GB."""
    options = Options.read()
    config = {**LLAMA_2_7B, "num_hidden_layers": int(os.environ.get("LAYERS", "32"))}
    folder = Path(tempfile.mkdtemp(prefix="blindtune-bench-"))
    folder.chmod(0o755)  # the private Postgres runs under another account
    try:
        write_model(folder / "seven", config)
        facts = []
        for double in (False, True):
            with Hosts(options.binary, {"engine.threads": "0"}, {"seven": folder / "seven"}) as hosts:
                facts += measure(hosts.get(), double)
    finally:
        shutil.rmtree(folder)
    for fact in facts:
        print(f"{fact.name}: {fact.value:.2f} {fact.unit}" + (f" (goal: under {fact.goal})" if fact.goal else ""))
    return 0 if all(fact.goal is None or fact.value < fact.goal for fact in facts) else 1


if __name__ == "__main__":
    sys.exit(main())
