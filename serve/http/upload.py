"""The images of `POST /predict`: the body itself, or the files of a form (RFC 7578)."""

from __future__ import annotations

import dataclasses
import email.message
import email.parser
import email.policy

from alexnet_fast.serve.errors import malformed

# Boundaries have at most 70 characters (RFC 2046, section 5.1.1).
_MAX_BOUNDARY = 70
# A part says its name, its file's name and its type.
_MAX_HEADER_BYTES = 8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """An image as it came.

    Args:
        name: Name of the file; None where the sender does not say.
        content: Its bytes.
    """

    name: str | None
    content: bytes


def uploaded_files(body: bytes, content_type: str) -> list[UploadedFile]:
    """Returns the images in a body.

    Args:
        body: The body.
        content_type: Its type; all but multipart/form-data is taken for an image, whatever it says.

    Raises:
        RequestError: There is none, or the form is damaged.
    """
    header = email.message.Message()
    header["content-type"] = content_type.replace("\n", " ").replace("\r", " ")
    if header.get_content_type() != "multipart/form-data":
        if not body:
            raise malformed("the body is empty, send an image")
        return [UploadedFile(name=None, content=body)]
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not 1 <= len(boundary) <= _MAX_BOUNDARY or not boundary.isascii():
        raise malformed("multipart/form-data needs a boundary of 1 to 70 ASCII characters")
    files = [file for part in _parts(body, boundary.encode()) if (file := _file(part))]
    if not files:
        raise malformed("the form has no file, send one as a part with a filename")
    return files


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """Splits a form at its boundaries."""
    start, *rest = (b"\r\n" + body).split(b"\r\n--" + boundary)
    del start  # the preamble, which is for readers without MIME
    if not rest or not rest[-1].startswith(b"--"):
        raise malformed("the form does not end with its boundary")
    for part in rest[:-1]:
        if not part.startswith(b"\r\n"):
            raise malformed("the form is damaged: a line that begins like its boundary goes on")
    return [part[2:] for part in rest[:-1]]


def _file(part: bytes) -> UploadedFile | None:
    """Returns the file in a part, None where it is a plain field."""
    head, found, content = part.partition(b"\r\n\r\n")
    if not found or len(head) > _MAX_HEADER_BYTES:
        raise malformed("a part of the form has no header, or one that is too long")
    header = email.parser.BytesHeaderParser(policy=email.policy.HTTP).parsebytes(head + b"\r\n\r\n")
    name = header.get_filename()
    if name is None:
        return None
    if not content:
        raise malformed(f"the file {name[:100]!r} is empty")
    return UploadedFile(name=name, content=content)
