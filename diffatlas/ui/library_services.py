"""What the Library page asks of the server. Each visitor reaches the runs of their own library only."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from diffatlas.errors import BackendFailure, DiffAtlasError, InvalidParams
from diffatlas.export import told
from diffatlas.export.bundle import zip_folder
from diffatlas.export.kinds import KINDS, export, file_name
from diffatlas.export.named import Named
from diffatlas.export.wire import rounded
from diffatlas.library import Library, RunInfo
from diffatlas.library.difference import difference
from diffatlas.library.shipped import SHIPPED, shipped
from diffatlas.operations.plan_neighbourhood import other_anchor
from diffatlas.operations.replay import ReplayReport, replay
from diffatlas.ui import run_names
from diffatlas.ui.answers import answered
from diffatlas.ui.asked_words import also_told, check_fillable, refuse_server_files
from diffatlas.ui.components import form as forms
from diffatlas.ui.components.pictures import given_pictures, image_url, preview_uri
from diffatlas.ui.jobs import Job, Jobs, Progress
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import SHARED_CAP, Libraries
from diffatlas.ui.private_files import private_url
from diffatlas.ui.run_services import INK
from diffatlas.ui.sessions import Turns

#: Runs that one answer may hold, and one export.
MOST_ROWS = 500
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
        self._jobs = Jobs()
        self._thumbs: OrderedDict[tuple[Path, str], str | None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The functions, under the names by which the browser calls them."""
        calls = {
            "find": self.find,
            "thumbs": self.thumbs,
            "mark": self.mark,
            "trash": self.trash,
            "restore": self.restore,
            "details": self.details,
            "difference": self.difference,
            "open": self.open,
            "explore": self.explore,
            "replay": self.replay,
            "replay_state": self.replay_state,
            "export": self.export,
            "dataset": self.dataset,
            "push": self.push,
            "import": self.import_,
            "job": self.job,
        }
        return [answered(name, call) for name, call in calls.items()]

    def find(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the runs that are looked for, a page of them, and what the library holds."""
        library = self._libraries.of(visitor)
        options = {name: asked[name] for name in FILTERS if asked.get(name)}
        offset = _whole(asked.get("offset", 0), "offset")
        found = library.search(
            str(asked.get("text") or ""),
            tags=(str(asked["tag"]),) if asked.get("tag") else (),
            locked=asked.get("locked"),
            attention=asked.get("attention"),
            descending=bool(asked.get("descending", True)),
            # From the first on: a name tells a run from all that are in view.
            limit=offset + min(MOST_ROWS, _whole(asked.get("limit", 100), "limit")),
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
        }

    def thumbs(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return small pictures of runs, for rows that came without."""
        library = self._libraries.of(visitor)
        infos = [library.open(run).info for run in _several(asked) if (library.folder / run).is_dir()]
        return {"thumbs": {info.id: self._thumb(library, info) for info in infos}}

    def mark(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Change a run's name, tags, note or lock."""
        library = self._libraries.of(visitor)
        changes = {name: asked[name] for name in ("name", "tags", "note", "locked") if name in asked}
        return {"run": self._row(library, library.mark(_one(asked), **changes))}

    def trash(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Move runs to the trash, from which they can be brought back."""
        library = self._libraries.of(visitor)
        return {"done": [run for run in _several(asked) if library.trash(run) or True]}

    def restore(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Bring runs back from the trash."""
        library = self._libraries.of(visitor)
        return {"done": [run for run in _several(asked) if library.restore(run) or True]}

    def details(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return one run: what was asked, what it ran on, its frames and its image."""
        library = self._libraries.of(visitor)
        stored = library.open(_one(asked))
        library.touch(stored.id)
        frames = []
        for line in stored.step_lines():
            preview = stored.preview(line["index"])
            if preview is not None:
                frames.append({"index": line["index"], "preview": preview_uri(preview[0])})
        images = stored.images()
        return {
            "run": self._row(library, stored.info),
            "params": stored.params.to_dict(),
            "query": forms.query_of(stored.params),
            "also": also_told(stored.params, stored.provenance),
            "notes": told.unread(stored.provenance) + told.left_out(stored.provenance),
            "known": told.known_words(stored.provenance),
            "inputs": given_pictures(stored.params, visitor),
            "provenance": stored.provenance,
            "capture": stored.capture,
            "frames": frames,
            "image": image_url(images[0], visitor) if images else None,
            "link": f"?page=trajectory&run={stored.id}",
        }

    def difference(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what differs between two runs: parameters, environment, images and paths."""
        library = self._libraries.of(visitor)
        a, b = (library.open(_one({"id": asked.get(side)})) for side in ("a", "b"))
        found = difference(a, b)
        path = found.path
        return {
            "params": _pairs(found.params),
            "environment": _pairs(found.environment),
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
                "distances": [rounded(float(d)) for d in path.distances],
            },
        }

    def open(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Make runs locked layers of the Trajectory page."""
        library = self._libraries.of(visitor)
        ids = _several(asked)
        for run in ids:
            stored = library.open(run)
            # One without latents, such as a run of another tool, has no path to lay over others.
            stored.initial_latents()
            info = stored.info
            self._layers.open(visitor, run, info.name or info.prompt)
            library.touch(run)
        return {"layers": ids}

    def explore(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what the Neighbourhood page asks around one run, or between two."""
        library = self._libraries.of(visitor)
        first, *others = (library.open(run).params for run in _several(asked))
        if len(others) > 1:
            raise InvalidParams("Choose one run to explore around, or two to explore between.")
        for params in (first, *others):
            check_fillable(forms.query_of(params))
        own = {"mode": "slerp", "to_seed": other_anchor(first, others[0])} if others else {"mode": "perturb"}
        query = forms.query_of(first)
        return {"query": query, "own": own}

    def query_of(self, visitor: str, ids: Any) -> dict[str, str]:
        """Return the last of the runs as a link would ask for it (`diffatlas.ui.links.FIELDS`)."""
        return forms.query_of(self._libraries.of(visitor).open(_several({"ids": ids})[-1]).params)

    def replay(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Start to run a stored run again, and hold each state against the stored one."""
        library = self._libraries.of(visitor)
        stored = library.open(_one(asked))
        if self._libraries.shared:
            # A run that was imported may name what it likes.
            refuse_server_files(stored.params)

        def work(job: Job, progress: Progress) -> Any:
            ticket = self._turns.join()
            try:
                while self._turns.ahead(ticket):
                    progress(message="Waiting for another run…")
                    self._turns.wait(1.0)
                progress(message="Running again…", step=0, total=stored.total_steps)
                report = None
                for event in replay(library, stored.id, self._backend, job.stop):
                    if isinstance(event, ReplayReport):
                        report = event
                    elif event.kind == "step":
                        progress(step=event.index + 1)
                if report is None:
                    raise BackendFailure("The replay ended without a verdict: start it again.")
                return _report(report)
            finally:
                self._turns.leave(ticket)

        return {"job": self._jobs.start(visitor, work)}

    def replay_state(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return how far a replay is, and its report at the end."""
        state = self._jobs.find(visitor, asked.get("job")).state
        if state["error"]:
            return {"error": state["error"]}
        told = {"step": state.get("step", 0), "total": state.get("total"), "message": state["message"]}
        return {**told, "report": state["result"]}

    def export(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Write a file of the asked runs where the browser can fetch it, and return its address."""
        kind, ids = asked.get("kind"), _several(asked)
        if kind not in KINDS:
            raise InvalidParams(f"There is no export of the kind {kind!r}: choose one of {', '.join(KINDS)}.")
        library = self._libraries.of(visitor)
        labels = run_names.labels(library, [library.open(run).info for run in ids], self._names)
        runs = [Named(label, library.load(run), INK) for label, run in zip(labels, ids, strict=True)]
        name = file_name(kind, runs)
        return {"url": private_url(visitor, export(kind, runs), name), "name": name}

    def dataset(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Start to write a Hugging Face dataset of the asked runs, to be downloaded as a zip."""
        library, ids, options = self._libraries.of(visitor), _several(asked), _dataset_options(asked)

        def work(job: Job, progress: Progress) -> Any:
            with _dataset(library, ids, options, progress) as folder:
                name = "dataset.zip"
                return {"url": private_url(visitor, zip_folder(folder), name), "name": name}

        return {"job": self._jobs.start(visitor, work)}

    def push(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Start to push a dataset of the asked runs to the Hub. The token is used and kept nowhere."""
        from diffatlas.library.hub import push

        library, ids, options = self._libraries.of(visitor), _several(asked), _dataset_options(asked)
        token, repository = asked.get("token"), str(asked.get("repo") or "").strip()
        if not isinstance(token, str) or not token.strip():
            raise InvalidParams(
                "A token of yours with the right to write is needed: paste one.", field="token"
            )

        def work(job: Job, progress: Progress) -> Any:
            with _dataset(library, ids, options, progress) as folder:
                progress(message="Sending to the Hub…", progress=None)
                private = bool(asked.get("private", True))
                told = _steps_of(progress)
                address = push(folder, repository, token=token.strip(), private=private, progress=told)
                return {"address": address}

        return {"job": self._jobs.start(visitor, work)}

    def import_(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Start to import a dataset: the name of one on the Hub, or, on a personal machine, a folder."""
        from diffatlas.library.dataset_import import import_dataset
        from diffatlas.library.hub import hub_id

        library, source = self._libraries.of(visitor), str(asked.get("source") or "").strip()
        if not source:
            raise InvalidParams("Name a dataset, such as user/name, or the folder of one.", field="source")
        shared = self._libraries.shared
        if shared and hub_id(source) is None and source not in shipped():
            raise InvalidParams(
                "On a shared server only datasets of the Hub can be imported.", field="source"
            )
        # A shared server's own login is not its visitors', nor are its folders.
        options = {"local": False, "token": False, "limit_bytes": SHARED_CAP} if shared else {}

        def work(job: Job, progress: Progress) -> Any:
            progress(message="Reading the dataset…")
            return {"ids": import_dataset(library, source, progress=_steps_of(progress), **options)}

        return {"job": self._jobs.start(visitor, work)}

    def job(self, visitor: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Return how far a job is."""
        state = self._jobs.find(visitor, asked.get("job")).state
        return {name: state[name] for name in ("done", "progress", "message", "result", "error")}

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
    """A small picture of the final image, or of the last preview, where there is one to read."""
    if info.status == "damaged":
        return None
    try:
        stored = library.open(info.id)
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


def _report(report: ReplayReport) -> dict[str, Any]:
    told = asdict(report)
    told["environment"] = _pairs(report.environment)
    told["by_step"] = [rounded(float(value)) for value in report.by_step]
    for name in ("maximum", "relative", "image_mean_absolute"):
        told[name] = None if told[name] is None else rounded(float(told[name]))
    return told


@contextmanager
def _dataset(
    library: Library, ids: Sequence[str], options: dict[str, Any], progress: Progress
) -> Iterator[Path]:
    """A dataset of the runs, in a folder that is gone afterwards."""
    from diffatlas.library.dataset import export_dataset

    progress(message="Writing the dataset…")
    with tempfile.TemporaryDirectory(prefix="diffatlas-dataset-") as room:
        yield export_dataset(library, Path(room) / "dataset", ids, progress=_steps_of(progress), **options)


def _steps_of(progress: Progress) -> Callable[[float, str], None]:
    """What datasets and the Hub report, as the progress of a job."""
    return lambda share, message: progress(progress=share, message=message)


def _dataset_options(asked: dict[str, Any]) -> dict[str, Any]:
    options = {name: str(asked[name]) for name in ("per", "licence", "title") if asked.get(name)}
    if options.get("per", "run") not in ("run", "step"):
        raise InvalidParams("A dataset has one row per run or per step.", field="per")
    return options


def _pairs(differences: dict[str, tuple[Any, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "a": a, "b": b} for name, (a, b) in differences.items()]


def _one(asked: dict[str, Any]) -> str:
    return _several({"ids": [asked.get("id")]})[0]


def _several(asked: dict[str, Any]) -> list[str]:
    ids = asked.get("ids")
    if not isinstance(ids, list) or not ids or not all(isinstance(run, str) for run in ids):
        raise InvalidParams("No run is chosen: choose one or more.")
    if len(ids) > MOST_ROWS:
        raise InvalidParams(f"{len(ids)} runs are too many at once: choose at most {MOST_ROWS}.")
    return list(dict.fromkeys(ids))


def _whole(value: Any, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidParams(f"{field} is {value!r}: give a whole number, 0 or more.", field=field)
    return value
