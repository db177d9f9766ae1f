"""Settings that make no sense are refused by name, and a precision that would spoil the gradients with the number."""

from __future__ import annotations

import logging
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from blindtune import SettingsError
from blindtune.private import heads, mixing, obfuscation
from blindtune.private.obfuscation.shares import NOISE_SCALE, split
from blindtune.private.penalties import schedules
from blindtune.private.penalties.camouflage import CamouflageWeights
from blindtune.private.penalties.probe import RegularizerWeights
from blindtune.private.secret import SecretStream
from blindtune.rounding import expected_kappa
from blindtune.training.factory import make_obfuscation
from blindtune.training.placement import PLACEMENTS
from blindtune.training.setting_types import SettingType
from blindtune.training.settings import SETTING_TYPES, Settings
from blindtune.training.settings_dict import SettingsDict


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("scale", [0.5, 10.0, 100.0])
def test_kappa_is_known_before_the_first_share(count: int, scale: float, secret: SecretStream) -> None:
    g = np.random.default_rng(0).normal(size=(64, 384)).astype(np.float32)
    expected = expected_kappa("shares", count, scale)
    assert split(g, count, secret, ("step", 0, 0), scale).kappa == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("given", [{}, {"obfuscation": "plain"}, {"shares": 1}, {"shares": 3}, {"decoys": 7}])
def test_settings_are_judged_by_the_kappa_that_the_obfuscation_states(given: dict[str, Any]) -> None:
    settled = Settings(**given).resolve(1)
    stated = make_obfuscation(settled).statement(1).kappa
    assert stated == expected_kappa(settled.obfuscation or "", settled.shares or 0, settled.noise_scale)


def test_settings_know_the_words_and_the_defaults_of_the_private_parts() -> None:
    """They are written down twice, since settings know no private part."""
    words = {name: kind.choices for name, kind in SETTING_TYPES.items()}
    assert words["head"] == heads.HEADS and words["coefficients"] == mixing.COEFFICIENTS
    assert words["obfuscation"] == obfuscation.OBFUSCATIONS and words["schedule"] == schedules.SCHEDULES
    assert words["placement"] == tuple(PLACEMENTS)
    usual, ours, probe = Settings(), CamouflageWeights(), RegularizerWeights()
    assert usual.noise_scale == NOISE_SCALE
    assert (usual.scatter_weight, usual.decoy_weight, usual.decoy_amplitude) == (
        ours.scatter,
        ours.decoy,
        ours.amplitude,
    )
    on = (usual.activation_weight, usual.shift_weight, usual.difference_weight)
    assert on == (probe.activations, probe.shifts, probe.differences)


def test_a_type_says_how_a_setting_is_written() -> None:
    assert SETTING_TYPES["label_epsilon"] == SettingType(float, optional=True, range="above 0")
    assert SETTING_TYPES["obfuscation"] == SettingType(str, optional=True, choices=("shares", "decoys", "plain"))
    read = {name: SETTING_TYPES[name].read for name in ("steps", "lr", "double_quant", "target_modules", "pooling")}
    read |= {name: SETTING_TYPES[name].read for name in ("alpha", "class_weights")}
    assert (read["steps"]("7"), read["steps"]("None"), read["lr"]("1e-3")) == (7, None, 1e-3)
    assert (read["double_quant"]("True"), read["pooling"]("cls")) == (True, "cls")
    assert read["target_modules"]("query,value") == ("query", "value")
    weights = read["class_weights"]
    assert (weights("balanced"), weights("1,2.5"), weights("none")) == ("balanced", (1.0, 2.5), None)
    for name, text in (("steps", "many"), ("alpha", "none"), ("double_quant", "yes"), ("class_weights", "even")):
        with pytest.raises(ValueError, match=text):
            read[name](text)


def test_every_setting_is_described_once_with_its_range_and_default() -> None:
    assert all(kind.says and kind.panel for kind in SETTING_TYPES.values())
    assert len({kind.says for kind in SETTING_TYPES.values()}) == len(SETTING_TYPES)
    assert SETTING_TYPES["rank"].help == "rank of the LoRA adapters; above 0; default 8"
    assert "at least 0 and below 1" in SETTING_TYPES["dropout"].help
    assert Settings().rank == 8 and Settings().lr is None, "a described default is a default"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rank": 0}, "rank must be above 0, not 0"),
        ({"lr": float("nan")}, "lr must be above 0, not nan"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"pslf_labels": 1}, "pslf_labels must be at least 2, not 1"),
        ({"update_noise": -0.5}, r"update_noise must be at least 0, not -0\.5"),
        ({"max_leak": 0.0}, r"max_leak must be in \(0, 1\], not 0\.0"),
        ({"on_leak": "stop", "audit_every": 0}, "on_leak stop needs audit_every above 0"),
        ({"schedule": "automatic", "audit_every": 0}, "schedule automatic needs audit_every above 0"),
        ({"head": "round"}, "head must be one of dense-tanh-linear, linear, not 'round'"),
        ({"lr": "fast"}, "lr must be a number above 0, not 'fast'"),
        ({"rank": 8.5}, r"rank must be a whole number above 0, not 8\.5"),
        ({"double_quant": "perhaps"}, "double_quant must be true or false, not 'perhaps'"),
        ({"alpha": None}, "alpha must be a number, not None"),
        ({"target_modules": "query"}, "target_modules must be a list of names, not 'query'"),
        ({"class_weights": "even"}, "class_weights must be balanced, or numbers above 0, not 'even'"),
        ({"class_weights": [1, -1]}, r"class_weights must be balanced, or numbers above 0, not \[1, -1\]"),
    ],
)
def test_each_rule_refuses_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**given).resolve(1)


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


WIDER = {"layers", "project", "target_modules", "class_weights"}
"""Settings that are taken in more forms than they are kept in."""


def _plain(hint: Any) -> Any:
    """Without bounds; the choices of a union in no order."""
    if get_origin(hint) is Annotated:
        return _plain(get_args(hint)[0])
    parts = get_args(hint)
    return frozenset(map(_plain, parts)) if NoneType in parts else hint


def test_the_typed_keywords_are_the_settings() -> None:
    keywords, kept = get_type_hints(SettingsDict), get_type_hints(Settings, include_extras=True)
    assert list(keywords) == list(kept) == list(SETTING_TYPES)
    differ = {name for name in kept if _plain(keywords[name]) != _plain(kept[name])}
    assert differ == WIDER
