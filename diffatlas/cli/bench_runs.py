"""The commands of benches that are made here: run, list, show, resume, judge, mark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffatlas.cli import request as ask
from diffatlas.cli.bench import AS_JSON, LEVEL, commands, show_counted, write_file
from diffatlas.cli.output import interrupt_sets, print_table, quieten, showing_progress
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
from diffatlas.cli.scorer_options import Options, takes_scorer_options
from diffatlas.errors import BackendFailure, DiffAtlasError, InvalidParams

if TYPE_CHECKING:
    import numpy as np

    from diffatlas.bench.bench import Bench
    from diffatlas.bench.running import BenchEvent
    from diffatlas.library import Library
    from diffatlas.library.study import Cell

ID = Annotated[str, typer.Argument(metavar="BENCH", help="An id of `diffatlas bench list`.")]
Scorer = Annotated[
    list[str] | None,
    typer.Option("--scorer", help="What judges, of `diffatlas bench scorers`; may be repeated."),
]
ByHand = Annotated[
    bool, typer.Option("--by-hand/--without-marks", help="Whether marks by hand count instead of verdicts.")
]


@commands.callback(invoke_without_command=True)
@ask.takes_request(prompted=False)
def run(
    context: typer.Context,
    *,
    pack: Annotated[
        str | None,
        typer.Option(
            help="Make and judge the images of a pack: its name, or a file (`diffatlas bench packs`)."
        ),
    ] = None,
    each: Annotated[int | None, typer.Option(help="Prompts of each category, of a shipped pack.")] = None,
    pack_seed: Annotated[int, typer.Option(help="Draws the prompts of a shipped pack.")] = 0,
    seeds: Annotated[int, typer.Option(help="Images of each prompt: as many seeds, from --seed on.")] = 4,
    scorer: Scorer = None,
    keep: Annotated[
        str,
        typer.Option(
            help="What is kept of an image: paths (its trajectory), attention (that, and what each word looked at), or"
            " pictures (nothing else)."
        ),
    ] = "paths",
    backend: ask.Backend = "local",
    lane: Lanes = None,
    exact: Exact = False,
    again: Again = False,
    anyway: ask.Anyway = False,
    yes: ask.Yes = False,
    level: Annotated[float, LEVEL] = 0.95,
    as_json: Annotated[bool, AS_JSON] = False,
    asked: ask.Request,
    device: ask.Device = None,
    dtype: ask.Dtype = None,
    ignore_memory: ask.IgnoreMemory = False,
) -> None:
    """Task packs, scorers, and verdicts with their statistics.

    With --pack: make the images of a pack, judge them as they come, and count. Ctrl-C keeps what is finished;
    `diffatlas bench resume` makes the rest.
    """
    if context.invoked_subcommand is not None:
        return
    if pack is None:
        raise InvalidParams(
            "Say what to run with --pack, such as --pack shapes: `diffatlas bench packs` lists them.",
            field="pack",
        )
    from diffatlas.bench.session import ask as plan
    from diffatlas.library.store import Library

    library = Library()
    bench = plan(
        pack,
        ask.request({**asked, "prompt": "a prompt of the pack"}, backend),
        each=each,
        pack_seed=pack_seed,
        seeds=seeds,
        scorers=scorer,
        lanes=lanes_of_options(lane),
        exact=exact,
        keep=keep,
        backend=backend,
        library=library,
    )
    _run(bench, Backends(device, dtype, ignore_memory), library, not again, anyway, yes, level, as_json)


@commands.command("list")
def list_benches() -> None:
    """List the benches of the library, newest first."""
    from diffatlas.bench.session import list_benches as listed

    rows = [
        (
            one.id,
            one.pack,
            ", ".join(one.lanes),
            ", ".join(one.scorers),
            one.status,
            f"{one.done}/{one.cells}",
            one.error or one.title,
            one.created[:19],
        )
        for one in listed()
    ]
    print_table(("Bench", "Pack", "Lanes", "Scorers", "Status", "Images", "Title", "Created"), rows)


@commands.command()
def show(
    bench: ID,
    scorer: Annotated[
        str | None, typer.Option(help="Whose verdicts. Default: the first that judged it.")
    ] = None,
    by_hand: ByHand = True,
    level: Annotated[float, LEVEL] = 0.95,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Count the verdicts on a bench of the library, lane by lane."""
    from diffatlas.bench.session import open_bench

    _show(open_bench(bench), [scorer] if scorer else None, by_hand, level, as_json)


@commands.command()
def resume(
    bench: ID,
    anyway: ask.Anyway = False,
    yes: ask.Yes = False,
    level: Annotated[float, LEVEL] = 0.95,
    as_json: Annotated[bool, AS_JSON] = False,
    device: ask.Device = None,
    dtype: ask.Dtype = None,
    ignore_memory: ask.IgnoreMemory = False,
) -> None:
    """Make the images of a bench that failed or were stopped, and judge those that nobody judged."""
    from diffatlas.bench.session import open_bench
    from diffatlas.library.store import Library

    library = Library()
    backends = Backends(device, dtype, ignore_memory)
    _run(open_bench(bench, library), backends, library, True, anyway, yes, level, as_json)


@commands.command()
@takes_scorer_options
def judge(
    *,
    bench: ID,
    scorer: Annotated[
        list[str],
        typer.Option("--scorer", help="What judges, of `diffatlas bench scorers`; may be repeated."),
    ],
    again: Annotated[bool, typer.Option("--again", help="Also what it has judged already.")] = False,
    options: Options,
    level: Annotated[float, LEVEL] = 0.95,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Judge the images of a bench by further scorers. No image is made.

    What a scorer is given holds for this bench from here on, also where `resume` has it judge.
    """
    from diffatlas.bench.judging import Scored, ScorerChanged
    from diffatlas.bench.session import judge as judge_by
    from diffatlas.bench.session import open_bench

    found = open_bench(bench)
    images = sum(cell.status == "complete" for cell in found.study.cells) * len(scorer)
    done = 0
    quieten()
    with showing_progress() as show_share:

        def told(event: Scored | ScorerChanged) -> None:
            nonlocal done
            if isinstance(event, Scored):
                done += len(event.judgements)
                show_share(done / max(images, 1), "Judging")

        found = judge_by(found, *scorer, again=again, told=told, **options)
    _show(found, scorer, True, level, as_json)


@commands.command()
def mark(
    bench: ID,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="Lane, prompt and seed of an image, as a-0-3.")],
    verdict: Annotated[str, typer.Argument(help="pass, fail or cannot-judge; or none, to take a mark back.")],
    note: Annotated[str, typer.Option(help="Why.")] = "",
) -> None:
    """Say what you see in an image. It is kept beside the verdicts of scorers, and counts in their place."""
    from diffatlas.bench.bench import Mark
    from diffatlas.bench.kept import Benches
    from diffatlas.library.store import Library
    from diffatlas.run import timestamp

    said = verdict.replace("-", " ")
    if said not in ("pass", "fail", "cannot judge", "none"):
        raise InvalidParams(
            f"A mark is pass, fail, cannot-judge or none, and not {verdict!r}.", field="verdict"
        )
    made = None if said == "none" else Mark(said, note, timestamp())  # type: ignore[arg-type]
    try:
        Benches(Library().folder).mark(bench, cell, made)
    except KeyError:
        raise InvalidParams(
            f"The bench has no image {cell!r}: they are called a-0-3.", field="cell"
        ) from None


@commands.command("why")
def why_it_failed(
    bench: ID,
    scorer: Annotated[
        str | None, typer.Option(help="Whose verdicts. Default: the first that judged it.")
    ] = None,
    lane: Annotated[str, typer.Option(help="Which lane: a, b...")] = "a",
    by_hand: ByHand = True,
    level: Annotated[float, LEVEL] = 0.95,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Say what the paths of failing images have that those of passing images of the same prompt have not."""
    from diffatlas.bench.session import open_bench
    from diffatlas.bench.why import measure, why
    from diffatlas.bench.why.of_bench import cases_of
    from diffatlas.library.store import Library

    library = Library()
    cases = cases_of(open_bench(bench, library), library, scorer, lane, by_hand)
    with showing_progress() as show_share:
        measured = list(measure(cases, told=lambda share: show_share(share, "Measuring")))
        found = why(measured, level)
    if as_json:
        typer.echo(json.dumps(found.to_dict()))
        return
    rows = []
    for line in found.lines:
        one = line.within
        told = ("", "", "", "", "")
        if one is not None:
            told = (
                f"{one.difference:+.3g}",
                f"{one.low:+.3g} to {one.high:+.3g}",
                f"{one.larger.value:.2f}",
                str(one.prompts),
                f"{line.adjusted:.3g}",
            )
        rows.append((line.measure.name, line.measure.unit, *told))
    columns = (
        "Measure",
        "Unit",
        "Failing minus passing",
        f"{level:.0%} interval",
        "Larger when failing",
        "Prompts",
        "p (Holm)",
    )
    print_table(columns, rows)
    for sentence in (found.method, *(line.sentence for line in found.lines), found.groups):
        say(sentence)


@commands.command()
def export(
    bench: ID,
    to: Annotated[Path, typer.Option(help="Folder to write to.")],
    format: Annotated[
        str, typer.Option(help="Which files it gets: csv, rates, json, pdf, geneval (a folder of images).")
    ] = "csv,rates,json,pdf",
    scorer: Annotated[
        str | None, typer.Option(help="Whose verdicts. Default: the first that judged it.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of the same name.")] = False,
) -> None:
    """Write the files of a bench: verdicts, rates, a report, or its images in the layout that GenEval scores."""
    from diffatlas.bench.bench import first_scorer
    from diffatlas.bench.exported import write_geneval
    from diffatlas.bench.pictures import picture
    from diffatlas.bench.session import open_bench
    from diffatlas.formats.bench_kinds import BENCH_KINDS, bench_file_name, export_bench
    from diffatlas.formats.bench_report import report_of
    from diffatlas.library.store import Library

    library = Library()
    found = open_bench(bench, library)
    kinds = list(dict.fromkeys(re.split(r"[,;\s]+", format.strip().lower())))
    for kind in kinds:
        if kind != "geneval" and kind not in BENCH_KINDS:
            raise InvalidParams(
                f"There is no format {kind!r}: choose from {', '.join(BENCH_KINDS)}, geneval.", field="format"
            )

    def image(cell: Cell) -> np.ndarray | None:
        with suppress(DiffAtlasError):
            return picture(found.id, cell, library)
        return None

    report = report_of(found, scorer or first_scorer(found), image)
    for kind in kinds:
        if kind == "geneval":
            for lane in found.study.lanes:
                folder = to / "geneval" / lane.key if len(found.study.lanes) > 1 else to / "geneval"
                write_geneval(found, lane.key, library, folder)
                say(str(folder))
            continue
        path = to / bench_file_name(kind, report)
        write_file(path, export_bench(kind, report), overwrite)
        say(str(path))


def _run(
    bench: Bench,
    backends: Backends,
    library: Library,
    reuse: bool,
    anyway: bool,
    yes: bool,
    level: float,
    as_json: bool,
) -> None:
    """Make what is left of a bench and judge it, under a bar; then count, and say what failed."""
    from diffatlas.bench.bench import HAND
    from diffatlas.bench.running import run_bench
    from diffatlas.bench.session import open_bench
    from diffatlas.capture.spec import Capture
    from diffatlas.studies.paid import paid_of_study
    from diffatlas.studies.run import Stops

    backends.check_used_by([lane.backend for lane in bench.study.lanes])
    capture = Capture.from_dict(bench.study.spec.get("capture") or {})
    served_by = library if reuse else None
    confirm_paid(paid_of_study(backends, bench.study, capture, served_by), yes)
    runs_here = any(lane.backend == "local" for lane in bench.study.lanes)
    with interrupt_sets() as stop:
        if runs_here or not {HAND, "shapes"}.issuperset(bench.scorers):
            quieten()
        if runs_here and not anyway:
            ask.study_within_bounds(backends("local"), bench.study, capture, served_by, stop)
        say(f"Bench {bench.id}: {bench.title}")
        events = run_bench(bench, backends, library, capture, stops=Stops(stop), reuse=reuse)
        with closing(events):
            failures = _follow(bench, events)
    bench = open_bench(bench.id, library)
    _show(bench, None, True, level, as_json)
    say_made(bench.study)
    if stop.is_set():
        say(f"Stopped. `diffatlas bench resume {bench.id}` makes the rest.")
        raise KeyboardInterrupt
    failed = [cell for cell in bench.study.cells if cell.status == "failed"]
    if failed:
        message = (failed[0].error or {}).get("message") or "The image failed."
        failures.append(f"{message} {len(failed)} of {len(bench.study.cells)} images failed.")
    if failures:
        raise BackendFailure(" ".join(failures))


def _follow(bench: Bench, events: Iterable[BenchEvent]) -> list[str]:
    """Show what happens on a bar, and what lanes say on lines of their own; return what scorers failed with."""
    from diffatlas.bench.bench import HAND
    from diffatlas.bench.judging import Scored, ScorerChanged
    from diffatlas.studies.run import CellEnded, CellWaits, LaneChanged

    cells = bench.study.cells
    judges = [name for name in bench.scorers if name != HAND]
    left = sum(cell.status != "complete" for cell in cells)
    made = judged = 0
    failures: list[str] = []
    lines = LaneWords(anew=False)
    with showing_progress() as show_share:
        for event in events:
            if isinstance(event, CellEnded):
                made += 1
            elif isinstance(event, Scored):
                judged += len(event.judgements)
            elif isinstance(event, ScorerChanged) and event.status == "failed":
                failures.append(f"{event.scorer}: {event.message}")
            elif isinstance(event, CellWaits):
                lines.lane(f"{event.key.partition('-')[0]}: {wait_words(event)}")
            elif isinstance(event, LaneChanged) and event.message:
                lines.lane(f"{event.key}: {event.message}")
            words = f"{made} of {left} images made" + (f", {judged} verdicts" if judges else "")
            show_share(made / max(left, 1), words)
    return failures


def _show(bench: Bench, scorers: Sequence[str] | None, by_hand: bool, level: float, as_json: bool) -> None:
    """Print what is counted of a bench, lane by lane and scorer by scorer."""
    from diffatlas.bench.bench import HAND, judged
    from diffatlas.bench.counted import count

    wanted = scorers or [name for name in bench.scorers if name != HAND] or [HAND]
    for scorer in wanted:
        for lane in bench.study.lanes:
            found = judged(bench, scorer, lane.key, by_hand)
            if not found:
                say(f"{lane.name or lane.key}: no images yet.")
                continue
            if not as_json:
                say(f"{lane.name or lane.key}, judged by {scorer}")
            show_counted(count(found, level), found, as_json, bench.cards.get(scorer))
