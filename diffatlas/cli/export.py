"""The commands that write runs to files and read what others wrote: export, validate, import."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas.cli.output import print_table, showing_progress
from diffatlas.errors import InvalidParams

if TYPE_CHECKING:
    from diffatlas.formats.named import Named
    from diffatlas.formats.static.write import Plan
    from diffatlas.library import Library

commands = typer.Typer()
STATIC, SITE = "static", "site"


@commands.command()
def export(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN_ID...", help="Ids of `diffatlas runs`.")],
    to: Annotated[
        Path | None,
        typer.Option(
            help="File to write, whose ending says what; with --format static or site a folder. Default: one here."
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="csv, json, npz, safetensors, pdf, svg, png, gif, mp4, html, zip, static or site.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Replace the file or static folder that --to names.")
    ] = False,
    resolution: Annotated[
        int | None, typer.Option(help="static: longest side of word maps, in cells.")
    ] = None,
    self_resolution: Annotated[
        int | None, typer.Option(help="static: longest side of the grid of places, in cells.")
    ] = None,
    layers: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="static: which layers; may be repeated.")
    ] = None,
    max_layers: Annotated[
        int | None, typer.Option(help="static: at most so many of each kind, over the whole depth.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="static: float16, or float32 with --allow-float32.")
    ] = None,
    allow_float32: Annotated[
        bool,
        typer.Option("--allow-float32", help="static: float32, though the contract's validator refuses it."),
    ] = False,
    npz: Annotated[bool | None, typer.Option("--npz/--no-npz", help="static: with the latents.")] = None,
    attention: Annotated[
        bool | None, typer.Option("--attention/--no-attention", help="static: with the maps.")
    ] = None,
    image: Annotated[int | None, typer.Option(help="static: which image of a batch, from 0.")] = None,
    max_mb: Annotated[
        float | None,
        typer.Option(
            help="static: what it should take at most, in MB; 200, as in the contract, if not given."
        ),
    ] = None,
    enforce: Annotated[bool, typer.Option("--enforce", help="static: write nothing over --max-mb.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="static: tell the sizes, write nothing.")
    ] = False,
) -> None:
    """Write runs of the library to one file: tables, arrays, report, film, movie, page; or to a folder or a site."""
    from diffatlas.library.store import Library

    asked = {
        "resolution": resolution,
        "self_resolution": self_resolution,
        "layers": tuple(layers) if layers else None,
        "max_layers": max_layers,
        "dtype": dtype,
        "allow_float32": allow_float32 or None,
        "npz": npz,
        "attention": attention,
        "image": image,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    ids = list(dict.fromkeys(run_ids))
    if kind == STATIC:
        _export_static(Library(), ids, to, asked, overwrite, max_mb, enforce, dry_run)
        return
    given = [
        *asked,
        *(n for n, on in (("max_mb", max_mb is not None), ("enforce", enforce), ("dry_run", dry_run)) if on),
    ]
    if given:
        option = "--" + given[0].replace("_", "-")
        raise InvalidParams(
            f"{option} is of the static folder: add --format static, or leave it out.", field=given[0]
        )
    _export_file(Library(), ids, to, kind, overwrite)


def _export_file(
    library: Library, ids: Sequence[str], to: Path | None, kind: str | None, overwrite: bool
) -> None:
    from diffatlas.formats.files import kind_of, write_named
    from diffatlas.formats.kinds import KINDS, file_name

    if kind == SITE:
        from diffatlas.formats.html.site import write_site

        print(write_site(_named(library, ids), to or Path("diffatlas-site"), overwrite, "--overwrite"))
        return
    if to is None and kind is None:
        raise InvalidParams("Name the file to write with --to, or what to write with --format.", field="to")
    if kind is not None and kind not in KINDS:
        raise InvalidParams(
            f"There is no format {kind!r}: use one of {', '.join(KINDS)}, {STATIC}, {SITE}.", field="format"
        )
    found = KINDS[kind] if kind else kind_of(to, ", or say --format")
    if found.most is not None and len(ids) > found.most:
        shows, wanted = (
            ("one run", "the one") if found.most == 1 else ("two runs beside each other", "the two")
        )
        example = f"diffatlas export {' '.join(ids[: found.most])} --format {found.key}"
        raise InvalidParams(
            f"{found.label} shows {shows}, and {len(ids)} were named: name {wanted}, as in `{example}`.",
            field="run_ids",
        )
    runs = _named(library, ids)
    print(write_named(found, runs, to or Path(file_name(found.key, runs)), overwrite, "--overwrite"))


def _export_static(
    library: Library,
    ids: Sequence[str],
    to: Path | None,
    asked: dict[str, Any],
    overwrite: bool,
    max_mb: float | None,
    enforce: bool,
    dry_run: bool,
) -> None:
    from diffatlas.formats.static.contract import LARGE
    from diffatlas.formats.static.write import Options, check_target, plan, write

    if len(ids) != 1:
        raise InvalidParams(f"A static folder holds one run, not {len(ids)}: name one.", field="run_ids")
    keep = [library.folder]
    to = to or Path(f"diffatlas-{ids[0]}")
    if not dry_run:
        check_target(to, overwrite, keep)
    planned = plan(library.load(ids[0]), Options(**asked))
    _print_plan(planned)
    max_mb = LARGE / 1e6 if max_mb is None else max_mb
    if planned.bytes > 1e6 * max_mb:
        sentence = (
            f"The folder takes {planned.bytes / 1e6:.1f} MB, {planned.bytes / 1e6 - max_mb:.1f} over the limit of"
            f" {max_mb:g}: lower --resolution, --self-resolution or --max-layers, or leave out --npz."
        )
        if enforce:
            raise InvalidParams(sentence, field="max_mb")
        print(sentence, file=sys.stderr)
    if not dry_run:
        print(write(planned, to, overwrite, keep))


def _print_plan(planned: Plan) -> None:
    rows = [(part, str(count), f"{size:,}") for part, (count, size) in planned.by_part().items()]
    print_table(("Part", "Files", "Bytes"), [*rows, ("total", str(len(planned.files)), f"{planned.bytes:,}")])


@commands.command()
def validate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A static run folder.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="Count bare NaN, empty lists and 200 MB too.")
    ] = False,
) -> None:
    """Check a static run folder. The exit code is 1 where it is not valid."""
    from diffatlas.formats.static.check import check_folder

    report = check_folder(folder)
    for problem in report.problems:
        kind = "" if problem.severe or strict else " (allowed unless strict)"
        print(f"{problem.where}: {problem.what}{kind}")
    valid = report.valid(strict)
    told = f"{report.checked} maps of attention, {report.bytes / 1e6:.1f} MB"
    print(f"{'valid' if valid else 'not valid'}: {told}")
    if not valid:
        raise typer.Exit(1)


@commands.command(name="import")
def import_source(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A static run folder, runs that were exported, a dataset; a zip of these; its https:// address; "
            "or user/name on the Hub.",
        ),
    ],
) -> None:
    """Make runs of a folder, a zip, an address on the web or a dataset; gaps in them stay gaps, and are told."""
    from diffatlas.library.store import Library

    with showing_progress() as progress:
        done = Library().import_runs(source, progress=progress)
    for note in done.notes:
        print(note, file=sys.stderr)
    if not done.new and not done.studies:
        print("It is in the library already.", file=sys.stderr)
    for one in (*done.run_ids, *done.studies):
        print(one)


def _named(library: Library, run_ids: Sequence[str]) -> list[Named]:
    """Return runs under their names or prompts, or under their ids where those do not tell them apart."""
    from diffatlas.formats.named import Named
    from diffatlas.look import LAYERS

    infos = [library.open(run_id).info for run_id in run_ids]
    titles = [" ".join((info.name or info.prompt).split())[:80] for info in infos]
    return [
        Named(
            title if title and titles.count(title) == 1 else run_id,
            library.load(run_id),
            LAYERS[number % len(LAYERS)],
        )
        for number, (run_id, title) in enumerate(zip(run_ids, titles, strict=True))
    ]
