"""Bad images are refused with their reason, and cost little."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_fast.pipelines.cpu.pillow import BadImageError
from alexnet_fast.serve.image import SERVED, square_of
from bad_images import KINDS, bad_image
from running_server import RunningServer
from small_model import SMALL, encoded

_MEMORY = 64 << 20


def peak_bytes(server: RunningServer) -> int:
    """Returns the peak memory of a server's process since `forget_peak`."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(status.split("VmHWM:", 1)[1].split()[0])


def forget_peak(server: RunningServer) -> None:
    """Resets the peak memory; see clear_refs in proc(5)."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")


def refuse(server: RunningServer, kind: str, seed: int) -> tuple[float, int]:
    """Sends one bad image; returns the time and the memory that the refusal took."""
    content = bad_image(kind, seed)
    forget_peak(server)
    before, started = server.resident_bytes(), time.perf_counter()
    status, answer = server.json("POST", "/predict", content)
    took = time.perf_counter() - started
    assert status == 400, (kind, seed, answer)
    assert KINDS[kind][0] in answer["error"], (kind, seed, answer)
    assert answer["error"].startswith("image 0 cannot be classified: "), answer
    cost = peak_bytes(server) - before
    assert cost <= _MEMORY, (kind, seed, cost >> 20)
    return took, cost


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_image_is_refused_with_its_reason(server: RunningServer, kind: str) -> None:
    assert len(KINDS) == 24
    refuse(server, kind, seed=0)


@pytest.mark.soak
def test_ten_bad_images_of_each_kind_cost_little_time_and_memory(
    server: RunningServer, evidence: Callable[..., None]
) -> None:
    found = {(kind, seed): refuse(server, kind, seed) for kind in KINDS for seed in range(10)}
    evidence(
        "hostile images sent to the server",
        n=len(found),
        refused=len(found),
        slowest_ms=round(max(took for took, _ in found.values()) * 1000),
        dearest_mib=round(max(cost for _, cost in found.values()) / 2**20, 1),
    )
    assert len(found) == 240


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True})])
def test_good_images_of_each_format_pass(
    server: RunningServer, photographs: list[Image.Image], kind: str, options: dict[str, bool]
) -> None:
    status, answer = server.json("POST", "/predict", encoded(photographs[0], kind, **options))
    assert status == 200
    assert answer["predictions"][0]["classes"]


def test_a_large_camera_image_passes(photographs: list[Image.Image]) -> None:
    """24 megapixels."""
    large = encoded(photographs[0].resize((6000, 4000)), "JPEG")
    assert square_of(large, SMALL, SERVED).shape == (64, 64, 3)


def test_the_first_image_of_a_multi_picture_file_is_classified(photographs: list[Image.Image]) -> None:
    """Phones write MPO: a JPEG, and another one for depth."""
    first, second = photographs
    both = encoded(first, "MPO", save_all=True, append_images=[second], quality=90)
    np.testing.assert_array_equal(
        square_of(both, SMALL, SERVED), square_of(encoded(first, "JPEG", quality=90), SMALL, SERVED)
    )


def test_a_file_beyond_the_size_limit_is_not_decoded() -> None:
    with pytest.raises(BadImageError, match="10485761 bytes, at most 10485760 are allowed"):
        square_of(bytes((10 << 20) + 1), SMALL, SERVED)


def test_a_gzip_bomb_is_inflated_no_further_than_a_body_may_be_large(server: RunningServer) -> None:
    """A GiB of zeros; the 64 MiB up to the limit are held twice while they are joined."""
    packer = zlib.compressobj(1, wbits=31)
    bomb = b"".join([*(packer.compress(bytes(1 << 24)) for _ in range(64)), packer.flush()])
    forget_peak(server)
    before = server.resident_bytes()
    status, answer = server.json("POST", "/predict", bomb, Content_Encoding="gzip")
    assert status == 413, answer
    assert peak_bytes(server) - before < 256 << 20


def test_one_bad_image_of_many_is_named(server: RunningServer, jpegs: list[bytes]) -> None:
    line = b"\r\n--x\r\nContent-Disposition: form-data; name=a; filename=%s\r\n\r\n%s"
    parts = ((b"good.jpg", jpegs[0]), (b"bad.jpg", b"hello"), (b"fine.jpg", jpegs[1]))
    body = b"".join(line % part for part in parts)[2:] + b"\r\n--x--\r\n"
    status, answer = server.json("POST", "/predict", body, Content_Type="multipart/form-data; boundary=x")
    assert status == 400
    assert answer["error"].startswith("bad.jpg cannot be classified: not an image")
