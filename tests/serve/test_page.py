"""The page at / in a real browser: wide and on a phone, with a good and a bad image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser import CHROMIUM, Tab, browser_tab

from alexnet_fast import Predictor
from running_server import RunningServer
from small_model import CLASSES

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt: chromium)")


@pytest.fixture(scope="module")
def tab() -> Tab:
    """A page of a headless browser."""
    with browser_tab() as found:
        yield found


@pytest.fixture
def photo(jpegs: list[bytes], tmp_path: Path) -> Path:
    """A photograph as a file."""
    file = tmp_path / "photo.jpg"
    file.write_bytes(jpegs[0])
    return file


def each(selector: str, expression: str) -> str:
    """Returns JavaScript for a value of each element of a selector."""
    return f"[...document.querySelectorAll({selector!r})].map((one) => {expression})"


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)], ids=["wide", "phone"])
def test_an_image_gets_its_classes_and_its_crops(
    tab: Tab,
    server: RunningServer,
    jpegs: list[bytes],
    tmp_path: Path,
    reference: Predictor,
    width: int,
    height: int,
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpegs[0])
    tab.requested.clear()
    tab.complaints.clear()
    tab.open(f"http://{server.http}/", width=width, height=height)
    tab.until("document.querySelectorAll('#model option').length === 1")
    assert tab.value("document.querySelector('#model').value") == "small"
    tab.choose_file("#file", photo)
    tab.until("document.querySelectorAll('#crops li').length === 10")

    expected = reference.predict(photo, top=5)[0].classes
    shown = tab.value(
        "[...document.querySelectorAll('#classes li > span > span')].map((one) => one.textContent)"
    )
    assert shown == [guess.label for guess in expected]
    bars = tab.value(each("#classes i", "parseFloat(one.style.width)"))
    assert bars == pytest.approx([100 * guess.probability for guess in expected], abs=0.01)
    first = "document.querySelector('#crops li .score span span').textContent"
    assert tab.value(first) in CLASSES
    # Every crop shows a part of the image, not an empty square.
    seen = "new Set(one.getContext('2d').getImageData(0, 0, 160, 160).data).size"
    assert min(tab.value(each("#crops canvas", seen))) > 100
    # The sixth crop is the mirror image of the first.
    rows = tab.value(each("#crops canvas", "[...one.getContext('2d').getImageData(0, 80, 160, 1).data]"))
    first, sixth = ([row[at] for at in range(0, 640, 4)] for row in (rows[0], rows[5]))
    assert sixth[::-1] == pytest.approx(first, abs=3)
    assert sixth != pytest.approx(first, abs=30)
    # Nothing is wider than the window, loaded from elsewhere, or logged as an error.
    assert tab.value("document.documentElement.scrollWidth") <= width
    own = (f"http://{server.http}/", "data:", f"blob:http://{server.http}/")
    assert tab.requested
    assert [url for url in tab.requested if not url.startswith(own)] == []
    assert tab.complaints == []
    if os.environ.get("SCREENSHOTS"):
        tab.screenshot(Path(os.environ["SCREENSHOTS"]) / f"page-{width}.png")


def test_a_bad_image_gets_its_reason(tab: Tab, server: RunningServer, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"hello")
    tab.open(f"http://{server.http}/", width=390, height=844)
    tab.choose_file("#file", bad)
    tab.until("document.querySelector('#status').className === 'bad'")
    assert "not an image in JPEG, PNG or WEBP" in tab.value("document.querySelector('#status').textContent")
    assert tab.value("document.querySelector('#result').hidden")


def test_the_page_may_load_nothing_from_elsewhere(server: RunningServer) -> None:
    status, headers, content = server.call("GET", "/")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert b"http://" not in content
    assert b"https://" not in content
