"""`python -m benchmarks`: every measurement in one run that can be resumed, and a page of the results."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from alexnet_fast.data import open_data
from alexnet_fast.models import create_model, layer_table
from benchmarks.__main__ import bench_all
from benchmarks.photographs import make_photographs
from benchmarks.suite import running
from benchmarks.suite.arithmetic import Roof, points
from benchmarks.suite.kept import Circumstances, keep, kept, source_commit
from benchmarks.suite.material import lay_out_many
from benchmarks.suite.page import plots, write_page
from benchmarks.suite.parts import FULL, QUICK, Material, SuitePart, parts, thread_counts
from benchmarks.suite.tables import count

HERE = Circumstances(commit="abc", hardware={"cpu": {"name": "x"}}, versions={"torch": "1"})
PART = SuitePart(
    name="infer",
    variant="",
    device="cpu",
    command=(sys.executable, "-m", "alexnet_fast", "bench", "infer", "--threads", "2", "--json"),
)


def test_a_result_is_reused_for_the_same_command_commit_and_machine(tmp_path: Path) -> None:
    assert kept(tmp_path, PART, HERE) is None
    record = keep(tmp_path, PART, HERE, seconds=1.0, result={"p50_ms": 3.0})
    assert record["command"] == "alexnet-fast bench infer --threads 2"
    assert kept(tmp_path, PART, HERE) == record
    other = Circumstances(commit="abd", hardware=HERE.hardware, versions=HERE.versions)
    assert kept(tmp_path, PART, other) is None
    words = tuple("4" if word == "2" else word for word in PART.command)
    assert kept(tmp_path, SuitePart(name="infer", variant="", device="cpu", command=words), HERE) is None


def test_a_part_that_failed_or_whose_file_is_damaged_is_measured_again(tmp_path: Path) -> None:
    keep(tmp_path, PART, HERE, seconds=1.0, error="no memory")
    assert kept(tmp_path, PART, HERE) is None
    keep(tmp_path, PART, HERE, seconds=1.0, result={})
    (tmp_path / "infer-cpu.json").write_text('{"result": ')
    assert kept(tmp_path, PART, HERE) is None


def test_the_commit_is_that_of_this_code_and_names_what_was_changed_since(tmp_path: Path) -> None:
    """A virtual environment may lie in a checkout of something else; two changes are not one another."""

    def git(*words: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@x"]
        done = subprocess.run(
            ["git", "-C", tmp_path, *who, *words], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    code = tmp_path / "code.py"
    code.write_text("one = 1\n")
    (tmp_path / "else.py").write_text("")
    git("init", "--quiet")
    git("add", "else.py")
    git("commit", "--quiet", "--message", "Somebody else's")
    assert source_commit(code) is None
    git("add", ".")
    git("commit", "--quiet", "--message", "This")
    clean = source_commit(code)
    assert clean == git("rev-parse", "HEAD")
    found = set()
    for value in ("2", "3"):
        code.write_text(f"one = {value}\n")
        found.add(source_commit(code))
    assert len({clean, *found}) == 3
    assert all(str(one).startswith(f"{clean}+changes") for one in found)


def test_child_processes_of_a_hanging_part_end_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server or a baseline that it has started holds on to its pipes."""
    monkeypatch.setattr(running, "PART_LIMIT", 5)
    child = tmp_path / "child"
    script = 'sleep 300 & echo $! > "$0"; sleep 300'
    part = SuitePart(name="serve", variant="", device="cpu", command=("sh", "-c", script, str(child)))
    assert running.run_part(part) == {"error": "it was ended after 5 s"}
    # It has been killed, and dies when it has its next turn.
    for _ in range(600):
        if not _runs(int(child.read_text())):
            return
        time.sleep(0.05)
    pytest.fail("what the part had started goes on")


def _runs(process: int) -> bool:
    """Tells whether a process is there, and not only waits for somebody to ask how it ended."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_temporary_files_of_an_interrupted_run_are_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code may have become another since; what is measured with is made anew."""
    suite = running.Suite(
        files=tmp_path, prepared=tmp_path, output=tmp_path / "out", baselines=None, quick=True
    )
    model = suite.material().model
    model.parent.mkdir(parents=True)
    model.write_bytes(b"of an earlier commit")
    script = "import json, pathlib, sys; print(json.dumps(pathlib.Path(sys.argv[1]).stat().st_size))"
    command = (sys.executable, "-c", script, str(model))
    part = SuitePart(name="serve", variant="", device="cpu", command=command)
    monkeypatch.setattr(running, "parts", lambda *_, **__: [part])
    results = running.run_suite(suite)
    assert results["parts"]["serve-cpu"]["result"] > 1_000_000


def test_small_figures_keep_their_digits() -> None:
    written = [count(figure) for figure in (12345.6, 12.34, 1.234, 0.1234, 0.00456)]
    assert written == ["12,346", "12.3", "1.23", "0.123", "0.00456"]


def test_threads_go_up_to_twice_the_cores() -> None:
    assert thread_counts(1) == (1, 2)
    assert thread_counts(2) == (1, 2, 4)
    assert thread_counts(6) == (1, 2, 4, 6, 12)
    assert thread_counts(16) == (1, 2, 4, 8, 16, 32)


def test_a_gpu_gets_the_parts_of_the_cpu_with_another_device() -> None:
    material = Material(
        files=Path("f"), prepared=Path("p"), model=Path("m"), many=Path("many"), baselines=None, cores=2
    )
    both = {device: parts(FULL, material, device, quick=False) for device in ("cpu", "cuda")}
    on_cpu = [part for part in both["cpu"] if part.name != "startup"]
    moved = [tuple("cpu" if word == "cuda" else word for word in part.command) for part in both["cuda"]]
    assert moved == [part.command for part in on_cpu]
    assert len({part.key for part in (*both["cpu"], *both["cuda"])}) == len(both["cpu"]) + len(both["cuda"])


def test_the_roof_is_memory_first_and_arithmetic_then() -> None:
    roof = Roof(gflops=100.0, gb_per_second=10.0)
    assert [roof.at(x) for x in (1, 5, 10, 50)] == [10.0, 50.0, 100.0, 100.0]


def test_a_speed_is_related_to_the_roof_by_operations_and_bytes() -> None:
    results = {
        "scale": {"model": "alexnet"},
        "parts": {
            "roofline": _record(
                "roofline", _rates(gemm_gflops=400.0, conv_gflops=300.0, copy_gb_per_second=20.0)
            ),
            "compute": _record(
                "compute", {"batch_size": 8, "images_per_second": 30.0, "low": 1, "high": 1, "compared": []}
            ),
        },
    }
    (step,) = points(results, "cpu")
    with torch.device("meta"):
        macs = sum(row.macs for row in layer_table(create_model("alexnet")))
    assert step.gflops == pytest.approx(30 * 3 * 2 * macs / 1e9)
    # Eight images share 61 million weights, read and written eight times in a step.
    assert step.intensity < 3 * 2 * macs * 8 / (8 * 4 * 60_965_224)
    assert step.share == pytest.approx(step.gflops / min(400.0, 20.0 * step.intensity))
    assert points(results, "cuda") == []


def _record(part: str, result: dict[str, Any]) -> dict[str, Any]:
    return {"part": part, "variant": "", "device": "cpu", "result": result}


def _rates(**rates: float) -> dict[str, Any]:
    return {name: {"median": rate, "low": rate, "high": rate} for name, rate in rates.items()}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["{tmp}/none", "{tmp}"], "there is no folder {tmp}/none"),
        (["{tmp}", "{tmp}/none"], "there is no folder {tmp}/none"),
        (["{tmp}", "{tmp}", "--baselines", "{tmp}"], "the baselines in {tmp} have no environment"),
        (["{tmp}"], "Missing argument 'PREPARED'"),
    ],
)
def test_unusable_material_is_refused(tmp_path: Path, words: list[str], complaint: str) -> None:
    given = [word.format(tmp=tmp_path) for word in words]
    done = CliRunner().invoke(bench_all, [*given, "--output", str(tmp_path / "out")])
    assert done.exit_code in (1, 2)
    assert complaint.format(tmp=tmp_path) in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Photographs, and the same prepared."""
    root = tmp_path_factory.mktemp("images")
    make_photographs(root / "files", 100)
    words = [sys.executable, "-m", "alexnet_fast", "prepare", str(root / "files"), str(root / "prepared")]
    subprocess.run(words, check=True, capture_output=True)
    return root / "files", root / "prepared"


def run_all(images: tuple[Path, Path], out: Path) -> tuple[dict[str, Any], str]:
    """Runs `python -m benchmarks --quick`; returns its answer and what it said."""
    words = [*map(str, images), "--quick", "--output", str(out), "--json"]
    command = [sys.executable, "-m", "benchmarks", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer, done.stderr


def cells(page: str) -> list[list[str]]:
    """Returns the rows of all tables."""
    return [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]


def test_every_class_of_a_data_set_of_links_has_images_to_validate_with(
    photographs: list[Image.Image], tmp_path: Path
) -> None:
    """The split goes by names: of ten images in a class none may be drawn."""
    photographs[0].resize((32, 32)).save(tmp_path / "one.jpg")
    for size in (*QUICK.sizes, FULL.sizes[0]):
        lay_out_many(tmp_path, tmp_path / "many", size)
        for form in ("folders", "shards"):
            data = open_data(tmp_path / "many" / str(size) / form)
            assert len(data.train) + len(data.val) == size


@pytest.mark.slow
def test_one_command_measures_everything_and_writes_a_page_of_it(
    images: tuple[Path, Path], tmp_path: Path
) -> None:
    answer, said = run_all(images, tmp_path)
    assert answer["failed"] == {}
    results = json.loads((tmp_path / "results.json").read_text())
    page = Path(answer["page"]).read_text()
    assert results["hardware"]["cpu"]["cores"] >= 1
    assert {"torch", "nvidia-dali-cuda120"} <= results["versions"].keys()
    assert {record["part"] for record in results["parts"].values()} == {
        *("roofline", "input-files", "input-prepared", "compute", "train", "infer", "serve", "startup")
    }
    assert str(sys.executable) not in page
    _page_says_what_was_measured(page, results)
    _plots_are_images(page, tmp_path)
    if results["devices"] == ["cpu"]:
        _gpu_columns_are_empty_and_can_be_filled(results, page, tmp_path / "filled")
    _goes_on_where_it_was(images, tmp_path, said)


def _page_says_what_was_measured(page: str, results: dict[str, Any]) -> None:
    """Every rate of results.json stands in the row of its name."""
    rows = cells(page)
    for record in results["parts"].values():
        result = record["result"]
        if record["part"].startswith("input"):
            name, figure = "ours: DALI", result["images_per_second"]
            written = f"{figure:,.0f} ({result['low']:,.0f} to {result['high']:,.0f})"
            assert any(row[0] == name and written in row for row in rows), (name, written)
    compute = [r["result"]["images_per_second"] for r in results["parts"].values() if r["part"] == "compute"]
    (ours,) = [row for row in rows if row[0] == "ours"]
    assert len(ours) == len(compute) + 2
    started = [r for r in results["parts"].values() if r["part"] == "startup"]
    listed = [row for row in rows if row[1:2] in (["folders"], ["shards"])]
    assert [row[:2] for row in listed] == [r["variant"].split("-") for r in started]
    assert [float(row[3]) for row in listed] == [
        pytest.approx(r["result"]["seconds"], abs=0.06) for r in started
    ]


def _plots_are_images(page: str, directory: Path) -> None:
    """Every plot that the page names is there, and shows something."""
    named = re.findall(r"!\[[^]]+\]\((.+?)\)", page)
    assert {Path(name).stem for name in named} == {
        *("threads-cpu", "batch-cpu", "latency-cpu", "limits-cpu", "roofline-cpu", "startup")
    }
    for name in named:
        with Image.open(directory / name) as image:
            assert image.width > 1000
            assert len(image.convert("RGB").getcolors(1 << 24)) > 20


def _gpu_columns_are_empty_and_can_be_filled(results: dict[str, Any], page: str, directory: Path) -> None:
    """Without a GPU they say so; figures of one fill them through the same code."""
    heads = [row for row in cells(page) if row[-1] == "GPU"]
    assert len(heads) >= 5
    assert page.count("GPU: not measured.") == 6
    assert "`make bench` on a machine with an NVIDIA GPU" in page
    filled = copy.deepcopy(results)
    filled["devices"] = ["cpu", "cuda"]
    for key, record in results["parts"].items():
        filled["parts"][key.replace("-cpu", "-cuda")] = {**record, "device": "cuda"}
    again = write_page(filled, directory).read_text()
    assert "GPU: not measured." not in again
    assert "make bench` on a machine with" not in again
    assert {name for name in plots(filled) if name.endswith("cuda")} == {
        *("threads-cuda", "batch-cuda", "latency-cuda", "limits-cuda", "roofline-cuda")
    }


def _goes_on_where_it_was(images: tuple[Path, Path], out: Path, said: str) -> None:
    """A part whose figures are gone is measured again, and no other."""
    assert ": kept" not in said
    (out / "parts" / "roofline-cpu.json").unlink()
    _, again = run_all(images, out)
    begun = [line for line in again.splitlines() if "python -m" in line or "alexnet-fast bench" in line]
    assert [line.partition(":")[0] for line in begun] == ["roofline-cpu"]
    assert again.count(": kept") == said.count(": done") - 1
