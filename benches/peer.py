"""The other side of the bench: transformers + PEFT in a process of its own, told what to do line by line.

Runs in .deps/peft, without our SDK. Reads one JSON object a line on standard input and answers one on standard output;
tensors travel as safetensors files. Owns what is measured of the other side: padding the batch, the forwards and the
vector-Jacobian products, in eval mode. Must never: time its files, or answer with anything but its own measurements.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
PADDING = 0


@dataclass(frozen=True)
class Padded:
    """A batch of token ids as transformers takes it: ids and mask [b, t]."""

    ids: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(cls, ids: list[list[int]], device: str) -> Padded:
        """Padded to the longest row."""
        width = max(map(len, ids))
        rows = [row + [PADDING] * (width - len(row)) for row in ids]
        mask = [[1] * len(row) + [0] * (width - len(row)) for row in ids]
        return cls(torch.tensor(rows, device=device), torch.tensor(mask, device=device))


class Tuned:
    """One backbone with n adapter sets."""

    def __init__(self, folder: str, precision: str, sets: int, pooling: str, device: str) -> None:
        extra = {"add_pooling_layer": False} if AutoConfig.from_pretrained(folder).model_type == "bert" else {}
        base = AutoModel.from_pretrained(folder, dtype=DTYPES[precision], **extra).to(device)
        # No target_modules: PEFT's own default for the family, which is the host's default too.
        lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0)
        self.model = get_peft_model(base, lora, adapter_name="set0")
        for index in range(1, sets):
            self.model.add_adapter(f"set{index}", lora)
        self.model.eval()
        self.device, self.pooling = device, pooling
        named = [(name, weight) for name, weight in self.model.named_parameters() if "lora_" in name]
        self.weights = [[weight for name, weight in named if f".set{index}." in name] for index in range(sets)]
        self.names = [name.replace(".set0.", ".") for name, _ in named if ".set0." in name]

    def take(self, thetas: list[torch.Tensor]) -> None:
        """Adapter values from flat vectors [P], in the order of the names."""
        with torch.no_grad():
            for weights, theta in zip(self.weights, thetas, strict=True):
                parts = theta.split([weight.numel() for weight in weights])
                for weight, part in zip(weights, parts, strict=True):
                    weight.copy_(part.view_as(weight))

    def forward(self, ids: list[list[int]]) -> list[torch.Tensor]:
        """One padded pass a set; h [B, H] each."""
        inputs = Padded.of(ids, self.device)
        return [self._one(index, inputs.ids, inputs.mask) for index in range(len(self.weights))]

    def _one(self, index: int, inputs: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        if len(self.weights) > 1:
            self.model.set_adapter(f"set{index}")
            # Switching freezes the other sets, whose graphs still want their gradients.
            for weight in (weight for weights in self.weights for weight in weights):
                weight.requires_grad_(True)
        states = self.model(input_ids=inputs, attention_mask=attended).last_hidden_state  # (b, t, h)
        match self.pooling:
            case "cls":
                return states[:, 0].float()
            case "last":
                return states[torch.arange(len(states), device=states.device), attended.sum(1) - 1].float()
        raise ValueError(f"no such pooling: {self.pooling}")

    def backward(self, h: list[torch.Tensor], shares: list[list[torch.Tensor]]) -> dict[str, torch.Tensor]:
        """G.{i}.{j} [P]: each share's product with its set's Jacobian, on the graph of the forward."""
        gradients = {}
        for index, of_set in enumerate(shares):
            for number, share in enumerate(of_set):
                keep = number + 1 < len(of_set)
                parts = torch.autograd.grad(h[index], self.weights[index], share, retain_graph=keep)
                gradients[f"G.{index}.{number}"] = torch.cat([part.reshape(-1) for part in parts])
        return gradients

    def wait(self) -> None:
        """Until the device is idle."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


class Frozen:
    """One backbone as it is, asked for the hidden states of every level."""

    def __init__(self, folder: str, device: str) -> None:
        extra = {"add_pooling_layer": False} if AutoConfig.from_pretrained(folder).model_type == "bert" else {}
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32, **extra).to(device).eval()
        self.device = device

    @torch.inference_mode()
    def hidden_states(self, inputs: Padded) -> tuple[torch.Tensor, ...]:
        """[b, t, h] of each level, padded."""
        found = self.model(input_ids=inputs.ids, attention_mask=inputs.mask, output_hidden_states=True)
        states: tuple[torch.Tensor, ...] = found.hidden_states
        return states


class Peer:
    """The commands; each takes the fields of its line and gives those of the answer."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.models: dict[str, Tuned] = {}
        self.frozen: dict[str, Frozen] = {}

    def hello(self) -> dict[str, Any]:
        """Versions; refuses a device that is not there."""
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise RuntimeError(f"there is no CUDA device for {self.device} (GPU_SMOKE=1 runs the harness on the CPU)")
        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(0) if self.device.startswith("cuda") else "cpu",
            "libtorch": str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"),
        }

    def make_model(self, folder: str, config: dict[str, Any], precision: str, seed: int) -> dict[str, Any]:
        """A random model as transformers initialises it, written as a Hugging Face folder of safetensors."""
        torch.manual_seed(seed)
        settings = dict(config)
        wanted = AutoConfig.for_model(settings.pop("model_type"), **settings)
        extra = {"add_pooling_layer": False} if wanted.model_type == "bert" else {}
        with torch.device(self.device):
            model = AutoModel.from_config(wanted, dtype=DTYPES[precision], **extra)
        model.save_pretrained(folder, max_shard_size="4GB")
        return {"parameters": sum(weight.numel() for weight in model.parameters())}

    def tokenize(self, tokenizer: str, texts: list[str]) -> dict[str, Any]:
        """Word pieces of texts, neither padded nor cut."""
        from tokenizers import Tokenizer

        pieces = Tokenizer.from_file(tokenizer)
        pieces.no_padding()
        pieces.no_truncation()
        return {"ids": [one.ids for one in pieces.encode_batch(texts)]}

    def load(self, name: str, folder: str, precision: str, sets: int, pooling: str) -> dict[str, Any]:
        """Get a model ready under a name."""
        self.models[name] = Tuned(folder, precision, sets, pooling, self.device)
        return {"names": self.models[name].names}

    def load_frozen(self, name: str, folder: str) -> dict[str, Any]:
        """Get a backbone ready under a name."""
        self.frozen[name] = Frozen(folder, self.device)
        return {}

    def hidden_states(self, name: str, ids: list[list[int]], batch: int, answer: str = "") -> dict[str, Any]:
        """Hidden states in padded batches, in the order given; written where a file is named, else dropped. Only
        forwards are timed."""
        frozen, wall, cpu = self.frozen[name], 0.0, 0.0
        kept: list[list[torch.Tensor]] = []
        for first in range(0, len(ids), batch):
            some = ids[first : first + batch]
            begun, used = time.perf_counter(), time.process_time()
            states = frozen.hidden_states(Padded.of(some, self.device))
            wall, cpu = wall + time.perf_counter() - begun, cpu + time.process_time() - used
            if answer:
                lengths = [len(row) for row in some]
                kept.append([torch.cat([row[:n] for row, n in zip(level, lengths, strict=True)]) for level in states])
        if answer:
            levels = [torch.cat(parts) for parts in zip(*kept, strict=True)]
            save_file({f"hidden.{number}": level for number, level in enumerate(levels)}, answer)
        return {"wall": wall, "cpu": cpu}

    def unload(self, name: str) -> dict[str, Any]:
        """Forget a model."""
        self.models.pop(name, None)
        return {}

    def step(self, name: str, batch: str, answer: str) -> dict[str, Any]:
        """Forwards and products of one batch; only they are timed."""
        tuned = self.models[name]
        tensors = load_file(batch)
        lengths: list[int] = tensors["lengths"].tolist()
        ids = [part.tolist() for part in tensors["input_ids"].split(lengths)]
        sets = range(len(tuned.weights))
        count = sum(key.startswith("s.0.") for key in tensors)
        shares = [[tensors[f"s.{i}.{j}"].to(tuned.device) for j in range(count)] for i in sets]
        tuned.take([tensors[f"theta.{i}"] for i in sets])
        tuned.wait()
        wall, cpu = time.perf_counter(), time.process_time()
        h = tuned.forward(ids)
        tuned.wait()
        between = time.perf_counter()
        gradients = tuned.backward(h, shares)
        tuned.wait()
        end, used = time.perf_counter(), time.process_time() - cpu
        result = gradients | {f"h.{i}": value.detach() for i, value in enumerate(h)}
        save_file({key: value.float().cpu().contiguous() for key, value in result.items()}, answer)
        held = torch.cuda.max_memory_allocated() if self.device.startswith("cuda") else 0
        return {"wall": end - wall, "forward_wall": between - wall, "cpu": used, "device_bytes": held}

    def peak(self, size: int, precision: str, repeats: int) -> dict[str, Any]:
        """FLOP/s of a large square product, the best of the repeats."""
        left, right = (torch.randn(size, size, device=self.device, dtype=DTYPES[precision]) for _ in range(2))
        best = 0.0
        for _ in range(repeats):
            begun = time.perf_counter()
            for _ in range(4):
                left @ right
            if self.device.startswith("cuda"):
                torch.cuda.synchronize()
            best = max(best, 4 * 2 * size**3 / (time.perf_counter() - begun))
        return {"flops": best}


def main() -> None:
    """Answer lines until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to the log
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    device = os.environ.get("PEER_DEVICE", "cpu")
    transformers.logging.set_verbosity_error()
    peer = Peer(device)
    for line in sys.stdin:
        fields = json.loads(line)
        command: Callable[..., dict[str, Any]] = getattr(peer, fields.pop("do"))
        try:
            answer = command(**fields)
        except Exception as error:  # the bench says what failed, and goes on with the next case
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
