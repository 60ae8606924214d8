"""Reading files that may hold anything: bounded in bytes and depth, and with one sentence for what cannot be read.

Nothing waits (a pipe is no file), nothing is allocated before its size is known to be within its bound, and of what
goes wrong only `diffatlas.errors.Unreadable` comes out, and FileNotFoundError where there is no such file.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any

from diffatlas.errors import Unreadable

#: Bytes of a JSON file, and how deep lists and objects may lie in each other.
MOST_JSON, MOST_DEPTH = 16_000_000, 64
#: Bytes of a file of tensors, and of the header that says what is in it.
MOST_TENSORS, MOST_HEADER = 4_000_000_000, 16_000_000
#: Pixels along a side of a picture, and in all.
MOST_SIDE, MOST_PIXELS = 16_384, 1 << 26
#: The most that deflate makes of a byte.
_DEFLATED = 1040
#: Bits a number of each type that a file of tensors may hold.
_ITEM = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_PNG = b"\x89PNG\r\n\x1a\n"
#: The last bytes of a PNG file, which decoders do without.
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
#: A pair of surrogates, one that is alone, and any other escape.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def read_bytes(path: Path, most: int) -> bytes:
    """Return the content of a file of at most ``most`` bytes. A folder, a pipe or a device is none."""
    descriptor = open_file(path)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size > most:
            raise unreadable(path, f"it is larger than {bytes_words(most)}")
        try:
            # Room is made for what is asked: no more than there is.
            data = file.read(size + 1)
        except OSError as error:
            raise unreadable(path, reason_of(error)) from error
    if len(data) > most:  # it has grown since
        raise unreadable(path, f"it is larger than {bytes_words(most)}")
    return data


def open_file(path: Path) -> int:
    """Return the descriptor of a plain file that is open for reading."""
    try:
        # Without waiting: a pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise unreadable(path, reason_of(error)) from error
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        raise unreadable(path, "it is a folder" if stat.S_ISDIR(kind) else "it is no plain file")
    return descriptor


def read_text(path: Path, most: int) -> str:
    """Return the text of a file of at most ``most`` bytes of UTF-8."""
    return _text(read_bytes(path, most), path)


def read_object(
    path: Path,
    most: int = MOST_JSON,
    depth: int = MOST_DEPTH,
    *,
    finite: bool = False,
    bare: list[str] | None = None,
) -> dict[str, Any]:
    """Return the object that a JSON file of at most ``most`` bytes holds; see `parse_json`."""
    data = parse_json(read_bytes(path, most), path, depth, finite=finite, bare=bare)
    if not isinstance(data, dict):
        raise unreadable(path, "it is no JSON object")
    return data


def parse_json(
    data: bytes | str,
    name: str | Path,
    depth: int = MOST_DEPTH,
    *,
    finite: bool = False,
    bare: list[str] | None = None,
) -> Any:
    """Return what JSON says. Raises `Unreadable` where it is none, or lies deeper than ``depth`` in lists and objects.

    name: of the file, for the sentence. finite: whether NaN and numbers beyond the range of a float are refused; else
    they are floats. bare: takes in the spellings of bare NaN and infinities, which are None then, and numbers beyond
    the range are refused.
    A surrogate that is alone is no text that could be shown or stored: a question mark stands for it.
    """
    text = data if isinstance(data, str) else _text(data, name)
    if "\\u" in text:
        text = _ESCAPE.sub(lambda found: "?" if found[1] else found[0], text)
    hooks: dict[str, Any] = STRICT if finite else {}
    if bare is not None:
        # A list's method gives None.
        hooks = {"parse_constant": bare.append, "parse_float": _finite}
    try:
        value = json.loads(text, **hooks)
    except RecursionError:
        raise unreadable(name, f"it is nested more than {depth} levels deep") from None
    except json.JSONDecodeError as error:
        raise unreadable(name, f"it is no JSON (line {error.lineno}: {error.msg})") from error
    except ValueError as error:
        # Python refuses numbers of thousands of digits.
        said = "a number is too long" if "digits" in str(error) else str(error)
        raise unreadable(name, f"it is no JSON ({said})") from error
    # Fewer brackets than levels cannot lie deeper.
    if text.count("{") + text.count("[") > depth and deeper_than(value, depth):
        raise unreadable(name, f"it is nested more than {depth} levels deep")
    return value


def deeper_than(value: Any, depth: int) -> bool:
    """Whether lists and dicts lie in each other more than ``depth`` levels deep."""
    level = [value] if isinstance(value, (dict, list)) else []
    while level:
        if depth == 0:
            return True
        depth -= 1
        parts = [part.values() if type(part) is dict else part for part in level]
        level = [each for part in parts for each in part if type(each) is dict or type(each) is list]
    return False


def tensors_header(path: Path, *, bodiless: bool = False) -> dict[str, dict[str, Any]]:
    """Return dtype, shape and data_offsets of each tensor of a safetensors file, by name, without reading any.

    bodiless: whether the file may be the header alone.

    Raises `Unreadable` where the header is damaged, or where it does not account for the file's bytes.
    """
    descriptor = open_file(path)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise unreadable(path, "it is empty")
        try:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise unreadable(path, "it is cut short")
            if length > MOST_HEADER:
                raise unreadable(path, "its header is too long")
            header = parse_json(file.read(length), path)
        except OSError as error:
            raise unreadable(path, reason_of(error)) from error
    if not isinstance(header, dict):
        raise unreadable(path, "its header is no object")
    tensors = {name: told for name, told in header.items() if name != "__metadata__"}
    end = 0
    for name, told in tensors.items():
        end = max(end, _end_of(path, name, told))
    if end != size - 8 - length and not (bodiless and size == 8 + length):
        cut = end > size - 8 - length
        raise unreadable(path, "it is cut short" if cut else "it is longer than its header says")
    return tensors


def _end_of(path: Path, name: str, told: Any) -> int:
    """Return where a tensor ends; its shape must be of as many bytes as it takes."""
    try:
        shape, (begin, end), item = told["shape"], told["data_offsets"], _ITEM.get(told["dtype"])
        whole = isinstance(shape, list) and all(
            type(n) is int and 0 <= n < 1 << 48 for n in (*shape, begin, end)
        )
        # Of a type that is not known here, such as those of eight bits, only the place is checked.
        proper = whole and begin <= end and (item is None or math.prod(shape) * item == end - begin)
    except (TypeError, KeyError, ValueError):
        proper = False
    if not proper:
        raise unreadable(path, f"its tensor {name[:60]!r} is not described as it must be")
    return end


def png_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of a PNG file as it says itself. Nothing is decoded.

    Raises `Unreadable` where it is none, or of more pixels than are decoded or than its bytes can hold.
    """
    descriptor = open_file(path)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(descriptor).st_size
        if size == 0:
            raise unreadable(path, "it is empty")
        head = file.read(24)
    if len(head) < 24 or not head.startswith(_PNG):
        raise unreadable(path, "it is no PNG")
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    if not (0 < width <= MOST_SIDE and 0 < height <= MOST_SIDE and width * height <= MOST_PIXELS):
        raise unreadable(path, f"it is of {width:,} by {height:,} pixels")
    if width * height // 8 > _DEFLATED * size:
        raise unreadable(path, f"it is too short for {width:,} by {height:,} pixels")
    return width, height


def open_png(path: Path) -> Any:
    """Return a PNG file as a Pillow image that is decoded. Raises `Unreadable` as `png_size` does, or where damaged."""
    from PIL import Image

    png_size(path)
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.load()
            return picture
    except FileNotFoundError:
        raise
    except Exception as error:
        # The decoder has an exception for every chunk.
        raise unreadable(path, "it is damaged") from error


def check_ends(path: Path) -> None:
    """Raise `Unreadable` where a PNG file does not begin and end as one. No more of it is read."""
    png_size(path)
    descriptor = open_file(path)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(max(0, os.fstat(descriptor).st_size - len(PNG_END)))
        if file.read() != PNG_END:
            raise unreadable(path, "it is cut short")


def verify_png(path: Path) -> None:
    """Raise `Unreadable` where a PNG file is not whole. Nothing is decoded."""
    from PIL import Image

    png_size(path)
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            picture.verify()
    except Exception as error:
        raise unreadable(path, "it is damaged") from error


def unreadable(name: str | Path, reason: str) -> Unreadable:
    """Return the error that says of a file why it cannot be read."""
    called = name.name if isinstance(name, Path) else name
    return Unreadable(f"{plain_name(called)} cannot be read: {reason}.", reason=reason)


def plain_name(name: str) -> str:
    """Return a file's name as it can be printed on one line."""
    text = name if name.isprintable() else repr(name)[1:-1]
    return text if len(text) <= 120 else f"{text[:80]}…{text[-30:]}"


def reason_of(error: Exception) -> str:
    """Return why the system would not open or read a file, to go on a sentence."""
    number = getattr(error, "errno", None)
    if isinstance(error, ValueError):
        return "its name holds a character that no file name can"
    told = {
        errno.ENOENT: "it is not there",
        errno.EACCES: "there is no permission to read it",
        errno.EPERM: "there is no permission to read it",
        errno.ELOOP: "it is a link that leads back to itself",
        errno.ENAMETOOLONG: "its name is too long",
        errno.ENOTDIR: "a part of its path is no folder",
        errno.EISDIR: "it is a folder",
        errno.ENXIO: "it is no plain file",
    }
    return told.get(number) or getattr(error, "strerror", None) or "the system refuses"


def bytes_words(size: int) -> str:
    """Return a number of bytes in words: "200 KB", "16 MB"."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 1000)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


def _text(data: bytes, name: str | Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(name, "it is no text in UTF-8") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


#: What `json.loads` is given so that NaN, infinities and numbers beyond the range of a float are refused (ValueError).
STRICT: dict[str, Any] = {"parse_constant": _no_constant, "parse_float": _finite}
