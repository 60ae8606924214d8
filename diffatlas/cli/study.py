"""The commands that run several things to be compared: sweep, neighbourhood, studies, study."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas.cli import request as ask
from diffatlas.cli.output import interrupt_sets, print_table, quieten
from diffatlas.cli.running import (
    Again,
    Backends,
    Exact,
    Lanes,
    LaneWords,
    confirm_paid,
    lanes_of_options,
    say,
    say_made,
    wait_words,
)
from diffatlas.errors import BackendFailure, DiffAtlasError, InvalidParams

if TYPE_CHECKING:
    from diffatlas.backends.base import Backend
    from diffatlas.capture.spec import Capture
    from diffatlas.library import Library
    from diffatlas.library.study import Cell, Study

commands = typer.Typer()

To = Annotated[Path | None, typer.Option(help="Folder to write files to.")]
Format = Annotated[str, typer.Option(help="Which files --to gets: csv, json, png, pdf.")]
Overwrite = Annotated[bool, typer.Option(help="Replace files of the same name.")]


@commands.command()
@ask.takes_request()
def sweep(
    *,
    field: Annotated[
        str,
        typer.Option(help="guidance_scale, num_inference_steps, scheduler, seed or guidance_method."),
    ] = "guidance_scale",
    values: Annotated[
        str | None, typer.Option(help="The values, such as 1,4,7.5. Default for guidance: 1,4,7.5,12,18.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, from --seed on; each gets a row.")] = 1,
    backend: ask.Backend = "local",
    lane: Lanes = None,
    exact: Exact = False,
    again: Again = False,
    anyway: ask.Anyway = False,
    yes: ask.Yes = False,
    to: To = None,
    format: Format = "csv,json,png,pdf",
    overwrite: Overwrite = False,
    asked: ask.Request,
    previews: ask.Previews = "every",
    device: ask.Device = None,
    dtype: ask.Dtype = None,
    ignore_memory: ask.IgnoreMemory = False,
) -> None:
    """Run one prompt over several values of a field, and measure how the result drifts.

    Ctrl-C keeps the cells that are finished; `diffatlas study ID --retry` runs the rest.
    """
    from diffatlas.studies.plan_sweep import plan_sweep

    base = ask.request(asked, backend)
    study = plan_sweep(
        base, field, values, seeds=seeds, lanes=lanes_of_options(lane), exact=exact, backend=backend
    )
    files = _Files(to, format, overwrite)
    _run(study, Backends(device, dtype, ignore_memory), files, ask.capture(previews), not again, anyway, yes)


@commands.command()
@ask.takes_request()
def neighbourhood(
    *,
    mode: Annotated[
        str | None,
        typer.Option(
            help="perturb: noise mixed in; slerp: the way to --to-seed; offset: other seeds. Default: perturb, and "
            "offset on a hosted model, which takes nothing but a seed."
        ),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="How many neighbours (perturb, offset).")] = 8,
    radius: Annotated[float, typer.Option(help="How far the furthest is, from 0 to 1 (perturb).")] = 0.4,
    spread: Annotated[
        str, typer.Option(help="even: radii in equal steps; shell: all at the radius (perturb).")
    ] = "even",
    step: Annotated[int, typer.Option(help="Steps done before the noise is mixed in (perturb).")] = 0,
    to_seed: Annotated[int | None, typer.Option(help="The other seed (slerp).")] = None,
    stops: Annotated[int, typer.Option(help="How many images on the way, both ends too (slerp).")] = 8,
    offset: Annotated[int, typer.Option(help="How far seeds may differ in number (offset).")] = 1000,
    backend: ask.Backend = "local",
    lane: Lanes = None,
    exact: Exact = False,
    again: Again = False,
    anyway: ask.Anyway = False,
    yes: ask.Yes = False,
    to: To = None,
    format: Format = "csv,json,png,pdf",
    overwrite: Overwrite = False,
    asked: ask.Request,
    previews: ask.Previews = "every",
    device: ask.Device = None,
    dtype: ask.Dtype = None,
    ignore_memory: ask.IgnoreMemory = False,
) -> None:
    """Run the neighbours of one noise, and measure how images change with it: growth, basins, jumps.

    Ctrl-C keeps the cells that are finished; `diffatlas study ID --retry` runs the rest.
    """
    from diffatlas.registry import HOSTED
    from diffatlas.studies.plan_neighbourhood import plan_neighbourhood

    base = ask.request(asked, backend)
    study = plan_neighbourhood(
        base,
        mode or ("offset" if backend in HOSTED else "perturb"),
        k=k,
        radius=radius,
        spread=spread,
        step=step,
        to_seed=to_seed,
        stops=stops,
        offset=offset,
        lanes=lanes_of_options(lane),
        exact=exact,
        backend=backend,
    )
    files = _Files(to, format, overwrite)
    _run(study, Backends(device, dtype, ignore_memory), files, ask.capture(previews), not again, anyway, yes)


@commands.command()
def studies(
    operation: Annotated[str | None, typer.Option(help="sweep or neighbourhood only.")] = None,
) -> None:
    """List the sweeps and neighbourhoods of the library, newest first."""
    from diffatlas.library.store import Library
    from diffatlas.library.study import OPERATIONS

    if operation is not None and operation not in OPERATIONS:
        raise InvalidParams(
            f"There is no operation {operation!r}: choose {' or '.join(OPERATIONS)}.", field="operation"
        )
    rows = [
        (
            info.id,
            info.operation,
            info.status,
            f"{info.done}/{info.cells}",
            info.error or info.title,
            info.created[:19],
        )
        for info in Library().studies.list(operation)
    ]
    print_table(("Study", "Operation", "Status", "Cells", "Title", "Created"), rows)


@commands.command()
def study(
    study_id: Annotated[str, typer.Argument(metavar="STUDY", help="An id of `diffatlas studies`.")],
    retry: Annotated[
        bool, typer.Option("--retry", help="Run the cells that failed or were stopped.")
    ] = False,
    anyway: ask.Anyway = False,
    yes: ask.Yes = False,
    to: To = None,
    format: Format = "csv,json,png,pdf",
    overwrite: Overwrite = False,
    previews: ask.Previews = "every",
    device: ask.Device = None,
    dtype: ask.Dtype = None,
    ignore_memory: ask.IgnoreMemory = False,
) -> None:
    """Show a study again and write its files; with --retry, first run what is missing of it."""
    from diffatlas.library.store import Library

    library = Library()
    found = library.studies.open(study_id)
    files = _Files(to, format, overwrite)
    files.check(found)
    backends = Backends(device, dtype, ignore_memory)
    if retry and any(cell.status != "complete" for cell in found.cells):
        _run(found, backends, files, ask.capture(previews), anyway=anyway, yes=yes)
        return
    _show(found, library, None, files)


class _Files:
    """The files that a study is written to, if any. Raises `InvalidParams` for a format that there is not."""

    def __init__(self, folder: Path | None, formats: str, overwrite: bool) -> None:
        from diffatlas.formats.study_kinds import STUDY_KINDS

        self._folder, self._overwrite = folder, overwrite
        self._kinds = list(dict.fromkeys(re.split(r"[,;\s]+", formats.strip().lower())))
        for kind in self._kinds:
            if kind not in STUDY_KINDS:
                raise InvalidParams(
                    f"There is no format {kind!r}: choose from {', '.join(STUDY_KINDS)}.", field="format"
                )

    @property
    def wanted(self) -> bool:
        """Whether there are any."""
        return self._folder is not None

    def check(self, study: Study) -> None:
        """Raise `InvalidParams` where a file is in the way."""
        if self._folder is None:
            return
        if self._folder.exists() and not self._folder.is_dir():
            raise InvalidParams(f"{self._folder} is not a folder: choose another.", field="to")
        for _, path in self._paths(study):
            if path.exists() and not (self._overwrite and path.is_file()):
                raise InvalidParams(
                    f"{path} exists already: choose another folder, or add --overwrite.", field="to"
                )

    def write(self, study: Study, images: dict[str, Any], measures: dict[str, Any]) -> list[Path]:
        """Write the files and return their paths."""
        from diffatlas.formats.study_kinds import export_study
        from diffatlas.library.format import write_atomically
        from diffatlas.library.leftovers import sweep

        written = []
        sweep(self._folder)
        for kind, path in self._paths(study):
            data = export_study(kind, study, images, measures)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, data)
            except OSError as error:
                raise InvalidParams(f"{path} cannot be written ({error.strerror}).", field="to") from error
            written.append(path)
        return written

    def _paths(self, study: Study) -> list[tuple[str, Path]]:
        from diffatlas.formats.study_kinds import study_file_name

        if self._folder is None:
            return []
        return [(kind, self._folder / study_file_name(kind, study)) for kind in self._kinds]


def _run(
    study: Study,
    backends: Backends,
    files: _Files,
    capture: Capture,
    reuse: bool = True,
    anyway: bool = False,
    yes: bool = False,
) -> None:
    """Run the cells of a study that are not complete, a line per cell on stderr; then show it."""
    from contextlib import closing

    from diffatlas.library.store import Library
    from diffatlas.studies.paid import paid_of_study
    from diffatlas.studies.run import CellEnded, CellWaits, LaneChanged, Stops, StudyChanged, run_study

    files.check(study)
    backends.check_used_by([lane.backend for lane in study.lanes])
    library = Library()
    served_by = library if reuse else None
    confirm_paid(paid_of_study(backends, study, capture, served_by), yes)
    lines = LaneWords()
    with interrupt_sets() as stop:
        _check(study, backends)
        if any(lane.backend == "local" for lane in study.lanes):
            quieten()
            if not anyway:
                ask.study_within_bounds(backends("local"), study, capture, served_by, stop)
        events = run_study(study, backends, library, capture, stops=Stops(stop), reuse=reuse)
        count = sum(cell.status != "complete" for cell in study.cells)
        ended = 0
        say(f"Study {study.id}")
        with closing(events):
            for event in events:
                if isinstance(event, StudyChanged):
                    study = event.study
                elif isinstance(event, CellEnded):
                    ended += 1
                    lines.say(f"[{ended}/{count}] {_cell_words(study, event.cell)}")
                elif isinstance(event, CellWaits):
                    lines.lane(f"{_lane_name(study, study.cell(event.key).lane)}: {wait_words(event)}")
                elif isinstance(event, LaneChanged) and event.message:
                    lines.lane(f"{_lane_name(study, event.key)}: {event.message}")
    _show(study, library, backends.local, files)
    say_made(study)
    if stop.is_set():
        say(f"Stopped. `diffatlas study {study.id} --retry` runs the rest.")
        raise KeyboardInterrupt
    failed = [cell for cell in study.cells if cell.status == "failed"]
    if failed:
        message = (failed[0].error or {}).get("message") or "The cell failed."
        more = f" {len(failed)} of {len(study.cells)} cells failed." if len(study.cells) > 1 else ""
        raise BackendFailure(f"{message}{more}")


def _check(study: Study, backends: Backends) -> None:
    """Raise what is wrong with a request that none of the cells could run, rather than fail each of them."""
    if any(lane.backend != "local" for lane in study.lanes):
        return
    wrong = None
    for cell in study.cells:
        try:
            backends("local").resolve(cell.params)
            return
        except DiffAtlasError as error:
            wrong = wrong or error
    if wrong is not None:
        raise wrong


def _show(study: Study, library: Library, backend: Backend | None, files: _Files) -> None:
    """Print a study as a table on stdout, and write its files."""
    from diffatlas.studies.measure_cells import load_cells

    measures: dict[str, Any] = {}
    try:
        measures = _measures(study, library, backend)
    except DiffAtlasError as error:
        say(f"Not measured: {error}")
    _print(study, measures)
    for words in _sentences(study, measures):
        say(words)
    if files.wanted:
        images = {cell.key: cell.pixels for cell in load_cells(study, library) if cell.pixels is not None}
        for path in files.write(study, images, measures):
            say(str(path))


def _measures(study: Study, library: Library, backend: Backend | None) -> dict[str, Any]:
    """Return what can be measured of the finished cells, in plain JSON types."""
    from diffatlas.operations.features import encoder_for_study, names_for

    if not any(cell.status == "complete" for cell in study.cells):
        return {}
    encoder = encoder_for_study(backend, study)
    if study.operation == "sweep":
        from diffatlas.studies.measure_sweep import measure_sweep

        return measure_sweep(study, library, encoder).to_dict()
    from diffatlas.studies.measure_neighbourhood import measure_neighbourhood

    return measure_neighbourhood(study, library, encoder, names_for(study)).to_dict()


def _print(study: Study, measures: dict[str, Any]) -> None:
    from diffatlas.formats.lettering import fit
    from diffatlas.studies.numbers import SHORT, cell_numbers

    numbers = cell_numbers(study, measures)
    shown = [name for name in SHORT if any(known.get(name) is not None for known in numbers.values())]
    if any(known.get("contains") for known in numbers.values()):
        shown.append("contains")
    rows = []
    for cell in study.cells:
        known = numbers[cell.key]
        told = [
            "" if known[name] is None else known[name] if name == "contains" else fit(known[name], 9, 5)
            for name in shown
        ]
        rows.append(
            (
                cell.key,
                _lane_name(study, cell.lane),
                cell.label,
                str(cell.params.seed),
                cell.status,
                cell.run_id or "",
                *told,
            )
        )
    heads = (SHORT.get(name, name).capitalize() for name in shown)
    print_table(("Cell", "Lane", "Value", "Seed", "Status", "Run", *heads), rows)


def _sentences(study: Study, measures: dict[str, Any]) -> list[str]:
    """Return what the measures say in words."""
    said = [measures.get("note")]
    for key, lane in (measures.get("lanes") or {}).items():
        name = f"{_lane_name(study, key)}: " if len(study.lanes) > 1 else ""
        for about in ("clipping", "collapse", "growth", "basins"):
            if words := (lane.get(about) or {}).get("sentence"):
                said.append(f"{name}{words}")
        if words := lane.get("finding"):
            said.append(f"{name}{words}")
    said += [entry.get("sentence") for entry in measures.get("agreement") or ()]
    return [words for words in said if words]


def _cell_words(study: Study, cell: Cell) -> str:
    lane = f"{_lane_name(study, cell.lane)} · " if len(study.lanes) > 1 else ""
    seed = f"seed {cell.params.seed}"
    words = f"{lane}{cell.label}{'' if cell.label == seed else f' · {seed}'}: {cell.status}"
    if cell.status == "failed":
        return f"{words}. {(cell.error or {}).get('message', '')}"
    if cell.cached:
        return f"{words}, from the library"
    if cell.status == "complete" and cell.seconds is not None:
        words += f", {cell.seconds:.1f} s"
    return f"{words}, in a batch" if cell.batched else words


def _lane_name(study: Study, key: str) -> str:
    return next((lane.name for lane in study.lanes if lane.key == key), key)
