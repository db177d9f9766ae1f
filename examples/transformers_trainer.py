"""Private fine-tuning with transformers.Trainer: the backbone runs on hosts, everything with a label runs here.

    pip install 'blindtune[torch]' transformers accelerate
    python examples/transformers_trainer.py --host http://127.0.0.1:8080 --host http://127.0.0.1:8081

Keys come from BLINDTUNE_API_KEY: one for all hosts, or one for each, with commas between them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from blindtune import Client
from blindtune.torch import HostedBackbone, Mixing, PrivacyRegularizer
from notes import LABELS, make_notes
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments


class PrivateClassifier(nn.Module):
    """A classifier whose backbone is elsewhere: mixing, head, loss and regularizer are modules like any other."""

    def __init__(self, backbone: HostedBackbone, classes: int) -> None:
        super().__init__()
        width = backbone.hidden_size
        self.backbone = backbone
        self.mixing = Mixing(backbone)
        self.head = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, classes))
        for layer in (self.head[0], self.head[2]):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.regularizer = PrivacyRegularizer(backbone, classes)

    def forward(self, rows: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What Trainer expects: the loss, and the logits [B, C]. `rows` [B] index the backbone's texts."""
        sets, base = self.backbone.with_base(rows, self.training and self.regularizer.needs_base)
        logits = self.head(self.mixing(sets))
        loss = nn.functional.cross_entropy(logits, labels)
        if self.training:
            loss = loss + self.regularizer(sets, base, labels)
        return {"loss": loss, "logits": logits}

    def optimizer(self, lr: float) -> torch.optim.Optimizer:
        """AdamW, with the head at a rate of its own: it is small, and makes up for what the regularizer takes."""
        head_lr = self.backbone.settings.head_lr or lr
        groups = [{"params": [*self.backbone.parameters()]}, {"params": [*self.head.parameters()], "lr": head_lr}]
        return torch.optim.AdamW(groups, lr=lr, weight_decay=0.01)


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """Row numbers and labels; the texts are on the hosts."""

    def __init__(self, rows: range, labels: np.ndarray) -> None:
        self.rows, self.labels = rows, labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        return {"rows": row, "labels": int(self.labels[row])}


def train(
    model: str,
    hosts: Sequence[str | Client],
    *,
    rows: int = 400,
    fresh: int = 200,
    steps: int = 100,
    seed: int = 0,
    **settings: Any,
) -> dict[str, float]:
    """Train on so many made-up notes; metrics on so many fresh ones, `eval_accuracy` among them."""
    torch.manual_seed(seed)
    texts, numbers = make_notes(rows + fresh, seed)
    labels = np.array(numbers, dtype=np.int64)
    keys = [key for key in os.environ.get("BLINDTUNE_API_KEY", "").split(",") if key] or None
    backbone = HostedBackbone(model, hosts, texts=texts, api_keys=keys, ramp_steps=steps // 2, seed=seed, **settings)
    if backbone.settings.obfuscation == "decoys":  # a single host
        backbone.hide_among_decoys(torch.from_numpy(labels))
    classifier = PrivateClassifier(backbone, len(LABELS))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=64,
            warmup_steps=steps // 10,
            max_grad_norm=0.0,  # no clipping
            seed=seed,
            remove_unused_columns=False,
            save_strategy="no",
            logging_steps=max(1, steps // 5),
            report_to=[],
            use_cpu=True,  # the heavy part is elsewhere
        )
        trainer = Trainer(
            classifier,
            arguments,
            train_dataset=Rows(range(rows), labels),
            eval_dataset=Rows(range(rows, len(texts)), labels),
            optimizers=(classifier.optimizer(backbone.settings.lr), None),  # Trainer makes the schedule
            compute_metrics=lambda found: {"accuracy": float(np.mean(found.predictions.argmax(1) == found.label_ids))},
        )
        trainer.train()
        metrics = trainer.evaluate()
    backbone.complete()
    return metrics


def main() -> None:
    """Read the arguments, train, print the metrics."""
    parser = argparse.ArgumentParser(description="Private fine-tuning with transformers.Trainer.")
    parser.add_argument("--host", action="append", required=True, metavar="URL", help="give two that do not collude")
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="a model of the hosts")
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    print(train(options.model, options.host, steps=options.steps))


if __name__ == "__main__":
    main()
