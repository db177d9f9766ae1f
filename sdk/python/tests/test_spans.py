"""Labels that stand in the text: read in both forms, brought to tokens and back, and counted as seqeval counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from clinical_notes import notes
from conftest import BAD, FILLER, GOOD
from fake_host import FakeHost
from word_tokenizer import word_tokenizer

from blindtune import Client, DataError, Dataset, RunError, SettingsError, Tuner, read_dataset
from blindtune.cli import main
from blindtune.data import Span, from_tags, to_tags
from blindtune.data.alignment import Aligner, TokenPlaces
from blindtune.data.taps import Taps
from blindtune.export import load_export
from blindtune.extras import MissingExtraError
from blindtune.private.evaluation import report_spans
from blindtune.private.heads import cross_entropy
from blindtune.private.secret import SecretStream
from blindtune.private.side.network import Regularization, Shape
from blindtune.private.side.tagger import Tagger
from blindtune.private.tagging import Tagging, TokenTags

SMALL = {"method": "side", "epochs": 12, "networks": 1, "batch_size": 32, "lr": 0.01}


def phrases(count: int, seed: int = 0) -> Dataset:
    """A good word praises, with the filler behind it; a bad word blames by itself."""
    rng = np.random.default_rng(seed)
    words, tags = [], []
    for _ in range(count):
        row: list[tuple[str, str]] = []
        for _ in range(rng.integers(1, 4)):
            row += [(str(word), "O") for word in rng.choice(FILLER, rng.integers(1, 3))]
            kind = rng.integers(3)
            if kind == 0:
                row += [(str(rng.choice(GOOD)), "B-PRAISE"), (str(rng.choice(FILLER)), "I-PRAISE")]
            elif kind == 1:
                row += [(str(rng.choice(BAD)), "B-BLAME")]
        words.append([word for word, _ in row])
        tags.append([tag for _, tag in row])
    return Dataset.from_lists(words, tags, ("BLAME", "PRAISE"), task="tokens")


@pytest.fixture
def client(fake_host: FakeHost) -> Client:
    return Client(fake_host.url, "key")


@pytest.fixture
def tuner(client: Client, tmp_path: Path) -> Tuner:
    given = {"run": tmp_path / "run", "tokenizer": word_tokenizer(tmp_path), "progress": False}
    tuner = Tuner("toy", [client], **given, **SMALL)
    tuner.fit(phrases(400))
    return tuner


# Reading.


def test_both_forms_agree(tmp_path: Path) -> None:
    spans = {"text": "Ann Lee took 5 mg .", "entities": [{"start": 13, "end": 17, "label": "DOSE"}]}
    spans["entities"].append({"start": 0, "end": 7, "label": "NAME"})  # type: ignore[attr-defined]
    tags = {"words": ["Ann", "Lee", "took", "5", "mg", "."], "tags": ["B-NAME", "I-NAME", "O", "B-DOSE", "I-DOSE", "O"]}
    (tmp_path / "a.jsonl").write_text(json.dumps(spans) + "\n" + json.dumps(tags) + "\n")
    data = read_dataset(tmp_path / "a.jsonl", task="tokens")
    expected = (Span(0, 7, "NAME"), Span(13, 17, "DOSE"))
    assert data.task == "tokens" and data.spans == (expected, expected) and data.texts[0] == data.texts[1]
    assert data.label_names == ("DOSE", "NAME") and data.sides == 2
    assert read_dataset([tags], ("NAME", "DOSE"), task="tokens").label_names == ("NAME", "DOSE")
    assert data.take(np.array([1])).spans == (expected,)


def test_a_text_keeps_its_blanks_and_a_span_loses_its_own() -> None:
    data = Dataset.from_lists(["  Ann  sang"], [[Span(0, 6, "NAME")]], task="tokens")
    assert data.texts == ("  Ann  sang",) and data.spans == ((Span(2, 5, "NAME"),),)


@pytest.mark.parametrize("column", ["ner_tags", "labels"])
def test_datasets_name_their_tags(column: str) -> None:
    datasets = pytest.importorskip("datasets")
    tag = datasets.ClassLabel(names=["O", "B-X", "I-X"])
    features = datasets.Features(
        {"tokens": datasets.Sequence(datasets.Value("string")), column: datasets.Sequence(tag)}
    )
    rows = datasets.Dataset.from_dict({"tokens": [["a", "b", "c"]], column: [[0, 1, 2]]}, features=features)
    assert read_dataset(rows, task="tokens").spans == ((Span(2, 5, "X"),),)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["O", "O", "O"], ()),
        (["B-X", "I-X", "I-X"], (Span(0, 8, "X"),)),
        (["B-X", "B-X", "I-X"], (Span(0, 2, "X"), Span(3, 8, "X"))),
        (["I-X", "I-Y", "O"], (Span(0, 2, "X"), Span(3, 6, "Y"))),
        (["B-X", "O", "I-X"], (Span(0, 2, "X"), Span(7, 8, "X"))),
    ],
)
def test_tags_become_spans_and_come_back(tags: list[str], spans: tuple[Span, ...]) -> None:
    words = ["aa", "bbb", "c"]
    assert from_tags(words, tags) == spans
    assert from_tags(words, to_tags(words, spans)) == spans


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "Ann"}, r"row 1: no spans or tags \(column `entities` or .*there are text"),
        ({"entities": []}, r"row 1: no text"),
        ({"text": "Ann", "entities": [{"start": 0, "end": 9, "label": "N"}]}, "span 0-9 'N' is not within a text of 3"),
        ({"text": "Ann", "entities": [{"start": 2, "end": 2, "label": "N"}]}, "span 2-2 'N' is not within"),
        ({"text": "a  b", "entities": [{"start": 1, "end": 3, "label": "N"}]}, "span 1-3 'N' covers blanks alone"),
        ({"text": "Ann", "entities": [{"start": 0, "label": "N"}]}, "is not a span"),
        ({"text": "Ann", "entities": "N"}, "`entities` is not a list of spans"),
        ({"text": "Ann", "entities": [Span(0, 2, "N"), Span(1, 3, "M")]}, "spans 0-2 'N' and 1-3 'M' overlap"),
        ({"words": ["a", "b"], "tags": ["O"]}, "2 words and 1 tags"),
        ({"words": ["a"], "tags": ["NAME"]}, "`tags` has 'NAME', which is not a BIO tag"),
        ({"words": ["a"], "tags": [1]}, "`tags` has 1, which is not a BIO tag"),
        ({"words": "a b", "tags": ["O", "O"]}, "`words` is not a list of words"),
        ({"words": ["a", ""], "tags": ["O", "O"]}, "none may be empty"),
        ({"text": "Ann", "entities": [{"start": 0, "end": 3, "label": "X"}]}, "label 'X' is not one of N, M"),
        ({"text": "Ann", "entities": []}, None),
    ],
)
def test_malformed_rows_are_refused_with_their_place(row: dict, says: str | None) -> None:
    if says is None:
        with pytest.raises(DataError, match="no row has a span"):
            read_dataset([row], task="tokens")
    else:
        with pytest.raises(DataError, match=says):
            read_dataset([row], ("N", "M"), task="tokens")


# Tokens.


def tokens_of(text: str) -> np.ndarray:
    """Places of the words of a text between two tokens that stand for nothing, as BERT has them."""
    starts = [k for k, c in enumerate(text) if not c.isspace() and (k == 0 or text[k - 1].isspace())]
    ends = [k + 1 for k, c in enumerate(text) if not c.isspace() and (k + 1 == len(text) or text[k + 1].isspace())]
    return np.array([(0, 0), *zip(starts, ends, strict=True), (0, 0)])


def places_of(texts: list[str]) -> TokenPlaces:
    parts = [tokens_of(text) for text in texts]
    return TokenPlaces(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))


def test_spans_become_tags_and_come_back() -> None:
    data = notes(60)
    places = places_of([str(text) for text in data.texts])
    task = Tagging(3)
    tags = task.encode(data, places)
    assert set(tags.tags) == {-1, 0, 1, 2, 3, 4, 5, 6} and (tags.tags == -1).sum() == 120
    sure = np.where(tags.tags[:, None] == np.arange(7), 5.0, 0.0).astype(np.float32)
    assert data.spans is not None
    assert [tuple(spans) for spans in task.decode(sure, places, data.label_names)] == list(data.spans)
    assert task.report_placed(sure, places, data).scores["f1_micro"] == 1.0
    some = tags[np.array([5, 2])]
    assert len(some) == 2 and len(places.take(np.array([5, 2])).characters) == len(some.tags)


def test_what_bio_does_not_allow_is_not_answered() -> None:
    """Alone the second token would go on with Y; of what may follow B-X, I-X is likelier than to begin Y."""
    places = places_of(["one two"])
    outputs = np.zeros((4, 5), np.float32)
    outputs[1] = [0, 4, 0, 0, 0]  # O B-X I-X B-Y I-Y
    outputs[2] = [0, 0, 2, 1, 3]
    assert Tagging(2).decode(outputs, places, ["X", "Y"]) == [[Span(0, 7, "X")]]
    outputs[1] = [4, 0, 0, 0, 3.9]
    assert Tagging(2).decode(outputs, places, ["X", "Y"]) == [[Span(4, 7, "Y")]], "what cannot go on begins"


def test_spans_are_counted_as_seqeval_counts() -> None:
    """Two texts: a right one, one that is too long, one of another kind, one missed, two too many."""
    truth = [[Span(0, 3, "A"), Span(4, 6, "B"), Span(8, 9, "A")], [Span(0, 2, "B")]]
    guess = [[Span(0, 3, "A"), Span(4, 7, "B"), Span(8, 9, "B")], [Span(5, 6, "A"), Span(7, 8, "A")]]
    found = report_spans(truth, guess, {}, ["A", "B"])
    # A: 1 right, 2 wrong, 1 missed; B: 0 right, 2 wrong, 2 missed.
    rates = [(s.precision, s.recall, s.f1, s.rows) for s in found.labels]
    assert rates == [pytest.approx((1 / 3, 1 / 2, 2 / 5, 2)), (0, 0, 0, 2)]
    assert found.scores["f1_micro"] == pytest.approx(2 / 9) and found.scores["f1_macro"] == pytest.approx(0.2)


def test_the_loss_is_that_of_tokens_that_stand_for_words() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(5, 3)).astype(np.float32)
    tags = TokenTags(np.array([-1, 0, 2, 1, -1]), np.array([0, 5]))
    loss, gradient = Tagging(1).loss(outputs, tags)
    assert loss == pytest.approx(cross_entropy(outputs[1:4], np.array([0, 2, 1]))[0])
    assert not gradient[[0, 4]].any() and gradient[1:4].any()
    nothing = Tagging(1).loss(outputs[:1], TokenTags(np.array([-1]), np.array([0, 1])))
    assert nothing[0] == 0.0 and not nothing[1].any()


def tapped(lengths: list[int], seed: int = 0) -> Taps:
    rng = np.random.default_rng(seed)
    return Taps.of([rng.normal(size=(sum(lengths), 6)).astype(np.float32) for _ in range(2)], np.array(lengths))


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients_are_those_of_finite_differences(dropout: float) -> None:
    taps, rng = tapped([3, 1, 5]), np.random.default_rng(1)
    network = Tagger.fresh(Shape(2, 6, 5), SecretStream(b"g"), Regularization(dropout))
    network.parameters = [p.astype(np.float64) for p in network.parameters]  # type: ignore[misc]
    labels = rng.integers(0, 5, 9)

    def both() -> tuple[float, list[np.ndarray]]:
        draws = np.random.default_rng(5)
        return network.loss_and_gradients(taps, lambda logits: cross_entropy(logits, labels), draws)

    gradients = both()[1]
    for parameter, gradient in zip(network.parameters, gradients, strict=True):
        direction = rng.normal(size=parameter.shape)
        step, start = 1e-3, parameter.copy()
        parameter[...] = start + step * direction
        above = both()[0]
        parameter[...] = start - step * direction
        below = both()[0]
        parameter[...] = start
        assert (above - below) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=2e-3, abs=2e-4)


def test_a_text_reads_its_neighbours_and_no_other_text() -> None:
    lengths = [4, 1, 6]
    taps, network = tapped(lengths), Tagger.fresh(Shape(2, 6, 3), SecretStream(b"p"), Regularization())
    together = network.outputs(taps)
    alone = np.concatenate([network.outputs(taps.take(np.array([row]))) for row in range(3)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)
    taps.levels[0][1] += 1.0
    moved = np.abs(network.outputs(taps) - together).max(axis=1) > 1e-6
    assert moved.tolist() == [True] * 4 + [False] * 7, "two layers reach two tokens, and stop at the text's end"


# Where tokens stand.


def test_tokens_stand_where_the_tokenizer_says(tmp_path: Path) -> None:
    aligner = Aligner.read(word_tokenizer(tmp_path))
    texts = ["Ann  took 5", "ab"]
    taps = Taps.of([np.zeros((4, 2), np.float32)], np.array([3, 1]))
    placed = aligner.place(texts, taps)
    assert placed.places.of(0).tolist() == [[0, 3], [5, 9], [10, 11]] and placed.places.of(1).tolist() == [[0, 2]]
    cut = Taps.of([np.zeros((3, 2), np.float32)], np.array([2, 1]))
    assert aligner.place(texts, cut).places.of(0).tolist() == [[0, 3], [5, 9]], "the host cuts at its limit"


@pytest.mark.parametrize(("lengths", "row"), [([4, 1], 1), ([3, 2], 2), ([1, 2], 1)])
def test_a_tokenizer_that_cuts_otherwise_is_refused(tmp_path: Path, lengths: list[int], row: int) -> None:
    aligner = Aligner.read(word_tokenizer(tmp_path))
    taps = Taps.of([np.zeros((sum(lengths), 2), np.float32)], np.array(lengths))
    with pytest.raises(RunError, match=f"text {row} has . tokens here and . on the host"):
        aligner.place(["Ann  took 5", "ab"], taps)
    with pytest.raises(RunError, match="text 1 is a pair"):
        aligner.place([("a", "b")], Taps.of([np.zeros((1, 2), np.float32)], np.array([1])))


def test_blanks_are_not_of_a_token() -> None:
    """SentencePiece counts the blank before a word to it."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split(" ", "merged_with_next")
    placed = Aligner(made.to_str().encode()).place(["ab cd"], Taps.of([np.zeros((2, 1), np.float32)], np.array([2])))
    assert placed.places.characters.tolist() == [[0, 2], [3, 5]]


def test_spans_have_a_network_of_their_own(client: Client, fake_host: FakeHost, tmp_path: Path) -> None:
    known = word_tokenizer(tmp_path)
    with pytest.raises(SettingsError, match="side_width: spans have a network of their own"):
        Tuner("toy", [client], progress=False, tokenizer=known, side_width=64, **SMALL).fit(phrases(40))
    assert not fake_host.seen


def test_without_a_tokenizer_it_says_what_to_do(
    client: Client, fake_host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match="pass tokenizer="):
        Tuner("toy", [client], progress=False, **SMALL).fit(phrases(40))
    with pytest.raises(RunError, match=r"no file .*nowhere"):
        Tuner("toy", [client], progress=False, tokenizer=tmp_path / "nowhere", **SMALL).fit(phrases(40))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(RunError, match=r"not a tokenizer\.json"):
        Tuner("toy", [client], progress=False, tokenizer=tmp_path, **SMALL).fit(phrases(40))
    known = word_tokenizer(tmp_path)
    with pytest.raises(RunError, match="only data of task tokens"):
        Tuner("toy", [client], progress=False, tokenizer=known, **SMALL).fit(Dataset.from_lists("ab", "xy"))
    with pytest.raises(SettingsError, match="spans, need method side"):
        Tuner("toy", [client], progress=False, method="lora").fit(phrases(40))
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"blindtune\[tokens\]"):
        Tuner("toy", [client], progress=False, tokenizer=known, **SMALL).fit(phrases(40))
    assert not fake_host.seen


# From end to end.


def test_it_finds_what_it_was_taught(tuner: Tuner, tmp_path: Path) -> None:
    """Which filler belongs to a span is in the word before it: a word alone does not tell."""
    fresh = phrases(300, seed=1)
    report = tuner.report(fresh)
    given = {"tokenizer": tmp_path / "tokenizer.json", "progress": False}
    luck = Tuner("toy", tuner.clients, **given, **SMALL)
    data = phrases(400)
    assert data.spans is not None
    turned = Dataset(data.texts, data.labels, data.label_names, spans=data.spans[1:] + data.spans[:1])
    with pytest.raises(DataError, match="is not within"):
        Dataset.from_lists(turned.texts, turned.spans or (), task="tokens")
    luck.fit(turned)
    # Over ten draws 0.995 +- 0.004, and 0.005 +- 0.005 with the spans of the row behind.
    assert report.scores["f1_micro"] > 0.9 and luck.evaluate(fresh)["f1_micro"] < 0.1
    assert "BLAME" in str(report) and "f1_macro" in report.scores


def test_answers_are_spans_of_the_text(tuner: Tuner) -> None:
    fresh = phrases(20, seed=2)
    found = tuner.predict(fresh.texts)
    assert len(found) == 20 and any(found)
    for text, spans in zip(fresh.texts, found, strict=True):
        assert all(text[span.start : span.end].strip() for span in spans) and spans == sorted(spans)
    with pytest.raises(RunError, match="use predict"):
        tuner.predict_proba(fresh.texts)
    assert tuner.audit(phrases(200, seed=4), quick=True).activations is not None


def test_a_saved_loaded_or_exported_run_needs_no_tokenizer(tuner: Tuner, client: Client, tmp_path: Path) -> None:
    fresh = phrases(40, seed=2)
    (tmp_path / "tokenizer.json").unlink()
    tuner.save(tmp_path / "copy")
    tuner.export(tmp_path / "out")
    for again in (Tuner.load(tmp_path / "copy", [client], progress=False), load_export(tmp_path / "out", client)):
        assert again.task == "tokens" and again.predict(fresh.texts) == tuner.predict(fresh.texts)
        assert again.evaluate(fresh) == tuner.evaluate(fresh)


def test_the_shell(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLINDTUNE_API_KEY", "key")
    data, name, run = phrases(200), tmp_path / "train.jsonl", str(tmp_path / "run")
    assert data.spans is not None
    pairs = zip(data.texts, data.spans, strict=True)
    name.write_text("\n".join(json.dumps({"text": t, "entities": [vars(s) for s in spans]}) for t, spans in pairs))
    words = ["train", "--data", str(name), "--task", "tokens", "--tokenizer", str(word_tokenizer(tmp_path)), "--quiet"]
    words += ["--effort", "quick"]
    words += ["--model", "toy", "--host", fake_host.url, "--method", "side", "--run", run, "--networks", "1"]
    assert main([*words, "--epochs", "10", "--lr", "0.01", "--batch-size", "16"]) == 0
    assert "protection: blind" in capsys.readouterr().out
    assert main(["evaluate", "--run", run, "--data", str(name)]) == 0
    assert "f1_micro" in capsys.readouterr().out
    assert main(["predict", "--run", run, "--text", str(data.texts[0])]) == 0
    spans, text = capsys.readouterr().out.rstrip("\n").split("\t")
    assert text == data.texts[0]
    assert [Span(**span) for span in json.loads(spans)] == Tuner.load(run, [Client(fake_host.url, "key")]).predict(
        [text]
    )[0]
