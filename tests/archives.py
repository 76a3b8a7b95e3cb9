"""Archives in memory, good and odd ones."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping

# Where a member's headers have a field: in front of its content and in the directory (APPNOTE 4.3.7, 4.3.12).
_BEGINNINGS = (b"PK\x03\x04", b"PK\x01\x02")
_FIELDS = {"version": (4, 6), "flags": (6, 8), "method": (8, 10)}


def packed_tar(members: Mapping[str, bytes | tarfile.TarInfo], mode: str = "w:gz") -> bytes:
    """Returns a tar of files, or of what a TarInfo says."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return file.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Returns a member of a tar that is no plain file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def packed_zip(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Returns a zip of files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def odd_zip(members: Mapping[str, bytes], **values: int) -> bytes:
    """Returns a zip whose headers have other values.

    Args:
        members: Name and content.
        values: "version", "flags" or "method" of every member.
    """
    packed = bytearray(packed_zip(members, zipfile.ZIP_STORED))
    for field, value in values.items():
        for beginning, offset in zip(_BEGINNINGS, _FIELDS[field], strict=True):
            at = packed.find(beginning)
            while at >= 0:
                packed[at + offset : at + offset + 2] = struct.pack("<H", value)
                at = packed.find(beginning, at + 4)
    return bytes(packed)
