"""Full or read-only disks while a plot or a report page is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alexnet_fast.errors import UserError
from alexnet_fast.report import Fact, Report, write_report
from alexnet_fast.training.metrics import EpochMetrics
from alexnet_fast.training.metrics_log import MetricsLog
from small_disk import below, make_larger, make_read_only, refused, small_disk

Evidence = Callable[..., None]


def test_an_image_for_which_there_is_no_room(
    rows: Callable[[int], list[EpochMetrics]], tmp_path: Path, evidence: Evidence
) -> None:
    """The earlier plot stays unchanged, even with --force."""
    history = MetricsLog(tmp_path / "metrics.csv", tmp_path / "tensorboard")
    for row in rows(5):
        history.add(row)
    history.close()
    with small_disk(tmp_path / "disk", 12) as disk:
        (disk / "curves.png").write_bytes(b"an earlier image")
        words = ["show", "curves", tmp_path, "--output", disk / "curves.png", "--force"]
        said = f"cannot write {disk / 'curves.png'}:"
        refused(words, f"{said} no space left on device; check the folder and the disk")
        assert below(disk) == {"curves.png": b"an earlier image"}
        make_larger(disk, 10_000)
        make_read_only(disk)
        refused(words, f"{said} read-only file system; check the folder and the disk")
        assert below(disk) == {"curves.png": b"an earlier image"}
    evidence("show on a disk that is full, then read-only", n=2, clear=2, as_before=2)


def test_a_page_for_which_there_is_no_room(tmp_path: Path, evidence: Evidence) -> None:
    fact = Fact(label="images", value="1" * 9000)
    report = Report(title="Cells", lead="", results=(fact,), model="alexnet")
    with small_disk(tmp_path / "disk", 12) as disk:
        (disk / "report.html").write_text("an earlier page")
        with pytest.raises(UserError, match="cannot write .*report.html: no space left on device; check the"):
            write_report(disk / "report.html", report)
        assert below(disk) == {"report.html": b"an earlier page"}
        make_larger(disk, 1000)
        write_report(disk / "report.html", report)
        written = below(disk)
        assert b"1" * 9000 in written["report.html"]
        make_read_only(disk)
        with pytest.raises(
            UserError, match="cannot write .*report.html: read-only file system; check the fold"
        ):
            write_report(disk / "report.html", report)
        assert below(disk) == written
    evidence("a report page on a disk that is full, then read-only", n=2, clear=2, as_before=2)
