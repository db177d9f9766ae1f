"""Settings that make no sense are refused by name, and a precision that would spoil the gradients with the number."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from blindtune import SettingsError
from blindtune.private.obfuscation.shares import expected_kappa, split
from blindtune.private.secret import SecretStream
from blindtune.training.settings import Settings


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("scale", [0.5, 10.0, 100.0])
def test_kappa_is_known_before_the_first_share(count: int, scale: float, secret: SecretStream) -> None:
    g = np.random.default_rng(0).normal(size=(64, 384)).astype(np.float32)
    assert split(g, count, secret, ("step", 0, 0), scale).kappa == pytest.approx(expected_kappa(count, scale), rel=0.02)


def test_bfloat16_under_large_shares_is_refused_with_the_number() -> None:
    with pytest.raises(SettingsError, match=r"kappa 200 loses about 88%.*use float32"):
        Settings(precision="bfloat16").resolve(2)
    assert Settings(precision="bfloat16", method="lora").resolve(1).shares == 1
    for precision in ("float32", "nf4"):
        assert Settings(precision=precision).resolve(2).shares == 2


def test_bfloat16_under_small_shares_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="blindtune"):
        Settings(precision="bfloat16", noise_scale=4.0).resolve(2)
    assert "kappa 8.06 loses about 4%" in caplog.text


def test_the_job_gets_what_was_asked_for_and_no_more() -> None:
    plain = Settings().split_method()["split"]
    assert "pooling" not in plain and "double_quant" not in plain  # the host knows the family's own cut
    four = Settings(precision="nf4", double_quant=True, pooling="last").split_method()["split"]
    assert (four["precision"], four["double_quant"], four["pooling"]) == ("nf4", True, "last")


@pytest.mark.parametrize(("field", "value"), [("pooling", "first"), ("precision", "int8")])
def test_unknown_words_are_refused(field: str, value: str) -> None:
    with pytest.raises(SettingsError, match=field):
        Settings(**{field: value}).resolve(1)  # type: ignore[arg-type]
