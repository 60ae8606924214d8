"""A static run folder that lies on a web server: its index first, then the files that it names, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlunsplit

from diffatlas import files
from diffatlas.address import read_url, refused
from diffatlas.errors import Unreadable
from diffatlas.formats.source.archive import MOST_FILES, safe_path
from diffatlas.formats.source.fetch import TYPES, Absent, Fetching
from diffatlas.formats.static import contract
from diffatlas.stopping import look

#: What may lie beside the index without being named there.
BESIDE = (contract.MEASURED,)
#: Bytes of a picture.
MOST_PICTURE = 50_000_000


def fetch_folder(fetching: Fetching, url: str, folder: Path) -> Path:
    """Fetch the static run folder at a URL into ``folder``, and return it.

    url: of the folder, or of its ``metadata.json``. What the index names and the server does not have is left out,
    which is a gap of the run, as in a folder on the disk.

    Raises `InvalidParams` where there is no index, or where it names what is not inside the folder.
    """
    index = _below(url, contract.METADATA)
    try:
        fetching.save(index, folder / contract.METADATA, ".json", contract.MAX_JSON)
    except Absent:
        advice = "give the address of a static run folder, or of a zip whose name ends in .zip"
        raise refused(url, f"there is no {contract.METADATA} below it", advice) from None
    metadata = _metadata(folder / contract.METADATA, index)
    for name in _named(metadata, index):
        look()
        ending = Path(name).suffix.lower()
        most = contract.MAX_JSON if ending == ".json" else MOST_PICTURE if ending == ".png" else None
        try:
            fetching.save(_below(url, name), folder / name, ending, most)
        except Absent:
            continue
    return folder


def _metadata(path: Path, url: str) -> dict[str, Any]:
    try:
        metadata = files.read_object(path, contract.MAX_JSON, bare=[])
    except Unreadable as error:
        raise refused(url, error.reason, "give the address of a static run folder") from error
    if not isinstance(metadata.get("schema_version"), str):
        raise refused(
            url, "it is no index of a static run folder", "give the address of such a folder, or of a zip"
        )
    return metadata


def _named(metadata: dict[str, Any], url: str) -> Iterator[str]:
    """The names of the files of a folder, each once. Raises `InvalidParams` for one that is not inside, before any."""
    optional = [contract.METRICS, contract.PCA, contract.VALIDATION, *BESIDE]
    artifacts, ours = metadata.get("artifacts"), metadata.get("diffatlas")
    images, maps = metadata.get("images"), metadata.get("attention_files")
    names: list[Any] = [
        *optional,
        *(images if isinstance(images, list) else ()),
        *(entry.get("path") for entry in (maps if isinstance(maps, list) else ()) if isinstance(entry, dict)),
        artifacts.get("latents_noise") if isinstance(artifacts, dict) else None,
        ours.get("final_image") if isinstance(ours, dict) else None,
    ]
    found = [
        name for name in dict.fromkeys(n for n in names if isinstance(n, str)) if name != contract.METADATA
    ]
    if len(found) > MOST_FILES:
        raise refused(url, f"it names {len(found):,} files, more than {MOST_FILES:,}", "import a smaller run")
    keys = set()
    for name in found:
        key = name.casefold()
        if safe_path(name) is None or Path(name).suffix.lower() not in TYPES or key in keys:
            raise refused(
                url,
                f"it names the file {name[:80]!r}, which is none of a static run folder",
                "import another",
            )
        keys.add(key)
    return iter(found)


def _below(url: str, name: str) -> str:
    """Return the address of a file in the folder that a URL names, with or without the index at its end."""
    parts = read_url(url)
    path = parts.path.removesuffix(contract.METADATA).rstrip("/")
    return urlunsplit(parts._replace(path=f"{path}/{quote(name)}", fragment=""))
