"""Unpacking a zip that may hold anything: plain files alone, each inside the folder, and only so many bytes of them."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from diffatlas.errors import InvalidParams
from diffatlas.files import bytes_words, plain_name
from diffatlas.stopping import look

MOST_FILES, MOST_DEEP, LONGEST_NAME = 20_000, 12, 200
#: How many times its own size an archive may unpack to, and bytes below which that does not matter.
MOST_RATIO, SMALL = 100, 10_000_000
_PIECE = 1 << 20
_ENCRYPTED = 0x1
#: What the systems of some people leave in archives.
_LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db")


def is_zip(path: Path) -> bool:
    """Whether a plain file begins or ends as a zip; it may yet be damaged."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"PK" or zipfile.is_zipfile(path)


def unpack(archive: Path, folder: Path, most_bytes: int, name: str | None = None) -> Path:
    """Unpack a zip into ``folder``, which is made, and return where its content is: there, or its one top folder.

    Everything is looked at before anything is written. name: what the archive is called in sentences; by its file's
    name where None.

    Raises `InvalidParams` for names that leave the folder, links, files that are twice there, passwords, other ways of
    packing, too many files or bytes, and for an archive that is damaged or cut short.
    """
    called = plain_name(name or archive.name)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(opened.infolist(), archive.stat().st_size, most_bytes, called)
            folder.mkdir(parents=True)
            for member, place in members:
                look()
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as packed, target.open("xb") as file:
                    shutil.copyfileobj(packed, file, _PIECE)
                if target.stat().st_size != member.file_size:
                    raise zipfile.BadZipFile(member.filename)
    except InvalidParams:
        raise
    except OSError as error:
        # Names that differ in nothing that this disk tells apart; no room.
        raise _refused(called, f"it cannot be unpacked here ({error.strerror or error})") from error
    except Exception as error:
        # The module has an exception for each of its parts.
        raise _refused(called, "it is damaged, or not whole") from error
    return top_of(folder)


def top_of(folder: Path) -> Path:
    """Return the one folder in a folder that holds nothing else; the folder itself where it holds more."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def safe_path(name: str) -> PurePosixPath | None:
    """Return a name of a file in a folder as a path below it, or None where it is none, or could lead out of it."""
    odd = any(c in '\\:*?"<>|' or not c.isprintable() for c in name)
    parts = name.split("/")
    proper = all(part.strip(" .") and len(part.encode()) <= LONGEST_NAME for part in parts)
    return None if odd or not proper or len(parts) > MOST_DEEP else PurePosixPath(*parts)


def _checked(
    members: list[zipfile.ZipInfo], size: int, most_bytes: int, called: str
) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """Return the files of an archive of ``size`` bytes, and where each goes below the folder."""
    if len(members) > MOST_FILES:
        raise _refused(called, f"it holds {len(members):,} files, more than {MOST_FILES:,}")
    found: dict[str, tuple[zipfile.ZipInfo, PurePosixPath]] = {}
    folders: set[str] = set()
    total = packed = 0
    for member in members:
        shown = plain_name(member.orig_filename)[:80]
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(called, f"{shown!r} is a link, or no plain file")
        if member.flag_bits & _ENCRYPTED:
            raise _refused(called, "it needs a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused(called, f"{shown!r} is packed in another way than deflate")
        place = safe_path(member.orig_filename.removesuffix("/"))
        if place is None:
            raise _refused(called, f"the name {shown!r} is none that a file in a folder may have")
        if member.is_dir() or any(part in _LITTER for part in place.parts):
            continue
        # Some disks do not tell small letters from large ones.
        key = place.as_posix().casefold()
        if key in found:
            raise _refused(called, f"{shown!r} is there twice")
        found[key] = member, place
        folders.update(parent.as_posix().casefold() for parent in place.parents)
        total += member.file_size
        packed += member.compress_size
    if not found:
        raise _refused(called, "there is no file in it")
    if both := folders & found.keys():
        raise _refused(called, f"{min(both)[:80]!r} is a file and a folder")
    # Parts of an archive that are counted twice unpack to more than they should.
    if packed > size:
        raise _refused(called, "its files overlap")
    if total > most_bytes:
        raise _refused(called, f"it unpacks to {bytes_words(total)}, more than {bytes_words(most_bytes)}")
    if total > SMALL and total > MOST_RATIO * size:
        raise _refused(
            called, f"it unpacks to {total // max(size, 1):,} times its size, more than {MOST_RATIO}"
        )
    return list(found.values())


def _refused(called: str, what: str) -> InvalidParams:
    return InvalidParams(f"{called} is not imported: {what}; give another zip.", field="source")
