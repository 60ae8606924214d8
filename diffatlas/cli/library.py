"""The commands that deal with the library: runs, mark, trash, restore, replay, dataset."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas.cli.output import follow, interrupt_sets, print_table, quieten, showing_progress, text
from diffatlas.errors import InvalidParams, RunNotFound

if TYPE_CHECKING:
    from diffatlas.events import Event
    from diffatlas.library import Library
    from diffatlas.operations.replay import ReplayReport

commands = typer.Typer()
datasets = typer.Typer(help="Share runs as a Hugging Face dataset.", no_args_is_help=True)

RunId = Annotated[str, typer.Argument(metavar="RUN", help="An id of `diffatlas runs`.")]
RunIds = Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids of `diffatlas runs`.")]

#: Sorted from the smallest; the others from the newest or largest.
_ASCENDING = ("name", "prompt", "model", "seed")


@commands.command()
def runs(
    looked_for: Annotated[
        str, typer.Argument(metavar="TEXT", help="Words of the prompt, name, note, tags, model or id.")
    ] = "",
    model: Annotated[str | None, typer.Option(help="Runs of this model only.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Runs with this tag only; may be repeated.")] = None,
    attention: Annotated[
        str | None,
        typer.Option(help="any, cross, self or all: runs with this attention only; none: those without."),
    ] = None,
    sort: Annotated[
        str, typer.Option(help="created, name, prompt, model, seed, steps, bytes or used.")
    ] = "created",
    limit: Annotated[int | None, typer.Option(help="How many at most. Default: all.")] = None,
    trashed: Annotated[bool, typer.Option("--trashed", help="List the trash instead.")] = False,
) -> None:
    """List the runs of the library, newest first, or those that fit."""
    from diffatlas.library.store import Library

    library = Library()
    if trashed:
        found = library.trashed()
    else:
        found = library.search(
            looked_for,
            model=model,
            tags=tag or (),
            attention=_attention(attention),
            sort=sort,
            descending=sort not in _ASCENDING,
            limit=limit,
        ).runs
    rows = [
        (
            info.id,
            info.status,
            f"{info.steps}/{text(info.total_steps)}" if info.steps or info.total_steps else "",
            info.model,
            text(info.seed),
            info.prompt or (info.error or "" if info.status == "damaged" else ""),
            info.name,
            ", ".join(info.tags),
            "locked" if info.locked else "",
            info.attention,
        )
        for info in found
    ]
    print_table(
        ("Run", "Status", "Steps", "Model", "Seed", "Prompt", "Name", "Tags", "Kept", "Attention"), rows
    )


@commands.command()
def mark(
    run: RunId,
    name: Annotated[str | None, typer.Option(help="What to call it; '' for no name.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="Tags instead of those it has; may be repeated, '' for none.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="A note; '' for none.")] = None,
    lock: Annotated[
        bool | None, typer.Option("--lock/--unlock", help="Whether it stays when room is made.")
    ] = None,
) -> None:
    """Name, tag, note or lock a run."""
    from diffatlas.library.store import Library

    if name is tag is note is lock is None:
        raise InvalidParams("Say what to mark: --name, --tag, --note, --lock or --unlock.")
    print(Library().mark(run, name=name, tags=tag, note=note, locked=lock).id)


@commands.command()
def trash(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID...", help="Ids of runs, studies and benches, as each list has them."),
    ] = None,
    shown: Annotated[
        bool, typer.Option("--list", help="List what is in the trash, and when it goes.")
    ] = False,
    for_good: Annotated[
        bool, typer.Option("--for-good", help="Delete these for good: they must be in the trash.")
    ] = False,
    empty: Annotated[bool, typer.Option("--empty", help="Delete what is in the trash, for good.")] = False,
) -> None:
    """Move runs, studies and benches to the trash, from which `restore` brings them back."""
    from diffatlas.library.store import Library

    if [bool(ids), shown, empty].count(True) != 1 or (for_good and not ids):
        raise InvalidParams(
            "Name what to move to the trash, or give --list or --empty alone; --for-good deletes what you name."
        )
    library = Library()
    if shown:
        return _list_trash(library)
    if not empty:
        for one in dict.fromkeys(ids):
            _put_away(library, one, for_good)
            print(one)
        return None
    held = library.in_trash()
    gone = library.empty_trash()
    for one in gone:
        print(one)
    freed = sum(each.bytes for each in held if each.id in gone)
    print(f"{len(gone)} deleted for good, {freed / 1e6:.1f} MB are free.", file=sys.stderr)
    return None


def _list_trash(library: Library) -> None:
    rows = [
        (one.id, one.kind, one.deleted[:16].replace("T", " "), f"{one.bytes / 1e6:.1f}", _title(one.info))
        for one in library.in_trash()
    ]
    print_table(("Id", "Kind", "Deleted (UTC)", "MB", "Prompt or title"), rows)
    seconds = library.trash_seconds
    kept = "until it is deleted" if seconds is None else f"for {seconds // 86_400} days"
    print(f"What is deleted is kept {kept}: `diffatlas restore ID` brings it back.", file=sys.stderr)


def _title(info: Any) -> str:
    return getattr(info, "title", "") or getattr(info, "name", "") or getattr(info, "prompt", "")


def _put_away(library: Library, one: str, for_good: bool) -> None:
    """Trash a run, study or bench, or delete one in the trash."""
    acts = (
        (library.delete_trashed, library.studies.deleted.delete, library.benches.deleted.delete)
        if for_good
        else (library.trash, library.studies.trash, library.benches.trash)
    )
    _first_that_has(acts, one)


def _first_that_has(acts: Sequence[Callable[[str], None]], one: str) -> None:
    """Do it with a run, a study or a bench, whichever has the id."""
    absent = []
    for act in acts:
        try:
            return act(one)
        except RunNotFound as error:
            absent.append(error)
    # Of these answers, the one on runs says where to look.
    raise absent[0]


@commands.command()
def restore(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of `diffatlas trash --list`.")],
) -> None:
    """Bring runs, studies and benches back from the trash (`diffatlas trash --list`)."""
    from diffatlas.library.store import Library

    library = Library()
    for one in dict.fromkeys(ids):
        _first_that_has((library.restore, library.studies.restore, library.benches.restore), one)
        print(one)


@commands.command()
def replay(
    run: RunId,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, fp32, fp16 or bf16.")] = None,
) -> None:
    """Run a stored run again, and say whether the same comes out.

    Nothing is recorded. The exit code is 1 where the result is different.
    """
    from diffatlas.backends import open_backend
    from diffatlas.formats.compared import machine
    from diffatlas.library.store import Library
    from diffatlas.operations.replay import ReplayReport
    from diffatlas.operations.replay import replay as replayed

    reports: list[ReplayReport] = []

    def events_of(both: Generator[Event | ReplayReport, None, None]) -> Generator[Event, None, None]:
        try:
            for event in both:
                if isinstance(event, ReplayReport):
                    reports.append(event)
                else:
                    yield event
        finally:
            both.close()

    with interrupt_sets() as stop:
        backend = open_backend("local", device=device, dtype=dtype)
        again = replayed(Library(), run, backend, stop)
        quieten()
        follow(events_of(again))
    (report,) = reports
    print(report.sentence)
    changed = machine(report.environment, "the stored run", "the replay")
    for sentence in changed.sentences:
        print(sentence)
    if changed.rows:
        print_table(("Environment", "Then", "Now"), [(row.name, row.a, row.b) for row in changed.rows])
    if report.verdict == "stopped":
        raise KeyboardInterrupt
    if report.verdict == "different":
        raise typer.Exit(1)


@datasets.command("export")
def export_dataset(
    run_ids: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Ids of `diffatlas runs`.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder to write: absent or empty.")] = None,
    study: Annotated[
        list[str] | None,
        typer.Option(
            help="A study of `diffatlas studies` that goes along, with its runs; may be repeated, '' for none. "
            "Default: those whose runs are all named."
        ),
    ] = None,
    attention: Annotated[
        bool | None,
        typer.Option(
            "--attention/--no-attention", help="Whether attention goes along. Default: where runs have it."
        ),
    ] = None,
    per: Annotated[str, typer.Option(help="run for a row per run, step for a row per state.")] = "run",
    licence: Annotated[
        str, typer.Option("--licence", "--license", help="For the card: cc-by-4.0, cc0-1.0, mit, ...")
    ] = "cc-by-4.0",
    title: Annotated[str, typer.Option(help="The name that the card shows.")] = "",
    size: Annotated[bool, typer.Option("--size", help="Say what it would take, and write nothing.")] = False,
) -> None:
    """Write runs as a dataset, which `datasets.load_dataset` reads and `import` makes runs of again."""
    from diffatlas.formats.dataset.size import dataset_size
    from diffatlas.formats.dataset.studies import with_runs_of
    from diffatlas.formats.dataset.write import check_asked
    from diffatlas.library.store import Library

    library = Library()
    studies = None if study is None else [one for one in study if one]
    if to is None and not size:
        raise InvalidParams("Say which folder to write: --to DIR. --size only says what it would take.")
    if to is not None:
        check_asked(to.expanduser(), run_ids or [], per, licence, studies)
    said = dataset_size(library, with_runs_of(library, run_ids or [], studies or []))
    print(said.sentence_with(attention is not False), file=sys.stderr)
    if size:
        return
    with showing_progress() as progress:
        folder = library.export_dataset(
            to,
            run_ids or [],
            per=per,
            attention=attention,
            studies=studies,
            licence=licence,
            title=title,
            progress=progress,
        )
    print(folder)


@datasets.command("import")
def import_dataset(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder, user/name on the Hub, or (in a checkout) how-it-learned."
        ),
    ],
    max_gb: Annotated[
        float | None, typer.Option(help="The most that it may take, in GB.", min=0, show_default="4")
    ] = None,
) -> None:
    """Make runs and studies of a dataset; those that are in the library already stay as they are."""
    from diffatlas.formats.dataset.read import LIMIT_BYTES, import_all
    from diffatlas.library.store import Library

    if max_gb is not None and not math.isfinite(max_gb):
        raise InvalidParams("The most that a dataset may take is a number of GB.", field="max_gb")
    limit = LIMIT_BYTES if max_gb is None else round(max_gb * 1e9)
    with showing_progress() as progress:
        new = import_all(Library(), source, limit_bytes=limit, progress=progress)
    for run_id in new.runs:
        print(run_id)
    for study_id in new.studies:
        print(f"The study {study_id} came with them: `diffatlas studies` lists it.", file=sys.stderr)
    if not new.runs and not new.studies:
        print("All of its runs are in the library already.", file=sys.stderr)


@datasets.command("push")
def push_dataset(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `dataset export` wrote.")],
    to: Annotated[str, typer.Option(metavar="USER/NAME", help="Where it goes on the Hub.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it.")] = False,
) -> None:
    """Put a dataset on the Hugging Face Hub, private by default.

    The token is that of HF_TOKEN, or of `hf auth login`. A second call goes on where one broke off.
    """
    from diffatlas.formats.dataset.hub import push

    # No token here: a command line is seen by others, and kept in a history.
    with showing_progress() as progress:
        address = push(folder, to, token=None, private=not public, progress=progress)
    print(address)


def _attention(asked: str | None) -> bool | str | None:
    """Return what a search asks of attention."""
    from diffatlas.library.format import ATTENTION

    if asked is not None and asked not in (*ATTENTION, "any", "none"):
        raise InvalidParams(
            f"Runs cannot be looked for by attention {asked!r}: give any, {', '.join(ATTENTION)} or none.",
            field="attention",
        )
    return {"any": True, "none": False}.get(asked, asked)
