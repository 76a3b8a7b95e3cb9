"""Every benchmark in one run, with a page: `python -m benchmarks FILES PREPARED`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from alexnet_fast.cli.command import Result, answers, say
from alexnet_fast.cli.path_roles import DATA, PathOf
from alexnet_fast.utils.progress import progress_bar

if TYPE_CHECKING:
    from benchmarks.suite.parts import SuitePart

EXAMPLE = """\b
Examples:
  make bench                                                 (makes the images, sets up the baselines)
  python -m benchmarks images prepared
  python -m benchmarks images prepared --quick --output /tmp/try --json
"""


def _table(result: Result) -> str:
    lines = [f"{result['measured']} of {result['parts']} parts measured; the page is {result['page']}"]
    lines += [f"not measured: {name}: {error}" for name, error in result["failed"].items()]
    return "\n".join(lines)


@click.command(epilog=EXAMPLE)
@click.argument("files", type=PathOf(DATA))
@click.argument("prepared", type=PathOf(DATA))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs/bench/results"),
    show_default=True,
    help="Folder of the figures, the page and its plots.",
)
@click.option("--baselines", type=click.Path(path_type=Path), help="Folder of other projects' loaders.")
@click.option("--quick", is_flag=True, help="Show in minutes that everything runs; the figures mean nothing.")
@answers(_table, failed=lambda result: bool(result["failed"]))
def bench_all(quick: bool, output: Path, **given: Any) -> Result:
    """Run every benchmark, and write a page with tables and plots.

    FILES are JPEGs as they are, PREPARED the same images after `prepare`. Input, computation, training,
    inference, serving and start-up are measured one after the other, each in a process of its own, on the CPU
    and on a GPU if there is one, beside the machine's limits. An interrupted run is resumed: figures of the
    same commit on the same machine are reused.
    """
    from benchmarks.suite.page import write_page
    from benchmarks.suite.running import Suite, run_suite

    suite = Suite(quick=quick, output=output, **given)
    with progress_bar(0, "measuring", lambda part: [part.shown]) as bar:

        def begin(count: int) -> None:
            bar.length = count

        def show(part: SuitePart, what: str) -> None:
            if not sys.stderr.isatty():
                say(f"{part.key}: {part.shown if what == 'begins' else what}")
            bar.update(0 if what == "begins" else 1, part)

        results = run_suite(suite, begin, show)
    failed = {key: part["error"] for key, part in results["parts"].items() if "error" in part}
    return {
        "page": str(write_page(results, output)),
        "results": str(output / "results.json"),
        "parts": len(results["parts"]),
        "measured": len(results["parts"]) - len(failed),
        "failed": failed,
        **{name: results[name] for name in ("hardware", "versions", "commit", "quick")},
    }


if __name__ == "__main__":
    bench_all(prog_name="python -m benchmarks")
