"""What the measures of a study read: its complete cells, from the runs in the library."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diffatlas.errors import CapabilityError, DamagedRun, DiffAtlasError, InvalidParams, RunNotFound
from diffatlas.geometry import path as measures
from diffatlas.measured import unseen
from diffatlas.params import GenerationParams
from diffatlas.registry import ELSEWHERE
from diffatlas.stopping import look

if TYPE_CHECKING:
    from diffatlas.library import Library, StoredRun
    from diffatlas.library.study import Cell, Lane, Study
    from diffatlas.operations.features import Encoder


#: Rank correlations from which on two lanes are called alike, and partly alike.
ALIKE, PARTLY = 0.8, 0.4
LIKENESS = (
    f"From {ALIKE:g} on a finding is called structural here, because it does not hang on the lane; below {PARTLY:g} "
    "it is called contingent."
)


@dataclass(frozen=True)
class Distance:
    """A distance between two cells: its key in the results, its label, and what it is in a sentence."""

    key: str
    label: str
    about: str


@dataclass(frozen=True)
class CellData:
    """One complete cell: the first image of its run. A cell without a run has only its picture.

    ``pixels`` (H, W, 3) uint8. ``initial``: x_T, and ``final``: the clean latents, each (...) as the pipeline holds
    them, None where the run kept no latents. ``lines``: the scalars of each step (`StoredRun.step_lines`).
    """

    key: str
    lane: str
    row: int
    column: int
    value: Any
    label: str
    params: GenerationParams
    pixels: np.ndarray | None = None
    initial: np.ndarray | None = None
    final: np.ndarray | None = None
    lines: Sequence[Mapping[str, Any]] = ()
    run: StoredRun | None = field(default=None, repr=False, compare=False)

    def path(self) -> np.ndarray | None:
        """Read the path from the disk: (T + 1, ...), x_T first; None where it was not kept or is gone."""
        if self.run is None or self.final is None:
            return None
        return _or_none(lambda: self.run.latents()[:, 0])

    def starts(self) -> list[np.ndarray | None]:
        """Read the states that its steps started from, (1, ...), where the latents were changed before them."""
        read = None if self.run is None else _or_none(self.run.starts)
        return [None if start is None else start[:1] for start in read or ()]

    def state(self, steps: int) -> np.ndarray | None:
        """Return the state after that many steps, (...); 0 is x_T. None for one that the run does not have."""
        if steps == 0 or self.run is None:
            return self.initial
        return _or_none(lambda: _first(self.run.step(steps - 1).latents))

    @property
    def unseen(self) -> str | None:
        """Why nothing is known of how it came about: `diffatlas.measured.unseen` of its run."""
        return None if self.run is None else unseen(self.run.provenance)

    def series(self, metric: str) -> list[float | None] | None:
        """Return a stored metric by step, None at steps without it; None where no step has it."""
        values = [line["metrics"].get(metric) for line in self.lines]
        return values if any(v is not None for v in values) else None


def load_cells(study: Study, library: Library) -> list[CellData]:
    """Return the complete cells of a study, in its order.

    A cell whose run was deleted since, or cannot be read, is left out as one that never ran. The paths themselves
    are not read: `CellData.path` reads one when it is asked for, because those of a study may not fit in memory.
    """
    found = []
    for cell in study.cells:
        if cell.status != "complete" or not (cell.run_id or cell.image):
            continue
        look()
        try:
            found.append(_load(cell, study, library))
        except (RunNotFound, DamagedRun):
            continue
    return found


def _load(cell: Cell, study: Study, library: Library) -> CellData:
    own = (cell.key, cell.lane, cell.row, cell.column, cell.value, cell.label, cell.params)
    if not cell.run_id:
        return CellData(*own, pixels=library.studies.image(study.id, cell.key))
    run = library.open(cell.run_id)
    images, lines = run.images(), run.step_lines()
    return CellData(
        *own,
        pixels=images[0] if images else None,
        initial=_or_none(lambda: run.initial_latents()[0]),
        final=_first(run.step(len(lines) - 1).latents) if lines else None,
        lines=lines,
        run=run,
    )


def finding_of(lane: Lane, cells: Sequence[CellData]) -> str | None:
    """Say why nothing of latents can be told of a lane; None where some of its complete cells have them, or none ran.

    cells: those of the lane.
    """
    if not cells or any(cell.initial is not None or cell.final is not None for cell in cells):
        return None
    said = next(filter(None, (cell.unseen for cell in cells)), None)
    if said is None:
        backend = f"The backend {lane.backend} shows no latents."
        inside = lane.backend in ("local", *ELSEWHERE)
        said = "Its runs were kept without latents." if inside else backend
    return f"{said.rstrip('.')}. So its paths and distances of latents cannot be told; its images can be compared."


#: What is added where lanes agree, or not, by other distances alone.
NOT_BY_LATENTS = "They cannot be compared by latents."


def features_of(encoder: Encoder | None, cells: Sequence[CellData]) -> dict[str, np.ndarray]:
    """Return the features (d,) of every cell's picture by its key; none where no encoder is there or it fails."""
    shown = [cell for cell in cells if cell.pixels is not None]
    if encoder is None or not shown:
        return {}
    try:
        vectors = encoder([cell.pixels for cell in shown])
    except DiffAtlasError:
        # A busy or full device costs this one distance, not the others.
        return {}
    return {cell.key: vector for cell, vector in zip(shown, vectors, strict=True)}


def relative_distance(a: np.ndarray | None, b: np.ndarray | None) -> float | None:
    """||a - b|| / ||b||; None where one is missing, the shapes differ, or b is 0."""
    if a is None or b is None or a.shape != b.shape:
        return None
    size = float(measures.norm(b[None])[0])
    return float(measures.distance(a[None], b[None])[0]) / size if size > 0 else None


def cosine_distance(a: np.ndarray | None, b: np.ndarray | None) -> float | None:
    """1 - cos(a, b), in [0, 2], of two feature vectors; None where one is missing."""
    if a is None or b is None:
        return None
    return 1.0 - float(measures.cosine(a[None], b[None])[0])


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there; None where none is."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return float(np.mean(known)) if known else None


def lane_names(study: Study) -> dict[str, str]:
    """Return the name of each lane by its key."""
    return {lane.key: lane.name for lane in study.lanes}


def likeness(rho: float, certain: bool = True) -> str:
    """Return a rank correlation between lanes in words; only a certain one gets a verdict."""
    if rho >= ALIKE:
        return "alike, so this is structural" if certain else "alike"
    if rho >= PARTLY:
        return "partly alike"
    return "differently, so this is contingent on the lane" if certain else "differently"


def check_operation(study: Study, operation: str) -> None:
    """Raise `InvalidParams` for a study of another operation."""
    if study.operation != operation:
        raise InvalidParams(f"This study is a {study.operation}, so it cannot be measured as a {operation}.")


def plain(value: Any) -> Any:
    """Return the value in plain JSON types: data classes as dicts, arrays as lists, NaN and infinity as None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    raise TypeError(f"{type(value).__name__} has no plain JSON form.")


def _first(batch: np.ndarray | None) -> np.ndarray | None:
    return None if batch is None else batch[0]


def _or_none(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (CapabilityError, DamagedRun, InvalidParams, RunNotFound):
        return None
