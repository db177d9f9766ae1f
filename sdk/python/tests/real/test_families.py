"""A private run over HTTP on each family of backbones, from its Hugging Face folder, cut where the family is cut."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from .conftest import RealHost
from .test_training import notes, tuner

VOCABULARY, WIDTH, INNER, HEADS = 30522, 16, 32, 2
SEP = 102  # what MiniLM's tokenizer ends an input with

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, inputs: int, outputs: int, bias: bool) -> Shapes:
    """The tensors of one linear layer."""
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def norm(name: str, bias: bool) -> Shapes:
    """The tensors of one norm."""
    return {f"{name}.weight": (WIDTH,)} | ({f"{name}.bias": (WIDTH,)} if bias else {})


def llama() -> tuple[dict[str, Any], Shapes]:
    """Two layers, grouped-query attention."""
    shapes: Shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH)} | norm("model.norm", False)
    for layer in range(2):
        path = f"model.layers.{layer}"
        shapes |= norm(f"{path}.input_layernorm", False) | norm(f"{path}.post_attention_layernorm", False)
        for name, outputs in [("q_proj", WIDTH), ("k_proj", WIDTH // 2), ("v_proj", WIDTH // 2), ("o_proj", WIDTH)]:
            shapes |= linear(f"{path}.self_attn.{name}", WIDTH, outputs, False)
        for name, sizes in [("gate_proj", (WIDTH, INNER)), ("up_proj", (WIDTH, INNER)), ("down_proj", (INNER, WIDTH))]:
            shapes |= linear(f"{path}.mlp.{name}", *sizes, False)
    sizes = {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": 2, "num_attention_heads": HEADS}
    return {"model_type": "llama", "num_key_value_heads": 1, **sizes}, shapes


def t5() -> tuple[dict[str, Any], Shapes]:
    """One block on each side."""
    shapes: Shapes = {"shared.weight": (VOCABULARY, WIDTH)}
    for side, layers in [("encoder", ["SelfAttention"]), ("decoder", ["SelfAttention", "EncDecAttention"])]:
        path = f"{side}.block.0.layer"
        shapes |= {f"{path}.0.SelfAttention.relative_attention_bias.weight": (32, HEADS)}
        for place, module in enumerate(layers):
            shapes |= norm(f"{path}.{place}.layer_norm", False)
            for name in "qkvo":
                shapes |= linear(f"{path}.{place}.{module}.{name}", WIDTH, WIDTH, False)
        last = f"{path}.{len(layers)}"
        shapes |= norm(f"{last}.layer_norm", False) | norm(f"{side}.final_layer_norm", False)
        shapes |= linear(f"{last}.DenseReluDense.wi", WIDTH, INNER, False)
        shapes |= linear(f"{last}.DenseReluDense.wo", INNER, WIDTH, False)
    sizes = {"d_model": WIDTH, "d_kv": WIDTH // HEADS, "d_ff": INNER, "num_layers": 1, "num_heads": HEADS}
    return {"model_type": "t5", "eos_token_id": SEP, **sizes}, shapes


def deberta() -> tuple[dict[str, Any], Shapes]:
    """Two layers, as in v3."""
    shapes: Shapes = {"deberta.embeddings.word_embeddings.weight": (VOCABULARY, WIDTH)}
    shapes |= norm("deberta.embeddings.LayerNorm", True) | norm("deberta.encoder.LayerNorm", True)
    shapes |= {"deberta.encoder.rel_embeddings.weight": (16, WIDTH)}
    for layer in range(2):
        path = f"deberta.encoder.layer.{layer}"
        for name in ("query_proj", "key_proj", "value_proj"):
            shapes |= linear(f"{path}.attention.self.{name}", WIDTH, WIDTH, True)
        shapes |= linear(f"{path}.attention.output.dense", WIDTH, WIDTH, True)
        shapes |= linear(f"{path}.intermediate.dense", WIDTH, INNER, True)
        shapes |= linear(f"{path}.output.dense", INNER, WIDTH, True)
        shapes |= norm(f"{path}.attention.output.LayerNorm", True) | norm(f"{path}.output.LayerNorm", True)
    sizes = {"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": 2, "num_attention_heads": HEADS}
    relative = {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"]}
    style = {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False}
    return {"model_type": "deberta-v2", **sizes, **relative, **style}, shapes


def write(folder: Path, config: dict[str, Any], shapes: Shapes) -> None:
    """A random model with MiniLM's tokenizer."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": VOCABULARY}))
    ones = ("norm.weight", "Norm.weight", "layernorm.weight")
    tensors = {
        name: np.ones(shape, np.float32) if name.endswith(ones) else rng.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors")
    shutil.copy(Path(os.environ["BLINDTUNE_MINILM"]) / "tokenizer.json", folder)


@pytest.mark.parametrize(("make", "cut", "precision"), [(llama, "last", "nf4"), (t5, "eos", ""), (deberta, "cls", "")])
def test_a_private_run_on_every_family(
    hosts: list[RealHost], make: Any, cut: str, precision: str, tmp_path: Path
) -> None:
    config, shapes = make()
    name = f"tiny-{config['model_type']}"
    write(tmp_path / name, config, shapes)
    for host in hosts[:2]:
        host.command("models", "add", str(tmp_path / name), "--name", name)
    clients = [host.client() for host in hosts[:2]]
    mine = tuner(clients, steps=3, precision=precision or "float32")
    mine.model = name
    result = mine.fit(notes(64))
    assert result.steps == 3 and np.isfinite(result.loss)
    made = next(iter(clients[0].jobs.list()))
    split = made.method["split"]
    assert (split["pooling"], split["precision"]) == (cut, precision or "float32")
