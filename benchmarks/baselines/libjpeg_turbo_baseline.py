"""libjpeg-turbo decoding whole files to RGB in threads, and nothing else: the limit of decoding."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import simplejpeg
from protocol import answer, files_of


def decode(file: str) -> int:
    """Reads and decodes one file; the interpreter's lock is free meanwhile."""
    return simplejpeg.decode_jpeg(Path(file).read_bytes(), "RGB").shape[2] // 3


def epoch_of(options: argparse.Namespace) -> Callable[[], Iterator[int]]:
    """Makes the threads."""
    files, _ = files_of(options)
    pool = ThreadPoolExecutor(options.threads)
    size = options.batch_size

    def epoch() -> Iterator[int]:
        waiting = []
        for start in range(0, len(files) - size + 1, size):
            waiting.append([pool.submit(decode, file) for file in files[start : start + size]])
            # Two batches ahead, as the others.
            if len(waiting) > 2:
                yield sum(image.result() for image in waiting.pop(0))
        for batch in waiting:
            yield sum(image.result() for image in batch)

    return epoch


if __name__ == "__main__":
    answer("libjpeg-turbo, decoding alone", ["simplejpeg"], epoch_of)
