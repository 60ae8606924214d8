"""What the Attention page asks of the server. Each visitor reaches the runs of their own library only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from diffatlas.attention import resampled
from diffatlas.errors import CapabilityError, DiffAtlasError, InvalidParams
from diffatlas.figures.attended import Attended
from diffatlas.figures.attention_curves import draw_curves
from diffatlas.figures.attention_divergence import draw_divergence
from diffatlas.figures.attention_objects import attention_seeds, draw_objects
from diffatlas.figures.attention_words import draw_words
from diffatlas.figures.page_figure import page_figure
from diffatlas.formats import told
from diffatlas.formats.code import run_code
from diffatlas.formats.hosted import backend_of, hosted_run
from diffatlas.formats.tables.attention import described
from diffatlas.formats.wire import floats, rounded
from diffatlas.library import Library, RunInfo, StoredRun
from diffatlas.operations.attention import AttentionTrace
from diffatlas.operations.attention_boxes import Binding, binding, named_words, word_overlap
from diffatlas.operations.attention_view import Look, Readings, need_words, word_map
from diffatlas.params import seed_words
from diffatlas.shapes import EMBEDDED
from diffatlas.shapes.detect import Detection
from diffatlas.ui import run_names
from diffatlas.ui.asked_words import beyond_form
from diffatlas.ui.components.form import query_of
from diffatlas.ui.components.pictures import given_pictures, image_url, preview_uri
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.run_services import LibraryRuns, RunServices
from diffatlas.ui.wire import attention as wire
from diffatlas.ui.wire.kinds import Figure, Nothing, Opened, Several

#: Runs in the list of those with attention.
LISTED = 60
#: Charts of the curves in a row, by how wide a page is.
CURVES_ACROSS = (1, 2, 3)


class AttentionServices(RunServices):
    """The server's side of the Attention page. ``functions`` are what the browser may call."""

    def __init__(
        self, libraries: Libraries, layers: Layers, backend: Any, model_names: dict[str, str]
    ) -> None:
        super().__init__(LibraryRuns(libraries), backend, model_names)
        self._libraries = libraries
        self._layers = layers
        self._readings = Readings()

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        own = {
            "attention_runs": self.attention_runs,
            "attention": self.attention,
            "attention_curves": self.attention_curves,
            "attention_words": self.attention_words,
            "word_maps": self.word_maps,
            "words_at": self.words_at,
            "daam": self.daam,
            "looks_at": self.looks_at,
            "objects": self.objects,
            "bindings": self.bindings,
            "divergence": self.divergence,
            "step_picture": self.step_picture,
            "open": self.open,
        }
        return {**own, **super().calls}

    def empty(self) -> None:
        """See `RunServices.empty`."""
        super().empty()
        self._readings.empty()

    def attention_runs(self, visitor: str, asked: Nothing) -> wire.AttentionRuns:
        """Return the runs that hold attention, the newest first."""
        library = self._libraries.of(visitor)
        found = library.search(attention=True, limit=LISTED)
        titles = run_names.labels(library, found.runs, self._names)
        rows = [self._row(library, info) for info in found.runs]
        named = [{**row, "title": title} for row, title in zip(rows, titles, strict=True)]
        return {"runs": named, "total": found.total}

    def attention(self, visitor: str, asked: wire.AttentionAsked) -> wire.Attention:
        """Return what was captured of a run's attention, and its measures as it is looked at."""
        stored, look = self._stored(visitor, asked.id), _look(asked)
        if found := hosted_run(stored.provenance):
            raise CapabilityError(found.why)
        whole = self._readings.trace(stored, Look())
        trace = self._readings.trace(stored, look)
        return {
            **described(whole, trace, self._readings.measures(stored, look)),
            "run": {
                **stored.params.to_dict(),
                "id": stored.id,
                "model_name": self._name_of(stored),
                "query": query_of(stored.params, backend_of(stored.provenance)),
                "beyond": beyond_form(stored.params, stored.provenance),
                "python": run_code(stored.params, stored.capture, stored.provenance, stored.id),
            },
            "title": stored.info.name or stored.params.prompt,
            "status": stored.status,
            "steps": _steps(stored, trace, look),
            "images": stored.params.num_images_per_prompt,
            "image": _final(stored, look, visitor),
            "inputs": given_pictures(stored.params, visitor),
            "notes": told.unread(stored.provenance) + resampled.sentences(whole),
            "known": told.known_words(stored.provenance),
        }

    def attention_curves(self, visitor: str, asked: wire.AttentionDrawn) -> Figure:
        """Return `diffatlas.figures.attention_curves` of a run as it is looked at."""
        stored, look = self._stored(visitor, asked.id), _look(asked)
        shown, measures = self._attended(stored, look), self._readings.measures(stored, look)
        return page_figure(
            {across: draw_curves(shown, measures, asked.dark, across, read=True) for across in CURVES_ACROSS}
        )

    def attention_words(self, visitor: str, asked: wire.AttentionWords) -> Figure:
        """Return `diffatlas.figures.attention_words` of a run as it is looked at."""
        stored, look = self._stored(visitor, asked.id), _look(asked)
        shown = self._attended(stored, look)
        need_words(shown.trace)
        made = draw_words(
            shown,
            shown.trace.tokens,
            self._readings.measures(stored, look).activation,
            asked.dark,
            special=asked.special,
            by_row=asked.by_row,
            read=True,
        )
        return page_figure({1: made})

    def _attended(self, stored: StoredRun, look: Look) -> Attended:
        name = stored.info.name or stored.params.prompt
        return Attended(name, stored.id, self._readings.trace(stored, look))

    def word_maps(self, visitor: str, asked: wire.WordMaps) -> wire.WordMapsTold:
        """Return the map of some tokens, taken as one word, by step."""
        stored, look = self._stored(visitor, asked.id), _look(asked)
        maps = word_map(self._readings.maps(stored, look), asked.tokens)
        by_token = self._readings.measures(stored, look).activation
        return {**_maps(maps), "activation": [_mean(step, asked.tokens) for step in by_token]}

    def words_at(self, visitor: str, asked: wire.WordsAt) -> wire.WordMapsTold:
        """Return the maps of several words at one step; a word is a list of tokens."""
        stored, look = self._stored(visitor, asked.id), _look(asked)
        at = _position(self._readings.trace(stored, look), asked.step)
        maps = self._readings.maps(stored, look)[at]
        by_token = self._readings.measures(stored, look).activation[at]
        found = np.stack([word_map(maps, word) for word in asked.words])
        return {**_maps(found), "activation": [_mean(by_token, word) for word in asked.words]}

    def daam(self, visitor: str, asked: wire.Daam) -> wire.Maps:
        """Return DAAM's map of some tokens over the whole run."""
        maps = self._readings.daam(self._stored(visitor, asked.id), _look(asked))
        return _maps(word_map(maps, asked.tokens)[None])

    def looks_at(self, visitor: str, asked: wire.LooksAt) -> wire.Maps:
        """Return where a place of the image looks at a step; 1 is the mean over the picture."""
        trace = self._readings.trace(self._stored(visitor, asked.id), _look(asked))
        at = _position(trace, asked.step)
        return _maps(trace.looks_at(trace.steps[at], asked.place)[None])

    def objects(self, visitor: str, asked: wire.AttentionDrawn) -> wire.Objects:
        """Return how much of each word's map lies on the object it names, and the binding of two colours."""
        stored, look = self._stored(visitor, asked.id), _look(asked)
        trace, image = self._readings.trace(stored, look), _detectable(stored, look)
        need_words(trace)
        height, width = image.shape[:2]
        words, overlaps = [], []
        for word, nth in named_words(trace.tokens):
            found = word_overlap(trace, image, word, nth)
            overlaps.append(found)
            words.append(
                {
                    "word": word,
                    "nth": nth,
                    "found": [_object(d, width, height) for d in found.found],
                    "share": [rounded(v) for v in found.share],
                    "uniform": rounded(found.uniform),
                    "lift": [rounded(v) for v in found.lift],
                    "iou": [rounded(v) for v in found.iou],
                }
            )
        bound, why = _binding(trace, image)
        shown = self._attended(stored, look)
        drawn = {
            across: draw_objects(shown, overlaps, bound, asked.dark, across, read=True)
            for across in CURVES_ACROSS
        }
        return {
            "words": words,
            "binding": bound and _binding_fields(bound, width, height),
            "why": why,
            "steps": list(trace.steps),
            "figure": page_figure(drawn) if words else None,
        }

    def bindings(self, visitor: str, asked: wire.Bindings) -> wire.RunBindings:
        """Return the binding of several runs, to see what those that fail have in common."""
        look, rows, drawn, names = _look(asked), [], {}, {}
        for run_id in self._ids(visitor, asked.ids)[:LISTED]:
            stored = self._reach.library(visitor).open(run_id)
            row = {
                "id": run_id,
                "seed": stored.params.seed,
                "steps": [],
                "values": None,
                "mean": None,
                "holds": None,
            }
            try:
                trace = self._readings.trace(stored, look)
                bound, why = _binding(trace, _detectable(stored, look))
            except DiffAtlasError as error:
                bound, why = None, error.message
            if bound:
                drawn[run_id], names[run_id] = bound, seed_words(stored.params.seed)
                values = [rounded(v) for v in bound.values]
                row |= {"steps": list(bound.steps), "values": values, "holds": bound.holds}
                row["mean"] = rounded(bound.mean)
            rows.append({**row, "why": why})
        return {
            "runs": rows,
            "figure": page_figure({1: attention_seeds(drawn, asked.first, asked.dark, names)}),
        }

    def divergence(self, visitor: str, asked: wire.Divergence) -> Figure:
        """Return `diffatlas.figures.attention_divergence` of two runs as they are looked at."""
        a, b = self._stored(visitor, asked.a), self._stored(visitor, asked.b)
        if a.id == b.id:
            raise InvalidParams("These are the same run: choose another one.")
        look = _look(asked)
        found = self._readings.divergence(a, b, look)
        one, other = (self._attended(stored, look) for stored in (a, b))
        return page_figure({1: draw_divergence(one, other, found, asked.dark, read=True)})

    def step_picture(self, visitor: str, asked: wire.StepPictureAsked) -> wire.StepPicture:
        """Return the preview of a step at its full size; null where the step has none."""
        preview = self._stored(visitor, asked.id).preview(asked.step)
        if preview is None:
            return {"picture": None}
        return {"picture": image_url(preview[_image(Look(image=asked.image), len(preview))], visitor)}

    def open(self, visitor: str, asked: Several) -> Opened:
        """Make runs locked layers of the Trajectory page."""
        ids = self._ids(visitor, asked.ids)
        for run_id in ids:
            stored = self._reach.library(visitor).open(run_id)
            if hosted_run(stored.provenance) is None:
                # One without latents, such as a run of another tool, has no path to show there.
                stored.initial_latents()
            self._layers.open(visitor, run_id, self._reach.find(visitor, run_id).name)
        return {"layers": ids}

    def _row(self, library: Library, info: RunInfo) -> dict[str, Any]:
        try:
            images = library.open(info.id).images()
        except DiffAtlasError:
            # Damaged or gone since it was listed: that is said where it is opened, and the others are listed.
            images = []
        return {
            "id": info.id,
            "title": info.name or info.prompt,
            "prompt": info.prompt,
            "seed": info.seed,
            "guidance": info.guidance_scale,
            "steps": info.steps,
            "model_name": self._names.get(info.model, info.model),
            "attention": info.attention,
            "created": info.created,
            "thumb": preview_uri(images[0]) if images else None,
        }

    def _name_of(self, stored: StoredRun) -> str:
        return run_names.model_name(stored, self._names)


def _look(asked: wire.HalfLook) -> Look:
    """Return the look that is asked for; in all layers where a question names none."""
    layers = asked.layers if isinstance(asked, wire.Look) else None
    return Look(None if layers is None else tuple(layers), asked.head, asked.half, asked.image)


def _position(trace: AttentionTrace, step: int) -> int:
    """Where a step stands among the captured ones."""
    if step not in trace.steps:
        raise InvalidParams(f"Step {step} has no attention: choose one that was captured.", field="step")
    return trace.steps.index(step)


def _mean(by_token: np.ndarray, tokens: list[int]) -> float | None:
    """The mean over the tokens of a word."""
    return rounded(float(by_token[tokens].mean()))


def _maps(maps: np.ndarray) -> dict[str, Any]:
    """Maps (N, H, W) on their way to the browser."""
    return {"rows": maps.shape[1], "columns": maps.shape[2], "values": floats(maps)}


def _steps(stored: StoredRun, trace: AttentionTrace, look: Look) -> list[dict[str, Any]]:
    """The captured steps, with small previews where there are."""
    lines = {
        line["index"]: {**line, "sigma_before": before}
        for line, before in zip(stored.step_lines(), stored.sigmas_before(), strict=True)
    }
    steps = []
    for index in trace.steps:
        preview = stored.preview(index)
        steps.append(
            {
                "index": index,
                "timestep": rounded(lines[index]["timestep"]),
                "sigma_before": rounded(lines[index]["sigma_before"]),
                "sigma": rounded(lines[index]["sigma"]),
                "preview": None if preview is None else preview_uri(preview[_image(look, len(preview))]),
            }
        )
    return steps


def _image(look: Look, count: int) -> int:
    if not 0 <= look.image < count:
        raise InvalidParams(
            f"The batch has {count} images, from 0, so there is no image {look.image}.", field="image"
        )
    return look.image


def _final(stored: StoredRun, look: Look, visitor: str) -> str | None:
    images = stored.images()
    return image_url(images[_image(look, len(images))], visitor) if images else None


def _detectable(stored: StoredRun, look: Look) -> np.ndarray:
    """The final image. Raises `CapabilityError` where the detector would not know what it sees."""
    if stored.params.model not in EMBEDDED:
        raise CapabilityError(
            "Objects are found in the pictures of the embedded models only, whose world the detector knows exactly."
        )
    images = stored.images()
    if not images:
        raise CapabilityError("This run has no finished image, in which objects could be found.")
    return images[_image(look, len(images))]


def _binding(trace: AttentionTrace, image: np.ndarray) -> tuple[Binding | None, str | None]:
    """Return the binding of a run, or why it has none."""
    try:
        bound = binding(trace, image)
    except InvalidParams as error:
        return None, error.message
    return (
        bound,
        None if bound else "The image does not show both objects, so there is no binding to measure.",
    )


def _binding_fields(bound: Binding, width: int, height: int) -> dict[str, Any]:
    return {
        "holds": bound.holds,
        "values": [rounded(v) for v in bound.values],
        "mean": rounded(bound.mean),
        "words": [
            {
                "word": w.word,
                "nth": w.nth,
                "shape": w.shape,
                "holds": w.holds,
                "own": _object(w.own, width, height),
                "other": _object(w.other, width, height),
                "values": [rounded(v) for v in w.values],
            }
            for w in bound.words
        ],
    }


def _object(found: Detection, width: int, height: int) -> dict[str, Any]:
    """A detected object; its box in shares of the picture's sides."""
    left, top, right, bottom = found.box
    box = [rounded(v) for v in (left / width, top / height, right / width, bottom / height)]
    return {"color": found.color, "shape": found.shape, "box": box}
