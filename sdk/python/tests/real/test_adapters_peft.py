"""PEFT folders, out of the host and into it: PEFT computes what the host does (where it is: `.deps/peft`)."""

from __future__ import annotations

import base64
import io
import os
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from .conftest import MODEL, RealHost

TEXTS = ["the man is well again", "the woman cannot sleep", "nothing of the kind"]

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning:transformers"
)  # PEFT calls what transformers has renamed


@pytest.fixture
def http(hosts: list[RealHost]) -> httpx.Client:
    key = hosts[0].make_key("--project", "peft")
    return httpx.Client(base_url=f"{hosts[0].url}/v1", headers={"Authorization": f"Bearer {key}"}, timeout=60)


def answer(reply: httpx.Response) -> Any:
    assert reply.status_code == 200, reply.text
    return reply.json()


def new_job(http: httpx.Client, model: str, **split: Any) -> str:
    body = {"model": model, "seed": 5, "method": {"type": "split", "split": split}}
    return str(answer(http.post("/fine_tuning/jobs", json=body))["id"])


def floats(tensor: dict[str, Any]) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(tensor["data"]), "<f4").reshape(tensor["shape"])


def forward(http: httpx.Client, job: str) -> list[NDArray[np.float32]]:
    """Activations of every set, without a word on the adapters' values."""
    reply = answer(http.post(f"/fine_tuning/jobs/{job}/forward", json={"train": False, "texts": TEXTS}))
    return [floats(reply["activations"][f"h.{i}"]) for i in range(len(reply["activations"]))]


def backbone() -> tuple[Any, Any]:
    """MiniLM and its inputs, in transformers."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = Path(os.environ["BLINDTUNE_MINILM"])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        pad_token="[PAD]",
        model_input_names=["input_ids", "attention_mask"],
    )
    return transformers.AutoModel.from_pretrained(folder), tokenizer(TEXTS, return_tensors="pt", padding=True)


def activations(model: Any, inputs: Any) -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        states: NDArray[np.float32] = model.eval()(**inputs).last_hidden_state[:, 0].numpy()
    return states


def close(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    assert ours.shape == theirs.shape
    worst = float(np.abs(ours - theirs).max())
    assert worst <= 1e-5, worst


def test_a_checkpoint_of_the_host_is_loaded_by_peft(http: httpx.Client, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    job = new_job(http, MODEL, adapter_sets=2, lora={"rank": 4, "use_rslora": True, "rank_pattern": {"value": 2}})
    random = np.random.default_rng(0)
    parameters = answer(http.get(f"/fine_tuning/jobs/{job}/adapters"))["parameters"]
    for i in range(2):
        theta = (0.05 * random.standard_normal(parameters)).astype("<f4")
        tensor = {"dtype": "F32", "shape": [parameters], "data": base64.b64encode(theta.tobytes()).decode()}
        answer(http.put(f"/fine_tuning/jobs/{job}/adapters/{i}", json={"tensors": {f"theta.{i}": tensor}}))
    saved = answer(http.post(f"/fine_tuning/jobs/{job}/checkpoints"))["id"]
    archive = http.get(f"/fine_tuning/jobs/{job}/checkpoints/{saved}/content")
    assert archive.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(archive.content)) as files:
        files.extractall(tmp_path)
    for i, ours in enumerate(forward(http, job)):
        bare, inputs = backbone()
        plain = activations(bare, inputs)
        theirs = activations(peft.PeftModel.from_pretrained(bare, tmp_path / f"set_{i}"), inputs)
        close(ours, theirs)
        assert np.abs(ours - plain).max() > 1e-2, "the adapters do something"
    answer(http.post(f"/fine_tuning/jobs/{job}/cancel"))


def test_a_folder_saved_by_peft_is_taken_over_and_trained_on(http: httpx.Client, tmp_path: Path) -> None:
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    expected, parts = [], []
    for i in range(2):
        torch.manual_seed(i)
        bare, inputs = backbone()
        config = peft.LoraConfig(
            r=4,
            lora_alpha=12,
            lora_dropout=0.1,
            target_modules=["query", "attention.output.dense"],
            alpha_pattern={"query": 6},
            init_lora_weights=False,
        )
        model = peft.get_peft_model(bare, config)
        model.save_pretrained(tmp_path / str(i))
        expected.append(activations(model, inputs))
        for field, name in (("config", "adapter_config.json"), ("weights", "adapter_model.safetensors")):
            parts.append((field, (name, (tmp_path / str(i) / name).read_bytes())))
    form = {"base_model": MODEL, "suffix": "peft", "pooling": "cls"}
    model = answer(http.post("/adapters", data=form, files=parts))
    assert (model["base_model"], model["adapter_sets"], model["pooling"]) == (MODEL, 2, "cls")
    for custody in ("client", "host"):
        job = new_job(http, model["id"], custody=custody)
        for ours, theirs in zip(forward(http, job), expected, strict=True):
            close(ours, theirs)
        answer(http.post(f"/fine_tuning/jobs/{job}/cancel"))
    archive = http.get(f"/adapters/{model['id']}", params={"set": 0})
    with zipfile.ZipFile(io.BytesIO(archive.content)) as files:
        files.extractall(tmp_path / "back")
    bare, inputs = backbone()
    close(activations(peft.PeftModel.from_pretrained(bare, tmp_path / "back"), inputs), expected[0])
