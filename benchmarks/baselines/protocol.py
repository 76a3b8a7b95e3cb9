"""The protocol of a baseline: a line on stdin gives the seconds of a turn, one JSON line answers it.

A baseline's script gives a function that returns an endless stream of batch sizes. By hand, each line typed,
such as `2`, measures two seconds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from alexnet_fast.bench.interleave import rate_of


def answer(
    name: str, packages: Iterable[str], epoch_of: Callable[[argparse.Namespace], Callable[[], Iterable[int]]]
) -> None:
    """Makes a baseline's loader and answers until stdin ends.

    Args:
        name: Its name in the report.
        packages: Packages whose versions the report names.
        epoch_of: Returns, from the options, the function that yields the batch sizes of one epoch.
    """
    # Libraries print to stdout: only the answers go to the real one, the rest goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    options = _options()
    epoch = epoch_of(options)
    stream = itertools.chain.from_iterable(epoch() for _ in itertools.count())
    versions = {package: importlib.metadata.version(package) for package in packages}
    print(json.dumps({"name": name, "versions": versions}), file=answers, flush=True)
    for line in sys.stdin:
        rate = rate_of(stream, float(line), options.threads)
        print(json.dumps({"images_per_second": rate}), file=answers, flush=True)


def _options() -> argparse.Namespace:
    """Reads the options of every baseline."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("data", type=Path, help="folder of class folders")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--resize", type=int, default=256)
    parser.add_argument("--crop", type=int, default=224)
    parser.add_argument("--repeat", type=int, default=1, help="how often an epoch goes through the images")
    return parser.parse_args()


def files_of(options: argparse.Namespace) -> tuple[list[str], list[int]]:
    """Lists the images of an epoch and their labels."""
    directories = sorted(directory for directory in options.data.iterdir() if directory.is_dir())
    pairs = [
        (str(file), label)
        for label, directory in enumerate(directories)
        for file in sorted(directory.rglob("*.*"))
    ]
    return [path for path, _ in pairs] * options.repeat, [label for _, label in pairs] * options.repeat
