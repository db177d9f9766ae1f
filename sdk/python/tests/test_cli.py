"""`blindtune` itself: what it loads, its help, files of options, tables in and out."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import sentiment
from fake_host import FakeHost

from blindtune.cli import main, options
from blindtune.cli.app import commands
from blindtune.client import API_KEY_VARIABLE, BASE_URL_VARIABLE
from blindtune.features import FOLDER_VARIABLE
from blindtune.training.settings import SETTING_TYPES

HEAVY = ("sklearn", "scipy", "numpy", "httpx", "pandas", "matplotlib", "torch", "safetensors", "tqdm")
FAST = ["--method", "side", "--epochs", "1", "--networks", "1", "--quiet", "--effort", "quick"]


def loaded_by(words: list[str]) -> set[str]:
    """The heavy packages that a new interpreter has loaded after this command."""
    asked = f"import sys\nfrom blindtune.cli import main\ncode = main({words!r})\n"
    asked += f"print(code, *(set({HEAVY!r}) & sys.modules.keys()), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    code, *found = done.stderr.splitlines()[-1].split()
    assert code == "0", done.stderr
    return set(found)


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["train", "--help"], ["jobs", "list", "--help"], ["ledger", "verify", "--help"]],
)
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    assert loaded_by(words) == set()


def test_the_check_of_what_is_loaded_would_notice(tmp_path: Path) -> None:
    assert "numpy" in loaded_by(["features", "clear", "--features", str(tmp_path)])


def test_names_of_variables_are_those_of_the_client() -> None:
    ours = (options.API_KEY_VARIABLE, options.BASE_URL_VARIABLE, options.FOLDER_VARIABLE)
    assert ours == (API_KEY_VARIABLE, BASE_URL_VARIABLE, FOLDER_VARIABLE)


def test_help_has_every_setting_in_its_panel(capsys: pytest.CaptureFixture[str]) -> None:
    known = {one.name: one for one in commands().commands["train"].params}
    for name, kind in SETTING_TYPES.items():
        assert known[name].rich_help_panel == kind.panel and known[name].help == kind.help
        assert known[name].opts == [f"--{name.replace('_', '-')}"]
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    panels = ["Common settings", "Privacy settings", "Side networks", "Optimizer settings", "Expert settings"]
    assert all(panel in shown for panel in panels) and "rank of the LoRA adapters" in shown


def test_completion_knows_commands() -> None:
    asked = {"_BLINDTUNE_COMPLETE": "complete_bash", "COMP_WORDS": "blindtune tra", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from blindtune.cli import main; main([])"],
        capture_output=True,
        text=True,
        env={**os.environ, **asked},
    )
    assert done.stdout.split() == ["train"], done.stderr


def tsv(folder: Path, rows: int = 60) -> str:
    data = sentiment(rows)
    lines = [f"{text}\t{data.label_names[label]}" for text, label in zip(data.texts, data.labels, strict=True)]
    (folder / "a.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n")
    return str(folder / "a.tsv")


# Files of options.


def test_a_run_is_what_its_file_says_and_the_command_line_wins(fake_host: FakeHost, tmp_path: Path) -> None:
    run = tmp_path / "run"
    lines = [f"data = {json.dumps(tsv(tmp_path))}", 'model = "toy"', f"run = {json.dumps(str(run))}", "quiet = true"]
    lines += [
        f'host = ["{fake_host.url}"]',
        'method = "side"',
        "epochs = 7",
        "class_weights = [1, 2.5]",
        "networks = 1",
    ]
    (tmp_path / "run.toml").write_text("\n".join(lines))
    assert main(["train", "--config", str(tmp_path / "run.toml"), "--epochs", "1", "--api-key", "k"]) == 0
    settings = json.loads((run / "run.json").read_text())["settings"]
    assert (settings["epochs"], settings["networks"], settings["class_weights"]) == (1.0, 1, [1.0, 2.5])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("learning_rate = 1", "run.toml: there is no option 'learning_rate'; did you mean --lr?"),
        ("epoch = 1", "there is no option 'epoch'; did you mean --epochs?"),
        ("epochs = ", "run.toml: not TOML"),
        ("[train]\nepochs = 1", "there is no option 'train'"),
        ("[host]\nepochs = 1", "[host] is a table; write option = value"),
    ],
)
def test_a_wrong_file_of_options_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, says: str
) -> None:
    (tmp_path / "run.toml").write_text(content)
    assert main(["train", "--config", str(tmp_path / "run.toml"), "--data", "a", "--model", "m"]) == 2
    assert says in capsys.readouterr().err
    assert main(["train", "--config", str(tmp_path / "none.toml")]) == 2
    assert "--config: there is no file" in capsys.readouterr().err


def test_printed_options_are_such_a_file_without_a_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--data", "a.tsv", "--model", "toy", "--api-key", "key-of-mine", "--lr", "0.5", "--double-quant"]
    assert main([*words, "--target-modules", "query", "value", "--print-config"]) == 0
    printed = capsys.readouterr().out
    assert "key-of-mine" not in printed and "# epochs =  # passes over the rows" in printed
    (tmp_path / "run.toml").write_text(printed)
    assert main(["train", "--config", str(tmp_path / "run.toml"), "--print-config"]) == 0
    assert capsys.readouterr().out == printed


# Tables in and out.


def pairs(folder: Path) -> Path:
    data = sentiment(60)
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "question", "sentence", "label"])
        for k, (text, label) in enumerate(zip(data.texts, data.labels, strict=True)):
            writer.writerow([k, f"one\ntwo {k}", text, label])
    return folder / "pairs.csv"


def test_a_table_of_pairs_goes_in_and_out(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = pairs(tmp_path), str(tmp_path / "run")
    host = ["--host", fake_host.url, "--api-key", "k"]
    assert main(["train", "--data", str(data), "--model", "toy", "--run", run, *host, *FAST]) == 0
    ask = ["predict", "--run", run, *host]
    assert main([*ask, "--data", str(data), "--out", str(tmp_path / "out.csv")]) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [str(k) for k in range(60)] and rows[3]["question"] == "one\ntwo 3"
    assert all(row["predicted"] in ("0", "1") and 0.5 <= float(row["probability"]) <= 1 for row in rows)
    assert main([*ask, "--data", str(data), "--out", str(tmp_path / "out.jsonl")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["predicted"] for line in lines] == [row["predicted"] for row in rows]
    assert main([*ask, "--data", str(data), "--out", str(tmp_path / "out.tsv")]) == 2
    assert "a line break, which TSV cannot have" in capsys.readouterr().err
    assert main([*ask, "--text", rows[3]["question"], "--pair", rows[3]["sentence"], "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["label"], found["text_pair"]) == (rows[3]["predicted"], rows[3]["sentence"])
    for words, says in (
        (["--text", "alone"], "this run was trained on pairs of texts: pass --pair"),
        (["--text", "a", "--text", "b", "--pair", "c"], "2 --text and 1 --pair"),
        (["--data", str(data), "--text", "a"], "--data and --text: one of them"),
        (["--data", str(tmp_path / "out.csv")], "there is a column 'predicted' already"),
        (["--data", str(data), "--out", str(tmp_path / "no" / "out.csv")], "there is no folder"),
        (["--data", str(data), "--out", "out.doc"], "the name must end in .csv, .tsv, .jsonl"),
    ):
        assert main([*ask, *words]) == 2
        assert says in capsys.readouterr().err


def test_a_pair_for_a_run_on_single_texts_is_refused(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host, run = ["--host", fake_host.url, "--api-key", "k"], str(tmp_path / "run")
    assert main(["train", "--data", tsv(tmp_path), "--model", "toy", "--run", run, *host, *FAST]) == 0
    assert main(["predict", "--run", run, *host, "--text", "a", "--pair", "b"]) == 2
    assert "this run was trained on single texts, not on pairs" in capsys.readouterr().err


# Demands.


def test_a_demand_that_does_not_hold_is_code_3_after_everything_was_written(
    fake_host: FakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host, run = ["--host", fake_host.url, "--api-key", "k"], tmp_path / "run"
    words = ["train", "--data", tsv(tmp_path, 200), "--model", "toy", *host, "--quiet"]
    lora = [*words, "--method", "lora", "--steps", "20", "--batch-size", "16", "--run", str(run)]
    assert main([*lora, "--require", "blind", "--require-max-leak", "0.55"]) == 3
    said = capsys.readouterr()
    assert "required was the class blind or stronger, and the run is open" in said.err
    assert "required was a leak of at most 0.55, and tier" in said.err
    assert "NOT PRIVATE ENOUGH: " in said.out and "> 0.55 (tier " in said.out
    assert "--method side sends nothing that depends on a label" in said.out
    assert "|h|" not in said.out and "sha256" not in said.out
    report = json.loads((run / "report.json").read_text())
    assert report["fine_tuned_models"] and report["fit"]["adapter_sha256"]
    assert main(["audit", "--run", str(run), "--data", tsv(tmp_path, 200), *host, "--require", "bounded"]) == 3
    assert "what would mend it:" in capsys.readouterr().out
    blind = [*words, *FAST, "--run", str(tmp_path / "blind"), "--require", "blind", "--require-max-leak", "0.5"]
    assert main(blind) == 0, "what texts tell anybody is under no limit"
    assert main(["train", "--data", "a", "--model", "m", "--require", "safe"]) == 2
