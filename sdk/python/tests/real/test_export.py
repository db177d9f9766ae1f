"""Exports of real runs: they predict as the run did, and PEFT loads them (where it is: `.deps/peft`)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from blindtune import P3EFT
from blindtune.export import export, load_export

from .conftest import RealHost
from .test_training import notes, tuner

TEXTS = ("the man is well again", "the woman cannot sleep", "nothing of the kind")


@pytest.fixture(scope="module")
def trained(hosts: list[RealHost]) -> P3EFT:
    """A few steps on two hosts."""
    made = tuner([host.client() for host in hosts], steps=4, adapter_sets=2)
    made.fit(notes(40))
    return made


def test_it_predicts_as_the_run_did(hosts: list[RealHost], trained: P3EFT, tmp_path: Path) -> None:
    folder = export(trained, tmp_path / "out", "correct horse")
    again = load_export(folder, hosts[1].client(), passphrase="correct horse")
    np.testing.assert_allclose(again.predict_proba(TEXTS), trained.predict_proba(TEXTS), atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning:transformers")  # PEFT calls what transformers has renamed
def test_peft_loads_it_and_computes_what_the_host_does(trained: P3EFT, tmp_path: Path) -> None:
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    folder = export(trained, tmp_path / "out")
    backbone = Path(os.environ["BLINDTUNE_MINILM"])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(backbone / "tokenizer.json"),
        pad_token="[PAD]",
        model_input_names=["input_ids", "attention_mask"],
    )
    wanted, bare = trained.activations(TEXTS, base=True)
    assert bare is not None
    for i, expected in enumerate(wanted):
        model = transformers.AutoModel.from_pretrained(backbone, dtype=torch.float32)
        model = peft.PeftModel.from_pretrained(model, folder / f"set{i}").eval()
        with torch.no_grad():
            answer = model(**tokenizer(list(TEXTS), return_tensors="pt", padding=True)).last_hidden_state[:, 0]
        assert np.linalg.norm(expected - bare) > 1e-2 * np.linalg.norm(bare), "the adapters do something"
        assert np.linalg.norm(answer.numpy() - expected) < 1e-4 * np.linalg.norm(expected)
