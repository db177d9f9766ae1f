"""The recorder takes what hosts saw from the wire, keeps the last rows, and survives in a run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_host import FakeHost

from blindtune import Client
from blindtune.arrays import encode
from blindtune.audit import Recorder, SeenBackward, SeenForward
from blindtune.client.step_calls import BackwardRequest, ForwardRequest
from blindtune.client.transport import RetryPolicy
from blindtune.training.run_folder import RunFolder


def forward_of(recorder: Recorder, host: int, seq: int, rows: list[int], base: bool = True) -> None:
    """Let the recorder see one forward of two sets, and the backward that follows it."""
    theta = {i: np.full(3, seq + i, np.float32) for i in (0, 1)}
    call = ForwardRequest(rows=np.array(rows), theta=theta, seq=seq, base=base).call("job")
    h = np.array(rows, np.float32)[:, None] + np.zeros(4, np.float32)
    tensors = {"h.0": h + seq, "h.1": h - seq} | ({"h.base": h} if base else {})
    recorder.on(host)(call, encode(tensors, {"forward_id": f"f{seq}"}))
    back = BackwardRequest(seq + 1, f"f{seq}", {(0, 0): h * 2, (1, 0): h * 3}).call("job")
    recorder.on(host)(back, encode({"G.0.0": np.zeros(3, np.float32)}))


def test_the_client_hands_over_what_was_on_the_wire(fake_host: FakeHost) -> None:
    recorder = Recorder(keep_thetas=True)
    client = Client(fake_host.url, "key", retry=RetryPolicy(patience_s=3.0), recorder=recorder.on(0))
    file = client.files.create(("x.jsonl", b'{"text": "a b"}\n{"text": "c d"}\n'))
    job = client.jobs.create("toy", {"split": {"adapter_sets": 1}}, training_file=file.id, seed=1).id
    theta = fake_host.engine.initial(1, 0)
    request = ForwardRequest(rows=np.array([1, 0]), theta={0: theta}, seq=1, base=True)
    answer = client.forward(job, request)
    share = np.ones((2, fake_host.engine.hidden), np.float32)
    client.backward(job, BackwardRequest(2, answer.metadata["forward_id"], {(0, 0): share}))
    client.forward(job, ForwardRequest(texts=["a"], train=False))
    seen = recorder.seen()
    (forward,), (backward,) = seen.forwards, seen.backwards
    assert forward.rows.tolist() == [1, 0] and np.array_equal(forward.thetas[0], theta)
    assert np.array_equal(forward.activations[0], answer.tensors["h.0"])
    assert forward.base is not None and np.array_equal(forward.base, answer.tensors["h.base"])
    assert np.array_equal(backward.shares[(0, 0)], share) and seen.forward_of(backward) is forward


def test_only_the_last_rows_are_kept_and_a_repeat_replaces_itself() -> None:
    recorder = Recorder(rows=6)
    for step in range(10):
        forward_of(recorder, 0, 2 * step + 1, [step, step + 1])
    forward_of(recorder, 0, 19, [9, 10])
    forward_of(recorder, 1, 1, [0, 1])
    seen = recorder.seen()
    assert [f.seq for f in seen.forwards if f.host == 0] == [15, 17, 19]
    assert [b.seq for b in seen.backwards if b.host == 0] == [16, 18, 20]
    assert seen.hosts == (0, 1) and not seen.forwards[0].thetas, "adapters are kept on demand only"


def test_every_row_counts_once_as_it_was_seen_last() -> None:
    recorder = Recorder()
    forward_of(recorder, 0, 1, [5, 3])
    forward_of(recorder, 0, 3, [3, 8])
    table, base, rows = recorder.seen().activations(0)
    assert rows.tolist() == [5, 3, 8] and base is not None and base[:, 0].tolist() == [5, 3, 8]
    assert table[0][:, 0].tolist() == [5 + 1, 3 + 3, 8 + 3]
    forward_of(recorder, 0, 5, [9, 10], base=False)
    assert recorder.seen().activations(0)[1] is None, "a base of some rows only is no base"


def test_the_record_outlives_the_process(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    recorder = Recorder(rows=4, keep_thetas=True, store=folder)
    for step in range(5):
        forward_of(recorder, 0, 2 * step + 1, [step, step + 10])
    again = Recorder(rows=4, store=folder)
    for mine, theirs in zip(
        (*recorder.seen().forwards, *recorder.seen().backwards),
        (*again.seen().forwards, *again.seen().backwards),
        strict=True,
    ):
        assert type(mine) is type(theirs) and (mine.host, mine.seq, mine.job) == (theirs.host, theirs.seq, theirs.job)
        if isinstance(mine, SeenForward) and isinstance(theirs, SeenForward):
            assert np.array_equal(mine.rows, theirs.rows) and np.array_equal(mine.thetas[1], theirs.thetas[1])
        if isinstance(mine, SeenBackward) and isinstance(theirs, SeenBackward):
            assert np.array_equal(mine.shares[(1, 0)], theirs.shares[(1, 0)])
    assert len(list((tmp_path / "run" / "seen").iterdir())) == 4, "what is forgotten leaves the folder too"
    forward_of(again, 0, 11, [7, 8])
    assert [f.seq for f in again.seen().forwards] == [9, 11]


def test_labels_come_back_from_the_run_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert folder.labels() is None
    folder.save_labels(np.array([1, 0, 1]))
    kept = RunFolder(tmp_path / "run").labels()
    assert kept is not None and kept.tolist() == [1, 0, 1]
    assert (tmp_path / "run" / "labels.safetensors").stat().st_mode & 0o777 == 0o600


def test_no_secret_can_get_in() -> None:
    """A body with anything but shares is not taken for a backward."""
    with pytest.raises(ValueError):
        call = BackwardRequest(2, "f1", {}).call("job")
        Recorder().record(0, type(call)(call.path, call.query, encode({"alpha": np.ones(2)}), call.content_type), b"")
