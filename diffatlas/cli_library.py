"""The commands that deal with the library: runs, mark, trash, restore, compare, replay, dataset."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas.cli_output import follow, interrupt_sets, print_table, quieten, showing_progress, text
from diffatlas.errors import InvalidParams

if TYPE_CHECKING:
    from diffatlas.events import Event
    from diffatlas.library.difference import ImageDifference, PathDifference
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
            f"{info.steps}/{text(info.total_steps)}",
            info.model,
            text(info.seed),
            info.prompt,
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
    run_ids: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Ids of `diffatlas runs`.")
    ] = None,
    empty: Annotated[bool, typer.Option("--empty", help="Delete what is in the trash, for good.")] = False,
) -> None:
    """Move runs to the trash, from which `restore` brings them back."""
    from diffatlas.library.store import Library

    if bool(run_ids) == empty:
        raise InvalidParams("Name the runs to move to the trash, or give --empty alone.")
    library = Library()
    if empty:
        run_ids = library.empty_trash()
    else:
        for run_id in dict.fromkeys(run_ids):
            library.trash(run_id)
    for run_id in dict.fromkeys(run_ids):
        print(run_id)


@commands.command()
def restore(run_ids: RunIds) -> None:
    """Bring runs back from the trash (`diffatlas runs --trashed`)."""
    from diffatlas.library.store import Library

    library = Library()
    for run_id in dict.fromkeys(run_ids):
        library.restore(run_id)
        print(run_id)


@commands.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="An id of `diffatlas runs`.")],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another one.")],
) -> None:
    """Show what differs between two runs: parameters, environment, images and path."""
    from diffatlas.library.difference import difference
    from diffatlas.library.store import Library

    library = Library()
    found = difference(library.open(first), library.open(second))
    rows = [*_rows(found.params), *_rows(found.environment)]
    for number, image in enumerate(found.images):
        rows.append((f"image {number}", _image_words(image), ""))
    rows.append(("path", _path_words(found.path), ""))
    print_table(("What", first, second), rows)


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
    if report.environment:
        print_table(("Environment", "Then", "Now"), _rows(report.environment))
    if report.verdict == "stopped":
        raise KeyboardInterrupt
    if report.verdict == "different":
        raise typer.Exit(1)


@datasets.command("export")
def export_dataset(
    run_ids: RunIds,
    to: Annotated[Path, typer.Option(help="Folder to write: absent or empty.")],
    per: Annotated[str, typer.Option(help="run for a row per run, step for a row per state.")] = "run",
    licence: Annotated[
        str, typer.Option("--licence", "--license", help="For the card: cc-by-4.0, cc0-1.0, mit, ...")
    ] = "cc-by-4.0",
    title: Annotated[str, typer.Option(help="The name that the card shows.")] = "",
) -> None:
    """Write runs as a dataset, which `datasets.load_dataset` reads and `import` makes runs of again."""
    from diffatlas.library.store import Library

    with showing_progress() as progress:
        folder = Library().export_dataset(
            to, run_ids, per=per, licence=licence, title=title, progress=progress
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
) -> None:
    """Make runs of a dataset; those that are in the library already stay as they are."""
    from diffatlas.library.store import Library

    with showing_progress() as progress:
        new = Library().import_dataset(source, progress=progress)
    for run_id in new:
        print(run_id)
    if not new:
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
    from diffatlas.library.hub import push

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


def _rows(pairs: dict[str, tuple[Any, Any]]) -> list[tuple[str, str, str]]:
    return [(name, _value(a), _value(b)) for name, (a, b) in pairs.items()]


def _value(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else str(value)


def _image_words(image: ImageDifference) -> str:
    if image.identical:
        return "identical"
    if math.isinf(image.maximum):
        return "cannot be compared: another size, or only one run has it"
    return f"differs by {image.mean_absolute:.3g} of 255 levels on average, {image.maximum:g} at most"


def _path_words(path: PathDifference | None) -> str:
    if path is None:
        return "cannot be compared step by step"
    if path.identical:
        return "identical"
    if path.first_step is None:
        return f"identical as far as both go, {len(path.distances) - 1} steps"
    return f"apart from state {path.first_step}, by {path.relative:.3g} of the state's norm at most"
