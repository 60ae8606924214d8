"""Runs out of whatever somebody names: a folder, a zip, a URL, a dataset on the Hub. What it is, its content says."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffatlas import files
from diffatlas.address import is_url, read_url
from diffatlas.errors import BackendFailure, InvalidParams
from diffatlas.formats.dataset.hub import hub_id
from diffatlas.formats.dataset.read import import_all
from diffatlas.formats.dataset.schema import DATA, Progress
from diffatlas.formats.install import install_all
from diffatlas.formats.source.archive import is_zip, top_of, unpack
from diffatlas.formats.source.fetch import MOST_SECONDS, Fetching
from diffatlas.formats.source.remote_folder import fetch_folder
from diffatlas.formats.source.runs import build_runs, run_folders
from diffatlas.formats.staging import staged
from diffatlas.formats.static import contract
from diffatlas.formats.static.read import import_static
from diffatlas.library.shipped import shipped

if TYPE_CHECKING:
    from diffatlas.library.store import Library

#: Bytes that are fetched, and that an archive unpacks to, at most.
MOST_BYTES = 2_000_000_000
WANTED = (
    "give a static run folder, runs of diffatlas, or a dataset of them: as a folder, a zip, or the https:// address of "
    "one; or user/name on the Hub"
)


@dataclass(frozen=True)
class Taken:
    """What came of a source. ``run_ids``: all of its runs that are known. ``new``: those that were not there yet.

    ``notes``: what was left out, a sentence each. ``studies``: those of a dataset that were not there yet.
    """

    run_ids: tuple[str, ...]
    new: tuple[str, ...]
    notes: tuple[str, ...] = ()
    studies: tuple[str, ...] = ()


def import_runs(
    library: Library,
    source: str | Path,
    *,
    own: bool = True,
    upload: Path | None = None,
    most_bytes: int = MOST_BYTES,
    most_seconds: float = MOST_SECONDS,
    token: str | bool | None = None,
    progress: Progress | None = None,
) -> Taken:
    """Make runs of a source and return which.

    A static run folder, a folder or zip that `diffatlas export` wrote, a dataset's folder, a zip of any of these, the
    URL of such a zip or of a static folder, or a dataset on the Hub. Runs that are there already stay as they are; an
    imported run never answers a query as if it had been made here.

    Args:
        library: where the runs go.
        source: a path, a URL, or "user/name".
        own: whether the asker owns this machine. A stranger reaches neither its files nor its network.
        upload: a file that the asker has sent, instead of ``source``, which is then what it is called.
        most_bytes: that are fetched, and that an archive unpacks to.
        most_seconds: that fetching takes.
        token: for the Hub; None takes that of the machine's own login, False none.
        progress: called with the share done (0 to 1) and what is being done.

    Raises `InvalidParams` with one sentence on what is wrong with the source, `RefusedDataset`, `HubError`,
    `DamagedRun`, and `BackendFailure` where the disk refuses.
    """
    say = progress or (lambda share, message: None)
    text = str(source).strip()
    if not text:
        raise InvalidParams(f"Nothing is named to import: {WANTED}.", field="source")
    options = {"token": token, "limit_bytes": most_bytes, "local": own, "progress": progress}
    if upload is None and (hub_id(text) or text in shipped()) and not (own and _is_there(text)):
        return _of_dataset(library, text, options)
    try:
        with staged(library.folder, "source") as room:
            fetching = Fetching(own, most_bytes, most_seconds)
            folder = _folder(text, upload, own, room, most_bytes, fetching, say)
            return _taken(library, folder, room, text, options, say)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise BackendFailure(
            f"{text[:120]} cannot be imported ({error.strerror or error})"
            + (": free some space on the library's disk." if full else ".")
        ) from error


def _folder(
    text: str, upload: Path | None, own: bool, room: Path, most_bytes: int, fetching: Fetching, say: Progress
) -> Path:
    """Return a source as a folder: where it lies, or in ``room``."""
    if upload is None and is_url(text):
        say(0.0, "Fetching…")
        with fetching:
            parts = read_url(text)
            if not parts.path.lower().endswith(".zip") and not parts.query:
                return fetch_folder(fetching, text, room / "folder")
            fetching.save(text, room / "fetched.zip", ".zip")
        say(0.5, "Unpacking…")
        return unpack(room / "fetched.zip", room / "folder", most_bytes, text)
    if upload is None and not own:
        raise InvalidParams(
            f"{text[:120]!r} is neither a web address nor user/name on the Hub, and a shared server reads no file of "
            "its own for a visitor: choose a file or folder of yours, or give an https:// address.",
            field="source",
        )
    path = upload or _own_path(text)
    if path.is_dir():
        return path
    if not is_zip(path):
        raise InvalidParams(f"{text[:120]} is no folder and no zip: {WANTED}.", field="source")
    if path.stat().st_size > most_bytes:
        raise InvalidParams(
            f"{text[:120]} is larger than {files.bytes_words(most_bytes)}: import fewer runs.", field="source"
        )
    say(0.1, "Unpacking…")
    return unpack(path, room / "folder", most_bytes, text)


def _taken(
    library: Library, folder: Path, room: Path, text: str, options: dict[str, object], say: Progress
) -> Taken:
    """Make runs of a folder, by what it holds."""
    for place in dict.fromkeys((folder, top_of(folder) if any(folder.iterdir()) else folder)):
        if (place / contract.METADATA).is_file():
            say(0.6, "Reading the folder…")
            done = import_static(library, place)
            return Taken((done.run_id,), (done.run_id,) if done.new else (), done.notes)
        if (place / DATA).is_dir():
            return _of_dataset(library, place, {**options, "local": True})
        if runs := run_folders(place):
            say(0.6, "Reading the runs…")
            ready = room / "runs"
            ready.mkdir()
            built = build_runs(runs, ready)
            added = install_all(library.folder, built)
            return Taken(
                tuple(run_id for run_id, _ in added), tuple(run_id for run_id, fresh in added if fresh)
            )
    raise InvalidParams(f"{text[:120]} holds no run that is known here: {WANTED}.", field="source")


def _of_dataset(library: Library, source: str | Path, options: dict[str, object]) -> Taken:
    new = import_all(library, source, **options)
    return Taken(tuple(new.runs), tuple(new.runs), studies=tuple(new.studies))


def _own_path(text: str) -> Path:
    try:
        path = Path(text).expanduser()
        if path.exists():
            return path
    except (OSError, RuntimeError, ValueError):
        pass
    raise InvalidParams(f"{text[:120]} is not there to import: {WANTED}.", field="source")


def _is_there(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
