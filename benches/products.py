"""Products of a frozen float32 layer, three ways: `make bench-products` (one thread, in .deps/peft's torch).

LibTorch's BLAS, oneDNN on the weight as it lies in its file (what the host does), and oneDNN on a weight packed
beforehand, both forward (x W^T) and backward (g W). Owns nothing; must never be timed beside other work.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

SHAPES = [(384, 384), (768, 768), (768, 3072), (3072, 768)]
ROWS = [12, 96, 400, 1024]
BUDGET_S = 0.4

onednn = torch.ops.mkldnn._linear_pointwise
pack = torch.ops.mkldnn._reorder_linear_weight


def best(work: Callable[[], torch.Tensor]) -> float:
    """Least seconds of as many repeats as fit the budget."""
    took = []
    end = time.perf_counter() + BUDGET_S
    while time.perf_counter() < end or len(took) < 5:
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return min(took[1:])


def ways(x: torch.Tensor, weight: torch.Tensor) -> dict[str, Callable[[], torch.Tensor]]:
    """x W^T by each way; `weight` may be a transposed view."""
    packed = pack(weight.contiguous(), x.shape[0])

    def plain(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return onednn(x, weight, None, "none", [], "")

    return {
        "BLAS": lambda: torch.nn.functional.linear(x, weight),
        "oneDNN": lambda: plain(x, weight),
        "oneDNN packed": lambda: plain(x, packed),
    }


def main() -> None:
    """Print GFLOP/s."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'rows':>6}{'in':>6}{'out':>6}  direction   BLAS  oneDNN  packed  (GFLOP/s)")
    for inputs, outputs in SHAPES:
        weight = torch.randn(outputs, inputs)
        for rows in ROWS:
            work = 2e-9 * rows * inputs * outputs
            for name, of, x in (
                ("forward", weight, torch.randn(rows, inputs)),
                ("backward", weight.t(), torch.randn(rows, outputs)),
            ):
                rates = [work / best(way) for way in ways(x, of).values()]
                figures = "".join(f"{rate:8.0f}" for rate in rates)
                print(f"{rows:>6}{inputs:>6}{outputs:>6}  {name:<9}{figures}", flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
