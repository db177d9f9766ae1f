"""The short form of `make science-side`: made-up notes, against a real host."""

from __future__ import annotations

from pathlib import Path

import pytest
import side
from science import BACKBONE, BINARY, Rows
from test_science import notes


@pytest.mark.skipif(not BINARY.is_file(), reason="no host program: make build")
@pytest.mark.skipif(not BACKBONE.is_dir(), reason="no backbone: make setup")
def test_features_are_asked_for_once_and_rows_that_are_done_are_not_done_again(tmp_path: Path) -> None:
    """Two settings on the same features; what cannot run is named."""
    few = {**side.ATTENTIVE, "epochs": 2}
    lines = [
        side.SideRow("attentive", few),
        side.SideRow("fewer rows", few, 100),
        side.SideRow("narrower", {**few, **side.NARROW}),
        side.SideRow("ladder", {**side.LADDER, "epochs": 1}),
    ]
    data = Rows(notes(200, 1), notes(100, 2))
    report = side.run(lines, [0], data, tmp_path)
    assert [point["name"] for point in report["points"]][:3] == ["attentive", "fewer rows", "narrower"]
    assert [point["rows"] for point in report["points"]][:3] == [200, 100, 200]
    assert all(point["protection"] == "blind" and point["steps"] > 0 for point in report["points"])
    assert report["features"]["megabytes_down"] > 1 and report["features"]["device_seconds"] > 0
    assert {line["name"] for line in report["left_out"]} <= {"ladder"}
    assert side.run(lines, [0], data, tmp_path) == report
