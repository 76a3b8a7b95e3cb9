"""Which names are those of images, and what every other name is ignored for."""

from __future__ import annotations

import os

from alexnet_fast.data.image_list import ARRAY_SUFFIX, IMAGE_EXTENSIONS

NO_EXTENSION = "without an extension"
HIDDEN = "hidden"

# Formats of images that people's folders hold and that are not read, by extension.
_UNREAD = {
    **dict.fromkeys((".heic", ".heif", ".hif", ".heics", ".heifs"), "HEIC"),
    **dict.fromkeys((".avif", ".avifs"), "AVIF"),
    **dict.fromkeys((".jxl",), "JPEG XL"),
    **dict.fromkeys((".jxr", ".wdp", ".hdp"), "JPEG XR"),
    **dict.fromkeys((".svg", ".svgz", ".eps", ".ai", ".pdf"), "drawings"),
    **dict.fromkeys(
        (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".raw"), "raw photographs"
    ),
    **dict.fromkeys((".psd", ".xcf", ".tga", ".ico", ".pcx", ".dds", ".exr", ".hdr", ".qoi"), "other images"),
}
_ARCHIVES = (".gz", ".tgz", ".xz", ".txz", ".bz2", ".tbz2", ".zst", ".tzst", ".lz4", ".zip", ".7z", ".rar")

# What systems and programs leave beside images: names in small letters, or how they begin.
_JUNK_FILES = {
    "thumbs.db": "thumbnails of Windows",
    "thumbs.db:encryptable": "thumbnails of Windows",
    "ehthumbs.db": "thumbnails of Windows",
    "ehthumbs_vista.db": "thumbnails of Windows",
    "desktop.ini": "settings of Windows",
    "icon\r": "a folder's icon of macOS",
    "picasa.ini": "settings of Picasa",
}
_SYNOLOGY = ("synophoto_", "synophotos_", "synoindex_", "synovideo_", "synofile_", "synopreview_")
_JUNK_DIRECTORIES = {
    "__macosx": "what macOS packs into archives",
    "@eadir": "thumbnails of a Synology",
    "@recycle": "a recycle bin",
    "@recently-snapshot": "snapshots",
    "#recycle": "a recycle bin",
    "#snapshot": "snapshots",
    "lost+found": "what a file system has recovered",
    "$recycle.bin": "a recycle bin",
    "recycler": "a recycle bin",
    "system volume information": "data of Windows",
    "network trash folder": "a recycle bin",
    "temporary items": "data of macOS",
    "__pycache__": "a cache of Python",
}


def extension(name: str) -> str:
    """Returns the extension of a file's name in small letters, with its dot; "" if there is none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - called for every file


def why_junk(name: str) -> str | None:
    """Returns why a file of this name is never looked at, whatever it holds; None where it may be."""
    if name.startswith("."):
        return "hidden, of macOS (._)" if name.startswith("._") else HIDDEN
    small = name.lower()
    if small in _JUNK_FILES:
        return _JUNK_FILES[small]
    return "thumbnails of a Synology" if small.startswith(_SYNOLOGY) else None


def why_not_entered(name: str) -> str | None:
    """Returns why a directory of this name is never entered; None for every other."""
    if name.startswith("."):
        return "hidden"
    return _JUNK_DIRECTORIES.get(name.lower())


def junk_reason(name: str) -> str | None:
    """Returns why a member of an archive is never looked at; None for one that may be.

    Args:
        name: Path in the archive, with "/" between its parts.
    """
    *directories, file = name.split("/")
    return next(filter(None, (*map(why_not_entered, directories), why_junk(file))), None)


def why_ignored(name: str) -> str | None:
    """Returns why a file of this name is not listed as an image; None for one that is."""
    reason = why_junk(name)
    if reason is not None:
        return reason
    suffix = extension(name)
    return None if suffix in IMAGE_EXTENSIONS else _why_unread(suffix)


def why_not_listed(name: str) -> str | None:
    """Returns why a file of this name is neither an image nor a raw array; None for one that is."""
    return None if name.endswith(ARRAY_SUFFIX) and why_junk(name) is None else why_ignored(name)


def is_image_name(name: str) -> bool:
    """Returns, by the name without directories, whether a file is listed as an image."""
    return why_ignored(name) is None


def _why_unread(suffix: str) -> str:
    """Returns why a file of an extension is not listed."""
    if not suffix:
        return NO_EXTENSION
    if suffix in _UNREAD:
        return f"{_UNREAD[suffix]} ({suffix}), not read"
    if suffix in _ARCHIVES:
        return f"packed ({suffix}), not read"
    if suffix == ".tar":
        return "a tar beside folders (.tar), not read"
    return f"{suffix}, not an image"
