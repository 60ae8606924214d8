"""What the Library page asks of the server to share runs: datasets written and pushed, and runs taken in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.formats.bundle import zip_folder
from diffatlas.formats.dataset.size import dataset_size
from diffatlas.formats.dataset.studies import whole_studies
from diffatlas.library import Library
from diffatlas.settings import settings
from diffatlas.stopping import look
from diffatlas.ui.desks import LONG, placed
from diffatlas.ui.jobs import Job, Jobs, Progress
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.private_files import private_url
from diffatlas.ui.sent_files import sent_file
from diffatlas.ui.signed_in import can_sign_in, signed_in
from diffatlas.ui.wire.kinds import Several, Started
from diffatlas.ui.wire.library import DatasetAbout, DatasetAsked, Import, Push

#: Runs that one answer may hold, and one export.
MOST_ROWS = 500
#: Seconds that a visitor's import may take to fetch: it holds a desk meanwhile.
FETCH_SECONDS = 60.0


class SharingServices:
    """The server's side of sharing runs. What takes long is a job of ``jobs``, which the page asks after."""

    def __init__(self, libraries: Libraries, jobs: Jobs) -> None:
        self._libraries = libraries
        self._jobs = jobs

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "dataset_about": self.dataset_about,
            "dataset": self.dataset,
            "push": self.push,
            "import": self.import_,
        }

    def dataset_about(self, visitor: str, asked: Several) -> DatasetAbout:
        """Return what a dataset of the asked runs would take, and the studies that would go along."""
        library, ids = self._libraries.of(visitor), several(asked.ids)
        size = dataset_size(library, ids)
        return {
            "with_attention": size.sentence,
            "without_attention": size.sentence_with(False),
            "attended": size.attended,
            "studies": [study.title for study in whole_studies(library, ids)],
            "sign_in": can_sign_in(),
            "signed_in": who.name if (who := signed_in()) else None,
        }

    def dataset(self, visitor: str, asked: DatasetAsked) -> Started:
        """Start to write a Hugging Face dataset of the asked runs, to be downloaded as a zip."""
        library, ids, options = self._libraries.of(visitor), several(asked.ids), _dataset_options(asked)

        def work(job: Job, progress: Progress) -> Any:
            with desk(visitor, job, progress), _dataset(library, ids, options, progress) as folder:
                name = "dataset.zip"
                return {"url": private_url(visitor, zip_folder(folder), name), "name": name}

        return {"job": self._jobs.start(visitor, work)}

    def push(self, visitor: str, asked: Push) -> Started:
        """Start to push a dataset of the asked runs to the Hub. The token is used and kept nowhere."""
        from diffatlas.formats.dataset.hub import push

        library, ids, options = self._libraries.of(visitor), several(asked.ids), _dataset_options(asked)
        token, repository = asked.token.strip(), asked.repo.strip()
        if not token and (who := signed_in()):
            token = who.token
        if not token:
            how = "sign in at the foot of the page, or paste one" if can_sign_in() else "paste one"
            raise InvalidParams(f"A token of yours with the right to write is needed: {how}.", field="token")

        def work(job: Job, progress: Progress) -> Any:
            with desk(visitor, job, progress), _dataset(library, ids, options, progress) as folder:
                progress(message="Sending to the Hub…", progress=None)
                told = _steps_of(progress)
                address = push(folder, repository, token=token, private=asked.private, progress=told)
                return {"address": address}

        return {"job": self._jobs.start(visitor, work)}

    def import_(self, visitor: str, asked: Import) -> Started:
        """Start to import runs: from an address, a dataset of the Hub, a file that was sent, or the owner's disk."""
        from diffatlas.formats.source.take import import_runs

        self._libraries.check_room(visitor)
        library, source = self._libraries.of(visitor), asked.source.strip()
        shared = self._libraries.shared
        # A shared server's own login is not its visitors', nor are its folders and its network.
        bounded = {"most_bytes": settings().visitor_library, "most_seconds": FETCH_SECONDS}
        options = {"own": False, "token": False, **bounded} if shared else {}
        upload = None if asked.upload is None else sent_file(asked.upload)

        def work(job: Job, progress: Progress) -> Any:
            try:
                with desk(visitor, job, progress):
                    progress(message="Reading…")
                    told = _steps_of(progress)
                    taken = import_runs(library, source, upload=upload, progress=told, **options)
                    new, studies = list(taken.new), list(taken.studies)
                    return {"ids": new, "studies": studies, "notes": list(taken.notes)}
            finally:
                if upload is not None:
                    upload.unlink(missing_ok=True)

        return {"job": self._jobs.start(visitor, work)}


def several(ids: Sequence[str]) -> list[str]:
    """Return ids without those that are named twice. Raises `InvalidParams` for none and for too many."""
    if not ids:
        raise InvalidParams("No run is chosen: choose one or more.")
    if len(ids) > MOST_ROWS:
        raise InvalidParams(f"{len(ids)} runs are too many at once: choose at most {MOST_ROWS}.")
    return list(dict.fromkeys(ids))


@contextmanager
def _dataset(
    library: Library, ids: Sequence[str], options: dict[str, Any], progress: Progress
) -> Iterator[Path]:
    """A dataset of the runs, in a folder that is gone afterwards."""
    from diffatlas.formats.dataset.write import export_dataset

    progress(message="Writing the dataset…")
    with tempfile.TemporaryDirectory(prefix="diffatlas-dataset-") as room:
        yield export_dataset(library, Path(room) / "dataset", ids, progress=_steps_of(progress), **options)


def desk(visitor: str, job: Job, progress: Progress) -> AbstractContextManager[None]:
    """A desk for what a job does, which ends there once it is stopped or its page is gone."""
    return placed(LONG, visitor, job.stop.is_set, lambda place: progress(message=f"Waiting: {place.words}"))


def _steps_of(progress: Progress) -> Callable[[float, str], None]:
    """What datasets and the Hub report, as the progress of a job; it ends there where it was stopped."""

    def told(share: float, message: str) -> None:
        look()
        progress(progress=share, message=message)

    return told


def _dataset_options(asked: DatasetAsked) -> dict[str, Any]:
    told = {name: value for name in ("per", "licence", "title") if (value := getattr(asked, name))}
    # None takes what there is.
    return {**told, "attention": None if asked.attention else False, "studies": None if asked.studies else []}
