"""What was given in place of a ``.beton`` file, in words: another kind of file, or a URL."""

from __future__ import annotations

import codecs
import os
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = ["NUM_BYTES_LOOKED_AT", "appearance", "is_recognised", "url_problem"]

NUM_BYTES_LOOKED_AT = 512
"""How much of a file's beginning tells what it is."""

_CONVERT = "read it with what wrote it, and write the samples with ffcv.DatasetWriter"
_IMAGE = "datasets of images are written with ffcv.DatasetWriter"
_UNPACK = "if it holds a .beton file, unpack it and open that"
_TAR = f"{_UNPACK}; tar files of samples are converted by DatasetWriter.from_webdataset"
_LFS = "fetch the file that it stands for: `git lfs pull`"
_PAGE = "a download went wrong, or needs a login"
_AGAIN = "a download or a copy that never finished; get it again"
_NONE = "give the path of a file that ffcv.DatasetWriter or FFCV 1.x wrote"


class _Kind(NamedTuple):
    """A kind of file: which bytes it has where, what it is called, and what to do with it."""

    place: int
    magic: bytes
    name: str
    remedy: str


_KINDS = (
    _Kind(0, b"\x89PNG\r\n\x1a\n", "a PNG image", _IMAGE),
    _Kind(0, b"\xff\xd8\xff", "a JPEG image", _IMAGE),
    _Kind(0, b"GIF8", "a GIF image", _IMAGE),
    _Kind(8, b"WEBP", "a WebP image", _IMAGE),
    _Kind(0, b"II*\0", "a TIFF image", _IMAGE),
    _Kind(0, b"MM\0*", "a TIFF image", _IMAGE),
    _Kind(4, b"ftypavif", "an AVIF image", _IMAGE),
    _Kind(4, b"ftypheic", "a HEIF image", _IMAGE),
    _Kind(4, b"ftyp", "a video", _CONVERT),
    _Kind(8, b"WAVE", "a WAV sound", _CONVERT),
    _Kind(257, b"ustar", "a tar archive", _TAR),
    _Kind(0, b"\x1f\x8b", "compressed by gzip", _TAR),
    _Kind(0, b"\x28\xb5\x2f\xfd", "compressed by zstd", _TAR),
    _Kind(0, b"\xfd7zXZ\0", "compressed by xz", _TAR),
    _Kind(0, b"BZh", "compressed by bzip2", _TAR),
    _Kind(0, b"\x04\x22\x4d\x18", "compressed by lz4", _TAR),
    _Kind(0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    _Kind(0, b"Rar!", "a RAR archive", _UNPACK),
    _Kind(0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", _CONVERT),
    _Kind(0, b"PAR1", "a Parquet file", _CONVERT),
    _Kind(0, b"ARROW1", "an Arrow file", _CONVERT),
    _Kind(0, b"\x93NUMPY", "a NumPy array (.npy)", _CONVERT),
    _Kind(0, b"SQLite format 3\0", "an SQLite database", _CONVERT),
    _Kind(16, b"\xde\xc0\xef\xbe", "an LMDB database", _CONVERT),
    _Kind(0, b"%PDF", "a PDF document", _NONE),
    _Kind(0, b"\x7fELF", "a program", _NONE),
    _Kind(0, b"version https://git-lfs", "a pointer of Git LFS", _LFS),
)

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")


def is_recognised(head: bytes) -> bool:
    """Whether the beginning of a file is that of another kind of file."""
    return _kind(head) is not None


def appearance(head: bytes, num_bytes: int) -> str:
    """What a file looks like that is no ``.beton`` file, and what to do.

    Args:
        head: its beginning, :data:`NUM_BYTES_LOOKED_AT` bytes if it has as many.
        num_bytes: its size.

    Example:
        >>> appearance(b"GIF89a, and so on", 17)
        'it is not a .beton file, but a GIF image; datasets of images are written with ffcv.DatasetWriter'
    """  # noqa: E501
    if not num_bytes:
        return f"it is not a .beton file: it is empty; {_AGAIN}"
    found = _kind(head)
    if found is not None:
        return f"it is not a .beton file, but {found[0]}; {found[1]}"
    if not head.strip(b"\0"):
        return f"it is not a .beton file: it begins with zeros; {_AGAIN}"
    return (
        f"it is not a .beton file: it has {num_bytes} bytes, of no kind that is known here, and "
        f"begins with {head[:8].hex(' ')}; {_NONE}"
    )


def _kind(head: bytes) -> tuple[str, str] | None:
    """Name of a kind of file, and what to do with it."""
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(head)
    for kind in _KINDS:
        if head[kind.place :].startswith(kind.magic):
            return kind.name, kind.remedy
    # A pickle says its protocol and, since protocol 4, the size of what follows.
    if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5" and len(head) > 2:
        return "a pickle", _CONVERT
    # A mark, and the size of a message, which is padded to a multiple of eight bytes.
    size = int.from_bytes(head[4:8], "little")
    if head.startswith(b"\xff\xff\xff\xff") and 0 < size < 1 << 31 and size % 8 == 0:
        return "an Arrow stream", _CONVERT
    # Eight bytes of length, and JSON.
    if head[8:10] == b'{"' and not any(head[4:8]):
        return "a safetensors file", _CONVERT
    return _kind_of_text(head)


def _kind_of_zip(head: bytes) -> tuple[str, str]:
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    if first.endswith((b"/data.pkl", b"/version", b"/byteorder")):
        return "a file of torch.save", _CONVERT
    if first.endswith(b".npy"):
        return "a file of NumPy arrays (.npz)", _CONVERT
    return "a zip archive", _UNPACK


def _kind_of_text(head: bytes) -> tuple[str, str] | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and len(head) > 2:
        return "text", _NONE
    try:
        # It does not mind a last character that is cut off where the looking ends.
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text):
        return None
    begin = text.lstrip("\ufeff \t\r\n").lower()
    if begin.startswith(("<!doctype html", "<html", "<?xml", "<error")):
        return "a web page or XML", _PAGE
    return "text", _NONE


def url_problem(path: str, writing: bool = False) -> str | None:
    """What to say about a path that is a URL; ``None`` for one that is none.

    Example:
        >>> url_problem("https://example.org/train.beton")
        'it is a URL, and ffcv reads files: download it first, by `curl -O` for example'
        >>> url_problem("s3://bucket/train.beton")
        'it is a URL, and ffcv reads files: download it first, with the tool for s3 storage'
        >>> url_problem("/data/train.beton")
    """
    found = _SCHEME.match(path)
    if found is None:
        return None
    scheme = found[1].lower()
    does = "it is a URL, and ffcv " + ("writes files" if writing else "reads files")
    if scheme == "file":
        local = unquote(urlsplit(path).path) or path[found.end() - 1 :]
        return f"{does}: give the path alone, {os.path.normpath(local)}"
    if writing:
        return f"{does}: give a path on a local disk, and copy the file from there"
    web = scheme in ("http", "https", "ftp")
    tool = "by `curl -O` for example" if web else f"with the tool for {scheme} storage"
    lost = "" if found[0].endswith("//") else "; a Path loses a slash, give a str"
    return f"{does}: download it first, {tool}{lost}"
