"""A part that fails hides no other, and the end says all."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from testing import counts, expected_skips
from testing.parts import Part, run_parts

SCRIPTS = Path(__file__).resolve().parents[1]


def shell(name: str, script: str, **more: object) -> Part:
    return Part(name, ("sh", "-c", script), **more)  # type: ignore[arg-type]


def run(folder: Path, *chosen: Part) -> int:
    return run_parts(chosen, folder / "logs", folder)


def rows(text: str) -> dict[str, list[int]]:
    """The table at the end of what was printed: passed, failed and skipped by part."""
    lines = text[text.rindex("  passed  failed  skipped  seconds") :].splitlines()[1:-1]
    return {line.split()[0]: [int(word) for word in line.split()[1:4]] for line in lines}


def test_a_failing_part_hides_no_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = run(tmp_path, shell("a", "echo one"), shell("b", "exit 3"), shell("c", "echo three"))
    text = capfd.readouterr().out
    assert code == 1
    assert rows(text) == {"a": [1, 0, 0], "b": [0, 1, 0], "c": [1, 0, 0]}
    assert "b: exit code 3" in text and "three" in text
    assert text.endswith("\n2 passed, 1 failed, 0 skipped\n")
    assert (tmp_path / "logs/c.log").read_text() == "three\n"


def test_all_green_exits_zero(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, shell("a", "true"), shell("b", "true")) == 0
    assert capfd.readouterr().out.endswith("\n2 passed, 0 failed, 0 skipped\n")


def test_what_needs_a_failed_part_is_not_run_and_not_passed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = run(tmp_path, shell("build", "false"), shell("a", "touch ran", needs="build"), shell("b", "true"))
    text = capfd.readouterr().out
    assert code == 1 and not (tmp_path / "ran").exists()
    assert rows(text) == {"build": [0, 1, 0], "a": [0, 1, 0], "b": [1, 0, 0]}
    assert "a: not run: build failed" in text


def test_a_part_that_cannot_start_is_a_failure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, Part("a", ("/nowhere/at-all",)), shell("b", "true")) == 1
    text = capfd.readouterr().out
    assert rows(text) == {"a": [0, 1, 0], "b": [1, 0, 0]} and "a: could not start" in text


def test_pytest_is_counted_test_by_test(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 0\n"
        "def test_away(): pytest.importorskip('no_such_package')\n"
    )
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.importorskip('another_one')\n")
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")
    assert run(tmp_path, Part("sdk", command, counts.read_pytest)) == 1
    text = capfd.readouterr().out
    assert rows(text) == {"sdk": [1, 3, 0]}, "an unexpected skip is a failure"
    assert "sdk: failed: test_some::test_bad" in text
    assert "unexpected skip: test_some::test_away: could not import 'no_such_package'" in text
    assert "unexpected skip: test_whole: could not import 'another_one'" in text


def test_a_skip_that_is_expected_is_counted_with_its_reason(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Only torch may be absent, and only where the list says so."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_torch.py").write_text(
        "import pytest\ndef test_other(): pass\n\ndef test_bridge(): pytest.skip(\"could not import 'torch': none\")\n"
    )
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "tests/test_torch.py")
    assert run(tmp_path, Part("bench", command, counts.read_pytest)) == 1, "benches have no such skip"
    capfd.readouterr()
    assert run(tmp_path, Part("sdk", command, counts.read_pytest)) == 0
    text = capfd.readouterr().out
    assert rows(text) == {"sdk": [1, 0, 1]}
    assert re.search(r"^skipped: sdk .*test_bridge: could not import 'torch': none$", text, re.MULTILINE)


def test_a_run_without_tests_is_a_failure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = run(tmp_path, shell("a", "true", reader=counts.read_pytest), shell("b", "true", reader=counts.read_cargo))
    text = capfd.readouterr().out
    assert code == 1 and rows(text) == {"a": [0, 1, 0], "b": [0, 1, 0]} and "a: it ran no test" in text


def test_a_bad_exit_without_a_failed_test_is_a_failure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A suite that passes and then crashes."""
    script = "echo '4 passed, 0 failed, 0 skipped'; exit 139"
    assert run(tmp_path, shell("a", script, reader=counts.read_plain)) == 1
    assert rows(capfd.readouterr().out) == {"a": [4, 1, 0]}


def test_dull_lines_are_kept_but_not_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = "test a ... ok\ntest b ... ignored, minutes long and wants an idle machine: make load\n"
    lines += "test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured\n"
    (tmp_path / "said").write_text(lines)
    assert run(tmp_path, shell("rust", "cat said", reader=counts.read_cargo, dull=r"test .* \.\.\. ok$")) == 0
    text = capfd.readouterr().out
    assert "test a" not in text and rows(text) == {"rust": [1, 0, 1]}
    assert (tmp_path / "logs/rust.log").read_text() == lines


def test_every_test_that_cargo_leaves_out_is_expected() -> None:
    """Found here in a second, and not at the end of an hour."""
    sources = [path.read_text() for folder in ("src", "tests") for path in (SCRIPTS.parent / folder).rglob("*.rs")]
    reasons = [reason for text in sources for reason in re.findall(r'#\[ignore(?: = "(.*)")?\]', text)]
    assert reasons and all(expected_skips.why("rust", counts.Skip("a", reason)) for reason in reasons)


def test_makes_do_not_share_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "-j4 --jobserver-auth=3,4")
    assert run(tmp_path, shell("a", 'test -z "$MAKEFLAGS"')) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_its_part_and_still_prints_the_table(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import sys; from pathlib import Path; from testing.parts import Part, run_parts\n"
        "side = ('sh', '-c', 'echo $$ > aside; exec sleep 60')\n"
        "long = ('sh', '-c', 'while [ ! -s aside ]; do sleep 0.05; done; echo $$ > pid; sleep 60 & wait')\n"
        "parts = [Part('a', ('true',)), Part('d', side, aside=True), Part('e', ('true',), aside=True)]\n"
        "parts += [Part('b', long), Part('c', ('true',))]\n"
        "sys.exit(run_parts(parts, Path('logs'), Path('.')))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    runner = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    pid = tmp_path / "pid"
    deadline = time.monotonic() + 20
    while not (pid.exists() and pid.read_text().strip()):
        assert time.monotonic() < deadline, "the part did not start"
        time.sleep(0.05)
    runner.send_signal(number)
    text, _ = runner.communicate(timeout=40)
    assert runner.returncode == 1
    assert rows(text) == {"a": [1, 0, 0]} | {name: [0, 1, 0] for name in "bcde"}
    assert all(f"{name}: not run: interrupted before" in text for name in "ce")
    assert text.endswith("\n1 passed, 4 failed, 0 skipped\n")
    for name in ("pid", "aside"):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / name).read_text()), 0)


def test_every_part_is_a_target_of_make() -> None:
    import run_tests

    targets = set(re.findall(r"^([a-z-]+):", (SCRIPTS.parent / "Makefile").read_text(), re.MULTILINE))
    assert {part.command[-1] for part in run_tests.PARTS} <= targets
    assert len({part.name for part in run_tests.PARTS}) == len(run_tests.PARTS)


WAIT = "for i in $(seq 200); do [ -e {0} ] && break; sleep 0.05; done; [ -e {0} ]"


def test_parts_aside_run_in_turn_beside_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The first and the last wait for each other, and the second aside for the first."""
    first = shell("a", f"touch one; {WAIT.format('two')} && touch three", aside=True)
    code = run(tmp_path, first, shell("b", "[ -e three ]", aside=True), shell("c", f"touch two; {WAIT.format('one')}"))
    assert code == 0 and rows(capfd.readouterr().out) == {"a": [1, 0, 0], "b": [1, 0, 0], "c": [1, 0, 0]}


def test_what_runs_aside_is_shown_whole_at_its_end(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    aside = shell("a", f"echo first; touch one; {WAIT.format('two')}; echo last; exit 3", aside=True)
    code = run(tmp_path, aside, shell("b", f"{WAIT.format('one')} && echo between"), shell("c", "touch two"))
    text = capfd.readouterr().out
    assert code == 1 and "\n[a] ended:\nfirst\nlast\n" in text and "a: exit code 3" in text
    assert text.index("\nbetween\n") < text.index("\nfirst\n")
    assert (tmp_path / "logs/a.log").read_text() == "first\nlast\n"


def test_nothing_runs_aside_without_what_it_needs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, shell("build", "false"), shell("a", "touch ran", needs="build", aside=True)) == 1
    text = capfd.readouterr().out
    assert not (tmp_path / "ran").exists() and "a: not run: build failed" in text
