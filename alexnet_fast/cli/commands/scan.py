"""`alexnet-fast scan`."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import click

from alexnet_fast.cli import options
from alexnet_fast.cli.command import Result, answers
from alexnet_fast.cli.help_page import command
from alexnet_fast.cli.overwriting import ask_to_overwrite, force_option
from alexnet_fast.cli.path_roles import DATA, PathOf
from alexnet_fast.utils.progress import progress_bar
from alexnet_fast.utils.special_files import check_plain

EXAMPLE = """\b
Examples:
  alexnet-fast scan images
  alexnet-fast scan images --write-exclude bad.txt --strict --json
"""

_MOST_ROWS = 40
_LINES_LOOKED_AT = 1000


def _table(result: Result) -> str:
    lines = [f"images      {result['images']}, decoded in {result['seconds']:.1f} s"]
    for kind, column in (("bad", "reason"), ("warnings", "what"), ("ignored", "reason")):
        rows = result[kind]
        lines.append(f"{kind:13s} {sum(row.get('members', 1) for row in rows)}")
        lines += [f"  {_printable(row['file'])}: {_counted(row)}{row[column]}" for row in rows[:_MOST_ROWS]]
        if len(rows) > _MOST_ROWS:
            lines.append(f"  and {len(rows) - _MOST_ROWS} more; --json lists all")
    return "\n".join(lines)


def _counted(row: Result) -> str:
    """Returns the number of members of a tar that a row counts, if it is more than one."""
    return f"{row['members']} " if row.get("members", 1) > 1 else ""


def _printable(name: str) -> str:
    """Returns a file's name as lists write it, with an escape for each byte that is not UTF-8."""
    from alexnet_fast.data.name_lists import written_name

    return written_name(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@command(epilog=EXAMPLE)
@click.argument("data", type=PathOf(DATA))
@click.option(
    "--write-exclude",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the bad files to this list for --exclude, one path per line, relative to DATA.",
)
@force_option
@click.option("--strict", is_flag=True, help="Exit with 1 if there is a bad file.")
@options.shard_fields
@options.cpu_workers("Number of processes that decode.")
@options.timeout_per_file("Seconds per file; one that takes longer is bad.")
@answers(_table, failed=lambda result: bool(result["strict"] and result["bad"]))
def scan(
    data: Path,
    write_exclude: Path | None,
    strict: bool,
    workers: int,
    seconds: float,
    *,
    force: bool,
    **arguments: str | None,
) -> Result:
    """Decode every image in DATA once, and report bad and odd ones.

    DATA is any folder: train/ and val/, class folders, plain files, WebDataset tars, or the output of
    `prepare`. Bad files cannot be used. Odd ones can, and get a warning: CMYK, 16-bit, animated, huge, with
    alpha or palette, turned by EXIF, or with the extension of another format. Files that training does not
    list are reported as ignored, with the reason: hidden files, files that systems leave behind, files with
    other extensions or beside the class folders.
    """
    from alexnet_fast.scan.listing import list_for_scan
    from alexnet_fast.scan.scan import scan_dir
    from alexnet_fast.utils.atomic import check_writable

    if write_exclude is not None:
        force = force or _lists_files_of(write_exclude, data)
        ask_to_overwrite(write_exclude, force=force, instead="another --write-exclude")
    start, fields = time.monotonic(), options.fields(arguments)
    listing = list_for_scan(data)
    if write_exclude is not None:
        check_writable(write_exclude)
    with progress_bar(len(listing.names), "scanning") as bar:

        def begin(count: int) -> None:
            bar.length = count

        report = scan_dir(
            data,
            listing,
            workers=workers,
            seconds=seconds,
            begin=begin,
            on_progress=lambda: bar.update(1),
            fields=fields,
        )
    if write_exclude is not None:
        report.write_exclude_list(write_exclude)
    return {
        **report.to_dict(),
        "seconds": round(time.monotonic() - start, 3),
        "strict": strict,
        "list": write_exclude,
    }


def _lists_files_of(path: Path, data: Path) -> bool:
    """Returns whether a file is a list that this command wrote for the same data: it may be replaced.

    Each line must begin with the name of a file or folder of the data.
    """
    from alexnet_fast.data.name_lists import unquoted

    try:
        check_plain(path)
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n") for line in itertools.islice(file, _LINES_LOOKED_AT)]
    except OSError:
        return False
    names = [unquoted(line) or line for line in lines if line]
    return all(os.path.lexists(data / name.partition("/")[0]) for name in names)
