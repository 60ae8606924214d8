"""What the Library page asks of the server. Each visitor reaches the runs of their own library only."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas.backends.bounds import BoundedBackend, bounds_here
from diffatlas.backends.listed import refuse_server_files
from diffatlas.capture.spec import Capture
from diffatlas.errors import BackendFailure, CapabilityError, DiffAtlasError, InvalidParams, RunNotFound
from diffatlas.figures.departure import departure
from diffatlas.figures.page_figure import page_figure
from diffatlas.formats import compared, told
from diffatlas.formats.broken import broken_stored
from diffatlas.formats.hosted import backend_of, hosted_run, hosted_sentences
from diffatlas.formats.kinds import KINDS, export, file_name
from diffatlas.formats.named import Named, slug
from diffatlas.formats.wire import rounded
from diffatlas.library import Library, RunInfo, StoredRun
from diffatlas.library.difference import difference, records
from diffatlas.library.shipped import SHIPPED, shipped
from diffatlas.operations.expected import expected
from diffatlas.operations.replay import ReplayReport, replay
from diffatlas.settings import settings
from diffatlas.spelled import leaves, name_of, spelled
from diffatlas.stopping import look
from diffatlas.studies.plan_neighbourhood import other_anchor
from diffatlas.ui import run_names
from diffatlas.ui.answers import answered
from diffatlas.ui.asked_words import also_told, check_fillable
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.pictures import given_pictures, image_url, preview_uri
from diffatlas.ui.jobs import Job, Jobs, Progress
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.private_files import private_url
from diffatlas.ui.run_services import INK
from diffatlas.ui.sharing_services import MOST_ROWS, SharingServices, several
from diffatlas.ui.starts import recorded_runs
from diffatlas.ui.trash_services import TrashServices, each, thumb_of
from diffatlas.ui.turned import seconds_of
from diffatlas.ui.turns import Turns
from diffatlas.ui.wire.jobs import JobState, ReplayState
from diffatlas.ui.wire.kinds import (
    Empty,
    File,
    JobAsked,
    Nothing,
    One,
    Opened,
    Refused,
    Several,
    Started,
)
from diffatlas.ui.wire.library import (
    Details,
    Difference,
    Differing,
    Example,
    Explored,
    Find,
    Found,
    FullPicture,
    Mark,
    Marked,
    Moved,
    PictureAsked,
    Replayed,
    Thumbs,
)
from diffatlas.ui.wire.runs import Export
from diffatlas.ui.workshop.rules import check_run

#: Thumbnails that are kept, about a kilobyte each.
THUMBS = 20_000
FILTERS = ("model", "kind", "status", "since", "until", "sort")


class LibraryServices:
    """The server's side of the Library page. ``functions`` are what the browser may call."""

    def __init__(
        self, libraries: Libraries, layers: Layers, backend: Any, model_names: dict[str, str], turns: Turns
    ) -> None:
        self._libraries = libraries
        self._layers = layers
        self._backend = backend
        self._names = model_names
        self._turns = turns
        #: What of visitors is under way.
        self.jobs = self._jobs = Jobs(libraries.shared)
        self._sharing = SharingServices(libraries, self._jobs)
        self._trash = TrashServices(libraries, model_names)
        self._thumbs: OrderedDict[tuple[Path, str], str | None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "find": self.find,
            "thumbs": self.thumbs,
            "mark": self.mark,
            "trash": self.trash,
            "details": self.details,
            "picture": self.picture,
            "difference": self.difference,
            "open": self.open,
            "explore": self.explore,
            "replay": self.replay,
            "replay_state": self.replay_state,
            "replay_stop": self.replay_stop,
            "export": self.export,
            "example": self.example,
            "job": self.job,
            "job_stop": self.job_stop,
            **self._sharing.calls,
            **self._trash.calls,
        }

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """`calls` as the functions of a component."""
        return [answered(name, call) for name, call in self.calls.items()]

    def find(self, visitor: str, asked: Find) -> Found:
        """Return the runs that are looked for, a page of them, and what the library holds."""
        library = self._libraries.of(visitor)
        options = {name: value for name in FILTERS if (value := getattr(asked, name))}
        offset = asked.offset
        found = library.search(
            asked.text,
            tags=(asked.tag,) if asked.tag else (),
            locked=asked.locked,
            attention=asked.attention,
            descending=asked.descending,
            # From the first on: a name tells a run from all that are in view.
            limit=offset + min(MOST_ROWS, asked.limit),
            **options,
        )
        labels = run_names.labels(library, found.runs, self._names)
        usage = library.usage()
        return {
            "runs": [
                {**self._row(library, info, later=True), "label": label}
                for info, label in zip(found.runs[offset:], labels[offset:], strict=True)
            ],
            "total": found.total,
            "usage": {"runs": usage.runs, "bytes": usage.bytes, "cap": usage.cap},
            "models": library.models(),
            "tags": library.tags(),
            "mode": "shared" if self._libraries.shared else "personal",
            "shipped": [{"name": name, "title": SHIPPED[name]} for name in shipped()],
            "expires": self._libraries.expires(visitor),
            "trashed": library.trash_count,
            "most_upload": settings().upload_bytes if self._libraries.shared else None,
        }

    def example(self, visitor: str, asked: Nothing) -> Example:
        """Copy the recorded runs that came along into the visitor's library, and return those that were not there."""
        recorded, library = recorded_runs(), self._libraries.of(visitor)
        if not recorded:
            raise RunNotFound("No recorded run came with this installation: make one on the Trajectory page.")
        new = [run for run in recorded if not (library.folder / run).is_dir()]
        for run in recorded:
            library.adopt(run)
        return {"ids": new}

    def thumbs(self, visitor: str, asked: Several) -> Thumbs:
        """Return small pictures of runs, for rows that came without."""
        library = self._libraries.of(visitor)
        found: dict[str, str | None] = {}
        for run in several(asked.ids):
            # One that is gone or damaged has none, and takes none from the others.
            with suppress(DiffAtlasError):
                found[run] = self._thumb(library, library.check(run))
        return {"thumbs": found}

    def mark(self, visitor: str, asked: Mark) -> Marked:
        """Change a run's name, tags, note or lock."""
        library = self._libraries.of(visitor)
        told = {name: getattr(asked, name) for name in ("name", "tags", "note", "locked")}
        changes = {name: value for name, value in told.items() if value is not None}
        return {"run": self._row(library, library.mark(asked.id, **changes))}

    def trash(self, visitor: str, asked: Several) -> Moved:
        """Move runs to the trash, from which they can be brought back."""
        done, problems = each(several(asked.ids), self._libraries.of(visitor).trash)
        if problems and not done:
            raise problems[0]
        return {"done": done, "refused": [problem.message for problem in problems]}

    def details(self, visitor: str, asked: One) -> Details:
        """Return one run: what was asked, what it ran on, its frames and its image."""
        library = self._libraries.of(visitor)
        stored = library.open(asked.id)
        info = library.check(stored.id)
        library.touch(stored.id)
        frames = []
        for line in stored.step_lines():
            preview = stored.preview(line["index"])
            if preview is not None:
                frames.append({"index": line["index"], "preview": preview_uri(preview[0])})
        images = stored.images()
        return {
            "run": self._row(library, info),
            "params": stored.params.to_dict(),
            "query": forms.query_of(stored.params, backend_of(stored.provenance)),
            "also": also_told(stored.params, stored.provenance),
            "notes": ([info.error] if info.status == "damaged" else [])
            + hosted_sentences(stored.provenance)
            + told.unread(stored.provenance)
            + told.left_out(stored.provenance)
            + broken_stored(stored, images),
            "known": told.known_words(stored.provenance),
            "inputs": given_pictures(stored.params, visitor),
            "made": _made(stored),
            "frames": frames,
            "image": image_url(images[0], visitor) if images else None,
            "images": len(images),
            "link": f"?page=trajectory&run={stored.id}",
        }

    def picture(self, visitor: str, asked: PictureAsked) -> FullPicture:
        """Return one picture of a run at its full size, to be saved: a finished ``image``, or a ``step``'s."""
        stored = self._libraries.of(visitor).open(asked.id)
        step, image = asked.step, asked.image
        if step is not None:
            previews = stored.preview(step) if step < stored.step_count else None
            found, ending = None if previews is None else previews[0], f"step-{step + 1:03d}"
        else:
            images, image = stored.images(), image or 0
            found, ending = images[image] if image < len(images) else None, f"image-{image + 1}"
        if found is None:
            raise InvalidParams("The run has no such picture.", field="step" if step is not None else "image")
        (name,) = run_names.labels(self._libraries.of(visitor), [stored.info], self._names)
        url = image_url(found, visitor, f"diffatlas-{slug(name)}-{ending}.png")
        return {"url": url, "name": url.rsplit("/", 1)[-1], "width": found.shape[1], "height": found.shape[0]}

    def difference(self, visitor: str, asked: Differing) -> Difference:
        """Return what differs between two runs: parameters, environment, images and paths."""
        library = self._libraries.of(visitor)
        a, b = library.open(asked.a), library.open(asked.b)
        found = difference(a, b)
        path = found.path
        return {
            "settings": [asdict(row) for row in compared.settings(a.params, b.params, self._names)],
            "machine": asdict(compared.machine(found.environment, "A", "B")),
            "images": [
                {
                    "mean_absolute": rounded(image.mean_absolute),
                    "maximum": rounded(image.maximum),
                    "identical": image.identical,
                }
                for image in found.images
            ],
            "path": None
            if path is None
            else {
                "identical": path.identical,
                "first_step": path.first_step,
                "maximum": rounded(path.maximum),
                "relative": rounded(path.relative),
                "figure": _departure(
                    path.distances, path.first_step, "Distance between the two paths", asked.dark
                ),
            },
        }

    def open(self, visitor: str, asked: Several) -> Opened:
        """Make runs locked layers of the Trajectory page."""
        library = self._libraries.of(visitor)
        ids = several(asked.ids)
        for run in ids:
            stored = library.open(run)
            if hosted_run(stored.provenance) is None:
                # One without latents, such as a run of another tool, has no path to lay over others.
                stored.initial_latents()
            info = stored.info
            self._layers.open(visitor, run, info.name or info.prompt)
            library.touch(run)
        return {"layers": ids}

    def explore(self, visitor: str, asked: Several) -> Explored:
        """Return what the Neighbourhood page asks around one run, or between two."""
        library = self._libraries.of(visitor)
        opened = [library.open(run) for run in several(asked.ids)]
        first, *others = (stored.params for stored in opened)
        if len(others) > 1:
            raise InvalidParams("Choose one run to explore around, or two to explore between.")
        for params in (first, *others):
            check_fillable(forms.query_of(params))
        own = {"mode": "slerp", "to_seed": other_anchor(first, others[0])} if others else {"mode": "perturb"}
        query = forms.query_of(first, backend_of(opened[0].provenance))
        return {"query": query, "own": own}

    def query_of(self, visitor: str, ids: Sequence[str]) -> dict[str, str]:
        """Return the last of the runs as a link would ask for it (`diffatlas.ui.links.NAMES`)."""
        stored = self._libraries.of(visitor).open(several(ids)[-1])
        return forms.query_of(stored.params, backend_of(stored.provenance))

    def replay(self, visitor: str, asked: Replayed) -> Started:
        """Start to run a stored run again, and hold each state against the stored one."""
        library = self._libraries.of(visitor)
        stored = library.open(asked.id)
        if found := hosted_run(stored.provenance):
            raise CapabilityError(
                f"Only runs of this machine are replayed step by step: {found.provider} returned an image alone."
            )
        if self._libraries.shared:
            # A run that was imported may name what it likes.
            refuse_server_files(stored.params)
        check_run(stored.params)

        def work(job: Job, progress: Progress) -> Any:
            try:
                for place in self._turns.waiting(ticket, job.stop.is_set):
                    progress(message=f"Waiting for a turn: {place.words}")
                progress(message="Running again…", step=0, total=stored.total_steps)
                report, backend, bounds = None, self._backend, bounds_here()
                if bounds.shared:
                    # A run that was imported may ask for what it likes.
                    bounds.check(expected(backend, [stored.params], Capture(), None, job.stop, bounds))
                    backend = BoundedBackend(backend, bounds)
                for event in replay(library, stored.id, backend, job.stop):
                    if isinstance(event, ReplayReport):
                        report = event
                    elif event.kind == "step":
                        progress(step=event.index + 1)
                if report is None:
                    raise BackendFailure("The replay ended without a verdict: start it again.")
                return _report(report, asked.dark)
            finally:
                self._turns.leave(ticket)

        ticket = self._turns.join(visitor, seconds_of(self._backend, [stored.params], None))
        try:
            return {"job": self._jobs.start(visitor, work)}
        except DiffAtlasError:
            self._turns.leave(ticket)
            raise

    def replay_stop(self, visitor: str, asked: JobAsked) -> Empty:
        """End a replay; what it has compared is told."""
        return self.job_stop(visitor, asked)

    def replay_state(self, visitor: str, asked: JobAsked) -> ReplayState | Refused:
        """Return how far a replay is, and its report at the end."""
        state = self._jobs.find(visitor, asked.job).state
        if state["error"]:
            return {"error": state["error"]}
        told = {"step": state.get("step", 0), "total": state.get("total"), "message": state["message"]}
        return {**told, "report": state["result"]}

    def export(self, visitor: str, asked: Export) -> File:
        """Write a file of the asked runs where the browser can fetch it, and return its address."""
        kind, ids = asked.kind, several(asked.ids)
        if kind not in KINDS:
            raise InvalidParams(f"There is no export of the kind {kind!r}: choose one of {', '.join(KINDS)}.")
        library = self._libraries.of(visitor)
        labels = run_names.labels(library, [library.open(run).info for run in ids], self._names)
        runs = []
        for label, run in zip(labels, ids, strict=True):
            look()
            runs.append(Named(label, library.load(run), INK))
        name = file_name(kind, runs)
        return {"url": private_url(visitor, export(kind, runs), name), "name": name}

    def job(self, visitor: str, asked: JobAsked) -> JobState:
        """Return how far a job is."""
        state = self._jobs.find(visitor, asked.job).state
        return {name: state[name] for name in ("done", "progress", "message", "result", "error")}

    def job_stop(self, visitor: str, asked: JobAsked) -> Empty:
        """End a job."""
        self._jobs.find(visitor, asked.job).stop.set()
        return {}

    def _row(self, library: Library, info: RunInfo, later: bool = False) -> dict[str, Any]:
        """A run as a row. ``later``: a picture that has to be made first is left for `thumbs`."""
        row = {field.name: getattr(info, field.name) for field in fields(info)}
        row["tags"] = list(row.get("tags") or ())
        row["model_name"] = self._names.get(info.model, info.model)
        with self._lock:
            made = (library.folder / info.id, info.status) in self._thumbs
        row["unpictured"] = later and not made and info.status != "damaged"
        row["thumb"] = None if row["unpictured"] else self._thumb(library, info)
        return row

    def _thumb(self, library: Library, info: RunInfo) -> str | None:
        key = (library.folder / info.id, info.status)
        with self._lock:
            if key in self._thumbs:
                return self._thumbs[key]
        thumb = _thumb(library, info)
        with self._lock:
            self._thumbs[key] = thumb
            while len(self._thumbs) > THUMBS:
                self._thumbs.popitem(last=False)
        return thumb


def _thumb(library: Library, info: RunInfo) -> str | None:
    """A small picture of a run, where there is one to read."""
    if info.status == "damaged":
        return None
    try:
        return thumb_of(library.open(info.id))
    except DiffAtlasError:
        return None


def _departure(values: Sequence[float], first: int | None, name: str, dark: bool) -> dict[str, Any] | None:
    """Return `diffatlas.figures.departure`; None where nothing is apart."""
    known = [value for value in values if np.isfinite(value)]
    if len(known) < 2 or not max(known) > 0:
        return None
    return page_figure({1: departure(values, first, name, dark)})


def _report(report: ReplayReport, dark: bool) -> dict[str, Any]:
    told = asdict(report)
    told["environment"] = asdict(compared.machine(report.environment, "the stored run", "the replay"))
    name = "Distance of the states, as a part of their norm"
    told["figure"] = _departure(told.pop("by_step"), report.first_step, name, dark)
    for name in ("maximum", "relative", "image_mean_absolute"):
        told[name] = None if told[name] is None else rounded(float(told[name]))
    return told


def _made(stored: StoredRun) -> list[tuple[str, str]]:
    """What is known of where and how a run was made, as (name, words)."""
    started = [("started", stored.provenance["started"])] if "started" in stored.provenance else []
    told = [
        (name_of(name), spelled(value))
        for name, value in records(stored.provenance).items()
        # diffusers' own notes on a config say nothing that is not said elsewhere.
        if value is not None and "._" not in name
    ]
    return [("run", stored.id), *started, *leaves(stored.capture, "capture."), *told]
