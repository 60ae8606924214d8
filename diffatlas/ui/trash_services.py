"""What the Trash of the Library page asks of the server: what was deleted, to be brought back or deleted for good."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from diffatlas.bench.pictures import picture
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.library import Library, StoredRun
from diffatlas.library.trash import Trashed
from diffatlas.params import seed_words
from diffatlas.ui import run_names
from diffatlas.ui.components.pictures import preview_uri
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.study_services import image_of
from diffatlas.ui.wire.library import Emptied, EmptyTrash, InBin, InTrash, Moved, TrashAsked

#: Runs, studies and benches that one answer may hold, and one request.
MOST = 500
#: Thumbnails that are kept, about a kilobyte each.
THUMBS = 2_000
DAY = 86_400
#: Images of a bench that are looked for, to have one to show.
LOOKS = 8
_OPERATIONS = {"sweep": "guidance sweep", "neighbourhood": "neighbourhood"}


class TrashServices:
    """The server's side of the Trash. Each visitor reaches what was deleted from their own library only."""

    def __init__(self, libraries: Libraries, model_names: Mapping[str, str]) -> None:
        self._libraries = libraries
        self._names = model_names
        self._thumbs: OrderedDict[tuple[Path, str, str], str | None] = OrderedDict()

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "trashed": self.trashed,
            "restore": self.restore,
            "forget": self.forget,
            "empty_trash": self.empty,
        }

    def trashed(self, visitor: str, asked: TrashAsked) -> InBin:
        """Return what is in the trash, the last first: so many of them, and what all of them take."""
        library = self._libraries.of(visitor)
        seconds = library.trash_seconds
        if seconds is not None:
            # What the list says of the time that a run stays here holds.
            library.empty_trash(seconds)
        found = library.in_trash()
        shown = found[: min(MOST, asked.limit) if asked.limit is not None and asked.limit > 0 else MOST]
        return {
            "items": self._items(library, shown, seconds),
            "total": len(found),
            "bytes": sum(one.bytes for one in found),
            "keeps_days": None if seconds is None else seconds // DAY,
            "expires": self._libraries.expires(visitor),
        }

    def restore(self, visitor: str, asked: InTrash) -> Moved:
        """Bring back what is chosen from the trash; what cannot come is told with its reason."""
        library = self._libraries.of(visitor)
        return _each_kind(asked, library.restore, library.studies.restore, library.benches.restore)

    def forget(self, visitor: str, asked: InTrash) -> Moved:
        """Delete what is chosen in the trash, for good."""
        library = self._libraries.of(visitor)
        deletes = (library.delete_trashed, library.studies.deleted.delete, library.benches.deleted.delete)
        return _each_kind(asked, *deletes)

    def empty(self, visitor: str, asked: EmptyTrash) -> Emptied:
        """Delete all that is in the trash for good, where that is still of ``count`` things, as was told."""
        library = self._libraries.of(visitor)
        count = library.trash_count
        if asked.count != count:
            raise InvalidParams(
                f"The Trash has changed: it holds {count} now. Look again before it is emptied."
            )
        return {"done": [*library.empty_trash()]}

    def _items(self, library: Library, found: Sequence[Trashed], seconds: int | None) -> list[dict[str, Any]]:
        infos = [one.info for one in found if one.kind == "run"]
        labels = iter(run_names.labels(library, infos, self._names, library.open_trashed))
        items = []
        for one in found:
            run = one.kind == "run"
            items.append(
                {
                    "kind": one.kind,
                    "id": one.id,
                    "name": next(labels) if run else one.info.title,
                    "told": self._words(one),
                    "deleted": one.deleted,
                    "goes": _later(one.deleted, seconds),
                    "bytes": one.bytes,
                    "thumb": self._thumb(library, one),
                }
            )
        return items

    def _words(self, one: Trashed) -> list[str]:
        if one.kind == "bench":
            return _bench_words(one.info)
        return self._run_words(one.info) if one.kind == "run" else _study_words(one.info)

    def _run_words(self, info: Any) -> list[str]:
        if info.status == "damaged":
            return ["damaged"]
        steps = f"{info.steps} step{'' if info.steps == 1 else 's'}"
        ended = [] if info.status == "complete" else [info.status]
        return [seed_words(info.seed), steps, self._names.get(info.model, info.model), *ended]

    def _thumb(self, library: Library, one: Trashed) -> str | None:
        key = (library.folder, f"{one.kind} {one.id}", one.deleted)
        if key not in self._thumbs:
            self._thumbs[key] = _thumb(library, one)
            while len(self._thumbs) > THUMBS:
                self._thumbs.popitem(last=False)
        return self._thumbs.get(key)


def chosen(asked: InTrash) -> tuple[list[str], list[str], list[str]]:
    """Return the ids of the runs, of the studies and of the benches that a request names, each once.

    Raises `InvalidParams` for none, or for too many.
    """
    runs, studies, benches = (list(dict.fromkeys(ids)) for ids in (asked.ids, asked.studies, asked.benches))
    count = len(runs) + len(studies) + len(benches)
    if not count:
        raise InvalidParams("No run is chosen: choose one or more.")
    if count > MOST:
        raise InvalidParams(f"{count} runs are too many at once: choose at most {MOST}.")
    return runs, studies, benches


def each(ids: Sequence[str], act: Callable[[str], Any]) -> tuple[list[str], list[DiffAtlasError]]:
    """Call ``act`` with each id; return those that went well and what went wrong with the others."""
    done, problems = [], []
    for one in ids:
        try:
            act(one)
            done.append(one)
        except DiffAtlasError as error:
            problems.append(error)
    return done, problems


def thumb_of(stored: StoredRun) -> str | None:
    """Return a small picture of a run: its final image, or its last preview; None where there is none to read."""
    try:
        images = stored.images()
        if images:
            return preview_uri(images[0])
        for line in reversed(stored.step_lines()):
            preview = stored.preview(line["index"])
            if preview is not None:
                return preview_uri(preview[0])
    except DiffAtlasError:
        pass
    return None


def _each_kind(asked: InTrash, *acts: Callable[[str], Any]) -> Moved:
    """Do with the runs, studies and benches that are chosen what is done with each."""
    done: list[str] = []
    problems: list[DiffAtlasError] = []
    for ids, act in zip(chosen(asked), acts, strict=True):
        went, refused = each(ids, act)
        done += went
        problems += refused
    return _answer(done, problems)


def _answer(done: list[str], problems: list[DiffAtlasError]) -> Moved:
    if problems and not done:
        raise problems[0]
    return {"done": done, "refused": [problem.message for problem in problems]}


def _thumb(library: Library, one: Trashed) -> str | None:
    if one.info.status == "damaged":
        return None
    try:
        if one.kind == "run":
            return thumb_of(library.open_trashed(one.id))
        if one.kind == "bench":
            return _bench_thumb(library, one.id)
        kept = library.studies.deleted
        study = kept.open(one.id)
        for cell in study.cells:
            pixels = image_of(study, cell, library, kept)
            if pixels is not None:
                return preview_uri(pixels)
    except DiffAtlasError:
        pass
    return None


def _bench_thumb(library: Library, bench_id: str) -> str | None:
    kept = library.benches.deleted
    complete = [cell for cell in kept.open(bench_id).study.cells if cell.status == "complete"]
    for cell in complete[:LOOKS]:
        with suppress(DiffAtlasError):
            return preview_uri(picture(bench_id, cell, library, kept))
    return None


def _bench_words(info: Any) -> list[str]:
    if info.status == "damaged":
        return ["bench", "damaged"]
    return ["bench", f"{info.done} image{'' if info.done == 1 else 's'}", "its runs are in the Library"]


def _study_words(info: Any) -> list[str]:
    if info.status == "damaged":
        return ["study", "damaged"]
    cells = f"{info.cells} cell{'' if info.cells == 1 else 's'}"
    return [_OPERATIONS.get(info.operation, "study"), cells, "its runs are in the Library"]


def _later(moment: str, seconds: int | None) -> str | None:
    try:
        return (
            None
            if seconds is None
            else (datetime.fromisoformat(moment) + timedelta(seconds=seconds)).isoformat()
        )
    except (ValueError, OverflowError):
        return None
