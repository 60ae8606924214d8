"""The command that writes a bench of the library to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffatlas import files
from diffatlas.cli.bench import LEVEL, OVERWRITE
from diffatlas.cli.bench_runs import ID, commands
from diffatlas.errors import InvalidParams

if TYPE_CHECKING:
    from diffatlas.formats.bench_kinds import BenchKind


@commands.command()
def export(
    bench: ID,
    to: Annotated[
        Path | None,
        typer.Option(help="File to write: .csv, -rates.csv, .json or .pdf. Default: a report here."),
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(help="Whose verdicts. Default: the first that judged it.")
    ] = None,
    level: Annotated[float, LEVEL] = 0.95,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Write a bench: a row per image or per category (CSV), all of it (JSON), or a report to read (PDF)."""
    from diffatlas.bench.bench import first_scorer
    from diffatlas.bench.kept import Benches
    from diffatlas.bench.pictures import pictures
    from diffatlas.bench.session import open_bench
    from diffatlas.formats.bench_kinds import bench_file_name, export_bench
    from diffatlas.formats.bench_report import report_of
    from diffatlas.library.format import write_atomically
    from diffatlas.library.store import Library

    library = Library()
    found = open_bench(bench, library)
    benches = Benches(library.folder)
    report = report_of(
        found,
        scorer or first_scorer(found),
        lambda cell: pictures(found.id, [cell], library, benches).get(cell.key),
        level,
    )
    kind = _kind(to)
    path = to or Path(bench_file_name(kind.key, report))
    if path.exists() and not overwrite:
        raise InvalidParams(f"{path} is there already: name another file, or add --overwrite.", field="to")
    data = export_bench(kind.key, report)
    try:
        write_atomically(path, data)
    except OSError as error:
        raise InvalidParams(f"{path} cannot be written: {files.reason_of(error)}.", field="to") from error
    typer.echo(str(path))


def _kind(to: Path | None) -> BenchKind:
    """The kind of file that an ending stands for: of two the longer."""
    from diffatlas.formats.bench_kinds import BENCH_KINDS

    if to is None:
        return BENCH_KINDS["pdf"]
    fitting = [kind for kind in BENCH_KINDS.values() if to.name.endswith(kind.suffix)]
    if not fitting:
        endings = ", ".join(kind.suffix for kind in BENCH_KINDS.values())
        raise InvalidParams(f"{to.name}: a bench is written as {endings}.", field="to")
    return max(fitting, key=lambda kind: len(kind.suffix))
