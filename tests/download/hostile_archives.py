"""Twelve archives that would write outside their folder, fill the disk, or make more than plain files."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from archives import packed_tar, packed_zip

_IMAGE = {"a/x.jpg": b"x"}
_UP = "a\\" + "..\\" * 30
# Packed about a thousandfold; the test allows 64 KiB.
_BOMB = {"a/x.jpg": bytes(10 << 20)}


def _special(kind: bytes, target: str = "", name: str = "a/special") -> dict[str, tarfile.TarInfo]:
    """A member that is no plain file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return {name: info}


def _zip_link(target: str) -> bytes:
    """A zip whose member says that it is a link, as Info-ZIP writes one."""
    file, link = io.BytesIO(), zipfile.ZipInfo("a/link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/x.jpg", b"x")
        archive.writestr(link, target)
    return file.getvalue()


# name: (what the refusal says, what makes one, given a place outside).
ARCHIVES: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "a name that climbs": (
        "leads out of it",
        lambda out: packed_tar({**_IMAGE, f"a/{'../' * 30}{str(out).lstrip('/')}": b"x"}),
    ),
    "a name from the root": ("leads out of it", lambda out: packed_tar({**_IMAGE, str(out): b"x"}, "w")),
    "a zip's name from the root": ("leads out of it", lambda out: packed_zip({**_IMAGE, str(out): b"x"})),
    "a name that climbs as in Windows": (
        "leads out of it",
        lambda out: packed_zip({**_IMAGE, _UP + str(out).lstrip("/"): b"x"}),
    ),
    "a link out": (
        "no plain file",
        lambda out: packed_tar({**_IMAGE, **_special(tarfile.SYMTYPE, str(out))}),
    ),
    "a folder's link and a file through it": (
        "no plain file",
        lambda out: packed_tar(
            {**_special(tarfile.SYMTYPE, str(out.parent), "a/b"), f"a/b/{out.name}": b"x"}, "w"
        ),
    ),
    "a zip's link": ("no plain file", lambda out: _zip_link(str(out))),
    "a hard link": (
        "no plain file",
        lambda out: packed_tar({**_IMAGE, **_special(tarfile.LNKTYPE, str(out))}),
    ),
    "a pipe": ("no plain file", lambda out: packed_tar({**_IMAGE, **_special(tarfile.FIFOTYPE)})),
    "a device": ("no plain file", lambda out: packed_tar({**_IMAGE, **_special(tarfile.CHRTYPE)})),
    "a tar bomb": ("holds more than the limit", lambda out: packed_tar(_BOMB)),
    "a zip bomb": ("holds more than the limit", lambda out: packed_zip(_BOMB)),
}
