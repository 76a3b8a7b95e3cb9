"""`scan` as a user runs it, and a folder of good, bad and odd files."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from warm_commands import run_command


@pytest.fixture(scope="session")
def scan() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `alexnet-fast scan` in a process of its own."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return run_command("scan", *arguments, "--workers", 2, timeout=120)

    return run


@pytest.fixture(scope="session")
def json_of_scan(scan) -> Callable[..., dict[str, Any]]:
    """Runs it with `--json`; returns the object on the only line of stdout."""

    def run(*arguments: object, code: int = 0) -> dict[str, Any]:
        done = scan(*arguments, "--json")
        assert done.returncode == code, done.stderr
        assert len(done.stdout.splitlines()) == 1, done.stdout
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return run


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """Encodes a PNG by hand, whatever its header claims."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.fixture(scope="session")
def mixed_dir(photographs: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and val/ with two classes; files are named after what they are."""
    root = tmp_path_factory.mktemp("mixed")
    cats, dogs = root / "train" / "cats", root / "val" / "dogs"
    for directory in (cats, dogs):
        directory.mkdir(parents=True)
    china, flower = (image.resize((160, 107)) for image in photographs)
    _good(cats, china, flower)
    _odd(cats, china, flower)
    _bad(dogs, china)
    return root


def _good(directory: Path, china: Image.Image, flower: Image.Image) -> None:
    china.save(directory / "plain.jpg")
    china.convert("L").save(directory / "grey.jpg")
    flower.save(directory / "progressive.JPEG", progressive=True)
    flower.save(directory / "plain.png")
    (directory / "notes.txt").write_text("not an image, and not called one", encoding="utf-8")
    (directory / ".hidden.jpg").write_bytes(b"")
    china.save(os.fsencode(directory) + b"/caf\xe9.jpg")


def _odd(directory: Path, china: Image.Image, flower: Image.Image) -> None:
    china.convert("CMYK").save(directory / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    china.save(directory / "turned.jpg", exif=exif)
    deep = np.asarray(china.convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(directory / "sixteen.png")
    Image.fromarray(deep).save(directory / "sixteen.tif")
    (directory / "sixteen-colour.png").write_bytes(png(2, 1, 16, 2, b"\0" + bytes(12)))
    flower.save(directory / "animated.webp", save_all=True, append_images=[china])
    Image.new("RGB", (5200, 5000)).save(directory / "huge.png")
    flower.convert("RGBA").save(directory / "alpha.png")
    flower.quantize(16).save(directory / "palette.png")
    flower.save(directory / "png-called.jpg", format="PNG")
    flower.save(directory / "photo.txt", format="JPEG")
    flower.save(directory / "image.gif")


def _bad(directory: Path, china: Image.Image) -> None:
    china.save(directory / "whole.jpg")
    content = (directory / "whole.jpg").read_bytes()
    (directory / "truncated.jpg").write_bytes(content[: len(content) // 2])
    (directory / "empty.jpg").write_bytes(b"")
    (directory / "text.jpg").write_text("not an image", encoding="utf-8")
    (directory / "bomb.png").write_bytes(png(60000, 60000, 8, 2, b""))
    (directory / "big-header.png").write_bytes(png(10000, 9000, 8, 2, b""))
    (directory / "gone.jpg").symlink_to(directory / "nowhere.jpg")
    (directory / "script.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    )
    china.save(directory / "gif-called.jpg", format="GIF")
    os.mkfifo(directory / "pipe.jpg")
    (directory / "around").symlink_to(directory.parent)
