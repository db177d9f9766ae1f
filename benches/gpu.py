"""Our host over HTTP against transformers + PEFT in-process on one CUDA device: `make bench-gpu`.

Random models in the shapes of LLaMA-2-7B and DeBERTa-v2-XXLarge, bfloat16, one adapter set, one share. A card holds
one side at a time, so the sides take turns by blocks: a process of one side, its steps, its end; then the other.
A batch that one side has not the memory for is halved for both, and the title of its row says what was run.
Options are environment variables: ROUNDS (steps of a block), BLOCKS (of each side), LAYERS, CASES, THREADS and
GRAPH_BYTES. GPU_SMOKE=1 runs tiny shapes on the CPU, to check the harness. The host needs BLINDTUNE_TORCH=cuda.
Owns: the run. Must never: call a figure of the smoke test a measurement.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import Options, Outcome, machine, make_model, same_libtorch, write
from blindtune import ApiError, RetryPolicy
from cases import Batch, make_batch, of_length
from hosts import Hosts
from measure import REFUSALS, Result, say
from peerlink import PeerError, PeerLink
from sides import HostJob, PeerModel, Sample, Work, difference
from table import Fact, Measured, compare, render

LLAMA_2_7B: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5,
}
DEBERTA_V2_XXLARGE: dict[str, Any] = {
    "model_type": "deberta-v2",
    "vocab_size": 128100,
    "hidden_size": 1536,
    "intermediate_size": 6144,
    "num_hidden_layers": 48,
    "num_attention_heads": 24,
    "max_position_embeddings": 512,
    "type_vocab_size": 0,
    "relative_attention": True,
    "position_buckets": 256,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "conv_kernel_size": 3,
    "conv_act": "gelu",
    "layer_norm_eps": 1e-7,
}
# Shapes that a CPU runs in a second, for the smoke test.
TINY = {
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
PRECISION = "bfloat16"
WARM_UPS = 3
# As PEFT: one graph at a time, and as large as the memory holds. The host's own bound goes by an estimate, which for
# 16 x 512 tokens of LLaMA-2-7B is 102 GB, as if all of it were float32.
ONE_GRAPH = {"engine.graphs_per_job": "1", "engine.graph_bytes": os.environ.get("GRAPH_BYTES", str(1 << 50))}
NO_MEMORY = ("out_of_memory", "too_large", "OutOfMemoryError", "out of memory")
OURS, THEIRS = "host bf16", "PEFT bf16"


@dataclass(frozen=True)
class Shape:
    """A model and its batch."""

    name: str
    config: dict[str, Any]
    rows: int
    length: int
    pooling: str

    @property
    def weights(self) -> int:
        """Weights that every token is multiplied with: those of the layers' linear maps."""
        width, wide = self.config["hidden_size"], self.config["intermediate_size"]
        gates = 3 if self.config["model_type"] == "llama" else 2
        return int(self.config["num_hidden_layers"] * (4 * width * width + gates * width * wide))

    @property
    def flops(self) -> int:
        """Of a step: forward and backward through frozen weights are 2 each for a weight and token."""
        return 4 * self.weights * self.rows * self.length


def shapes(smoke: bool, layers: int | None) -> list[Shape]:
    """What is measured."""
    llama = Shape("llama-2-7b", LLAMA_2_7B, 16, 512, "last")
    deberta = Shape("deberta-v2-xxlarge", DEBERTA_V2_XXLARGE, 16, 256, "cls")
    changed = []
    for shape in (llama, deberta):
        config = dict(shape.config)
        if smoke:
            config |= TINY | ({"num_key_value_heads": 4} if "num_key_value_heads" in config else {})
        if layers is not None:
            config["num_hidden_layers"] = layers
        name = f"{shape.name}-smoke" if smoke else shape.name
        rows, length = (2, 16) if smoke else (shape.rows, shape.length)
        changed.append(Shape(name, config, rows, length, shape.pooling))
    return changed


@dataclass
class Card:
    """Where a run happens."""

    options: Options
    device: str
    blocks: int
    smoke: bool
    layers: int | None = None
    peak: float = 0.0
    # Is told what is known so far, for a run that may be cut short.
    note: Callable[[dict[str, Any]], None] = lambda _: None

    @classmethod
    def read(cls) -> Card:
        """From the environment."""
        env = os.environ
        smoke = env.get("GPU_SMOKE", "") not in ("", "0")
        options = dataclasses.replace(Options.read(), threads=int(env.get("THREADS", "1" if smoke else "4")))
        layers = int(env["LAYERS"]) if env.get("LAYERS") else None
        return cls(options, "cpu" if smoke else "cuda:0", int(env.get("BLOCKS", "2")), smoke, layers)

    def link(self) -> PeerLink:
        """A PEFT worker on the device."""
        return PeerLink(self.options.peer, self.options.threads, self.device)

    def hosts(self, models: dict[str, Path]) -> Hosts:
        """Hosts on the device."""
        settings = {"engine.threads": str(self.options.threads)}
        if not self.smoke:
            settings |= {"engine.device": self.device}
        return Hosts(self.options.binary, settings, models)


def batches(card: Card, shape: Shape, parameters: int) -> list[Batch]:
    """The warm-ups and the steps of a block."""
    draw = of_length(shape.length, shape.config["vocab_size"])
    sizes = (parameters, shape.config["hidden_size"])
    return [make_batch(draw, shape.rows, (1, 1), sizes, turn) for turn in range(card.options.rounds + WARM_UPS)]


def host_block(card: Card, shape: Shape, work: Work) -> tuple[list[Sample], dict[str, Any]]:
    """A host, its steps, its end."""
    with card.hosts({shape.name: Path(work.folder)}) as hosts:
        # A repeat would be counted into the step's time.
        job = HostJob(hosts.get(ONE_GRAPH), work, PRECISION, retry=RetryPolicy(patience_s=0.0))
        samples = [job.step(batch) for batch in batches(card, shape, job.parameters)]
        job.close()
    return samples[WARM_UPS:], {"tensors": samples[0].tensors, "names": job.names, "parameters": job.parameters}


def peer_block(card: Card, shape: Shape, work: Work, parameters: int) -> tuple[list[Sample], dict[str, Any]]:
    """A PEFT worker, its steps, its end."""
    with card.link() as link:
        if not card.peak:
            size, repeats = (256, 2) if card.smoke else (16384, 10)
            card.peak = link.ask("peak", size=size, precision=PRECISION, repeats=repeats)["flops"]
        model = PeerModel(link, work, PRECISION)
        samples = [model.step(batch) for batch in batches(card, shape, parameters)]
    return samples[WARM_UPS:], {"tensors": samples[0].tensors, "names": model.names}


def run_shape(card: Card, shape: Shape) -> tuple[Result, list[Fact]]:
    """Both sides, block after block."""
    folder = card.options.models / shape.name
    with card.link() as link:
        make_model(link, folder, shape.config, PRECISION)
    card.note({"model": shape.name, "rows": shape.rows, "tokens": shape.length})
    work = Work(shape.name, str(folder), shape.config["hidden_size"], 1, shape.pooling)
    measured = Measured({OURS: [], THEIRS: []}, {OURS: {}, THEIRS: {}})
    for block in range(card.blocks):
        say(f"  {shape.name}: block {block + 1} of {card.blocks}")
        ours, about = host_block(card, shape, work)
        card.note({f"{OURS}, block {block + 1}": [sample.figures() for sample in ours]})
        theirs, of_peer = peer_block(card, shape, work, about["parameters"])
        card.note({f"{THEIRS}, block {block + 1}": [sample.figures() for sample in theirs], "peak_flops": card.peak})
        if about["names"] != of_peer["names"]:
            raise ValueError(f"{shape.name}: the sides lay adapters out differently")
        measured.samples[OURS] += ours
        measured.samples[THEIRS] += theirs
        for kind in ("h", "G"):
            measured.differs[OURS][kind] = difference(about["tensors"], of_peer["tensors"], kind)
            measured.differs[THEIRS][kind] = 0.0
    tokens = shape.rows * shape.length
    title = (
        f"{shape.name}, {shape.config['num_hidden_layers']} layers, {shape.rows} x {shape.length} tokens, {PRECISION}"
    )
    row = compare((shape.name, title), (OURS, THEIRS), measured, None)
    facts = []
    for name, wall in ((OURS, row.wall_ours.median), (THEIRS, row.wall_theirs.median)):
        note = f"{100 * shape.flops / wall / card.peak:.1f} % of the measured peak of {card.peak / 1e12:.1f} TFLOP/s"
        facts.append(Fact(f"{shape.name}, {name}", tokens / wall, "tokens/s", None, note))
    rounds = {name: [sample.figures() for sample in of_side] for name, of_side in measured.samples.items()}
    return Result([row], {"differs": measured.differs, "rounds": rounds, "flops": shape.flops}), facts


def run_fitting(card: Card, shape: Shape) -> tuple[Shape, Result, list[Fact]]:
    """As `run_shape`, with half the rows until both sides have the memory."""
    while True:
        try:
            return shape, *run_shape(card, shape)
        except (ApiError, PeerError) as error:
            if shape.rows == 1 or not any(words in str(error) for words in NO_MEMORY):
                raise
            say(f"  {shape.name}: {shape.rows} rows: {error}")
            card.note({f"{shape.rows} rows": f"{type(error).__name__}: {error}"})
            shape = dataclasses.replace(shape, rows=shape.rows // 2)


def main() -> int:
    """Measure and print; 1 when something could not be run."""
    card = Card.read()
    options, smoke = card.options, card.smoke
    with card.link() as link:
        about = machine() | {"peer": link.ask("hello")}
    outcome = Outcome()
    for shape in shapes(smoke, card.layers):

        def take(shape: Shape = shape) -> None:
            _, result, facts = run_fitting(card, shape)
            outcome.take(shape.name, result)
            outcome.facts += facts

        outcome.attempt(options, shape.name, take)
    about |= {"same_libtorch": same_libtorch(about["peer"]), "peak_flops": card.peak}
    path = write(options, outcome, about, "gpu-smoke" if smoke else "gpu")
    if smoke:
        print("SMOKE TEST on the CPU with tiny shapes: no figure below is a measurement")
    print(f"{about['peer']['device']}, matrix peak {card.peak / 1e12:.1f} TFLOP/s in {PRECISION} (measured), ", end="")
    print(f"{options.rounds} steps x {card.blocks} blocks, same LibTorch: {about['same_libtorch']}")
    print("share of peak: 4 FLOPs for each weight of the layers and each token, attention and adapters not counted")
    print(render(outcome.rows, outcome.facts, outcome.not_run))
    print(f"\nevery round: {path}")
    return 1 if outcome.not_run else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except REFUSALS as error:
        sys.exit(f"bench-gpu: {error}")
