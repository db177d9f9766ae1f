"""The ladder side network: its forward and gradients against a plain one, and what it learns at home."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import sentiment
from fake_host import FakeHost
from test_side import check_whole_numbers, in_the_middle, marked, some_taps

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from blindtune import Client, Tuner  # noqa: E402
from blindtune.data.taps import Taps  # noqa: E402
from blindtune.export import load_export  # noqa: E402
from blindtune.private.heads import cross_entropy  # noqa: E402
from blindtune.private.secret import SecretStream  # noqa: E402
from blindtune.private.side import Regularization, SideModel, SideSettings, fit_side  # noqa: E402
from blindtune.private.side.ladder import Ladder, sizes  # noqa: E402
from blindtune.private.side.network import Shape  # noqa: E402
from blindtune.private.tasks import Classification  # noqa: E402

FEATURES, WIDTH = 12, 8
PLAIN = Regularization(dropout=0.0)
SMALL = {"method": "side", "side": "ladder", "side_width": 16, "epochs": 8, "networks": 1, "batch_size": 32, "lr": 5e-3}


def varied(levels: int, outputs: int = 3) -> Ladder:
    """A network none of whose parameters is zero or one."""
    network = Ladder.fresh(Shape(levels, FEATURES, outputs, width=WIDTH), SecretStream(b"l"), PLAIN)
    rng = np.random.default_rng(4)
    for parameter in network.parameters:
        parameter += 0.3 * rng.normal(size=parameter.shape).astype(np.float32)
    return network


def plain_block(w: dict[str, Tensor], number: int) -> nn.TransformerEncoderLayer:
    """PyTorch's own pre-norm block, with one block's weights."""
    layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
    mine = ("attention", "mixed", "wide", "narrow", "norm1", "norm2")
    its = (layer.self_attn, layer.self_attn.out_proj, layer.linear1, layer.linear2, layer.norm1, layer.norm2)
    for name, part in zip(mine, its, strict=True):
        for kind in ("weight", "bias"):
            place = f"in_proj_{kind}" if name == "attention" else kind
            del part._parameters[place]
            setattr(part, place, w[f"{name}.{kind}"][number])
    return layer.train()  # in evaluation it takes a path of its own, and with a dropout of 0 the two are the same


def plain(w: dict[str, Tensor], taps: Taps) -> Tensor:
    """The formula, text by text: logits [N, O]."""
    rows = []
    for first, end in zip(taps.offsets[:-1], taps.offsets[1:], strict=True):
        down = [
            torch.from_numpy(level[first:end]) @ w["down.weight"][k].T + w["down.bias"][k]
            for k, level in enumerate(taps.levels)
        ]
        z = down[0] if len(down) > 1 else plain_block(w, 0)(down[0][None])[0]
        for k in range(1, len(down)):
            g = torch.sigmoid(w["gate"][k - 1])
            z = plain_block(w, k - 1)((g * z + (1 - g) * down[k])[None])[0]
        summary = torch.cat([z[0], z.mean(dim=0)])
        normed = nn.functional.layer_norm(summary, summary.shape, w["norm.weight"], w["norm.bias"])
        hidden = torch.tanh(w["dense.weight"] @ normed + w["dense.bias"])
        rows.append(w["out.weight"] @ hidden + w["out.bias"])
    return torch.stack(rows)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_forward_and_gradients_are_those_of_the_formula(levels: int) -> None:
    taps, network = some_taps(6, 0, levels), varied(levels)
    labels = np.array([0, 2, 1, 1, 0, 2])
    pairs = zip(network.names, network.parameters, strict=True)
    weights = {name: torch.from_numpy(parameter.copy()).requires_grad_() for name, parameter in pairs}
    expected = plain(weights, taps)
    np.testing.assert_allclose(network.outputs(taps), expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    loss = nn.functional.cross_entropy(expected, torch.from_numpy(labels))
    exact = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
    generator = np.random.default_rng(0)
    found, gradients = network.loss_and_gradients(taps, lambda z: cross_entropy(z, labels), generator)
    assert found == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, gradient, other in zip(network.names, gradients, exact, strict=True):
        np.testing.assert_allclose(gradient, other.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


def test_as_many_parameters_as_the_prototype_had() -> None:
    count = sum(int(np.prod(size)) for size in sizes(Shape(7, 384, 2, width=96)).values())
    assert round(count / 1000) == 745 and tuple(sizes(Shape(7, 384, 2, width=96))) == Ladder.names


def test_padding_changes_nothing() -> None:
    taps, network = some_taps(6, 3), varied(2)
    alone = np.concatenate([network.outputs(taps.take(np.array([row]))) for row in range(6)])
    np.testing.assert_allclose(network.outputs(taps), alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("regularization", [Regularization(dropout=0.5), Regularization(0.0, input_noise=0.5)])
def test_noise_is_drawn_from_the_generator_alone(regularization: Regularization) -> None:
    taps, labels = some_taps(6, 3), np.array([0, 2, 1, 1, 0, 2])
    network = Ladder(varied(2).parameters, regularization)

    def gradients(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        generator = np.random.default_rng(seed % 10)
        found = network.loss_and_gradients(taps, lambda z: cross_entropy(z, labels), generator)[1]
        return np.concatenate([g.ravel() for g in found])

    np.testing.assert_array_equal(gradients(1), gradients(11))
    assert np.abs(gradients(1) - gradients(2)).max() > 1e-3
    np.testing.assert_array_equal(network.outputs(taps), network.outputs(taps))


def test_whole_numbers_of_8_bits_are_read_as_numbers() -> None:
    check_whole_numbers("ladder")


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    varied(2).outputs(some_taps(3, 0))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_it_learns_what_the_last_level_does_not_say() -> None:
    """Rows that it never saw: with all levels, with the last alone, and with shuffled labels."""
    (train, labels), (fresh, truth) = in_the_middle(800, 5), in_the_middle(400, 6)
    shuffled = np.random.default_rng(0).permutation(labels)
    found = {}
    for name, levels, learned in (("all", 3, labels), ("last", 1, labels), ("luck", 3, shuffled)):
        settings = SideSettings(kind="ladder", width=16, epochs=6, batch_size=32, lr=5e-3)
        model = fit_side(last(train, levels), learned, Classification(2), settings, SecretStream(b"m"))
        found[name] = float(np.mean(model.outputs(last(fresh, levels)).argmax(axis=1) == truth))
    assert found["all"] > 0.9 and found["last"] < 0.7 and found["luck"] < 0.7, found


def last(taps: Taps, count: int) -> Taps:
    """The last levels alone."""
    return Taps(taps.levels[-count:], taps.offsets)


def test_one_secret_gives_one_network_and_it_comes_back() -> None:
    taps, labels = marked(200, 9)
    settings = SideSettings(kind="ladder", width=16, epochs=2, networks=2, regularization=Regularization(0.2, 0.1))
    first, again, other = (
        fit_side(taps, labels, Classification(2), settings, SecretStream(name)) for name in (b"s", b"s", b"t")
    )
    np.testing.assert_array_equal(first.outputs(taps), again.outputs(taps))
    assert np.abs(first.outputs(taps) - other.outputs(taps)).max() > 1e-3
    saved = {name: value.copy() for name, value in first.parameters().items()}
    for value in saved.values():
        value.flags.writeable = False
    restored = SideModel.of(saved)
    assert [network.kind for network in restored.networks] == ["ladder", "ladder"]
    np.testing.assert_array_equal(restored.outputs(taps), first.outputs(taps))


def test_a_run_is_fitted_taken_up_saved_and_exported(fake_host: FakeHost, tmp_path: Path) -> None:
    client, data, fresh = Client(fake_host.url, "key"), sentiment(600), sentiment(300, seed=1)
    tuner = Tuner("toy", [client], run=tmp_path / "run", progress=False, **SMALL)
    result = tuner.fit(data)
    assert result.steps == 17 * 8 and not fake_host.jobs
    assert tuner.evaluate(fresh)["accuracy"] > 0.9
    asked, expected = len(fake_host.seen), tuner.predict_proba(fresh.texts)
    again = Tuner("toy", [client], run=tmp_path / "run", progress=False, **SMALL)
    assert again.fit(data).adapter_sha256 == result.adapter_sha256
    np.testing.assert_array_equal(again.predict_proba(fresh.texts), expected)
    (tmp_path / "run" / "state.safetensors").unlink()
    trained_again = Tuner("toy", [client], run=tmp_path / "run", progress=False, **SMALL)
    assert trained_again.fit(data).adapter_sha256 == result.adapter_sha256
    assert len(fake_host.seen) == asked, "nothing that came is asked for again"
    tuner.save(tmp_path / "copy")
    loaded = Tuner.load(tmp_path / "copy", [client], progress=False)
    np.testing.assert_array_equal(loaded.predict_proba(fresh.texts), expected)
    tuner.export(tmp_path / "out")
    np.testing.assert_array_equal(load_export(tmp_path / "out", client).predict_proba(fresh.texts), expected)
