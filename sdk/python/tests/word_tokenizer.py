"""The toy host's tokenizer, as a file: a token for each word."""

from __future__ import annotations

from pathlib import Path

import pytest


def word_tokenizer(folder: Path) -> Path:
    """Written to `folder`; a test that asks for it is left out where the extra is not installed."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"
