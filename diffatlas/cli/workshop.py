"""``diffatlas workshop``: a teacher's file, looked at before it is held."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at the file of a workshop.")


@commands.callback()
def workshop() -> None:
    """Look at the file of a workshop."""


@commands.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A workshop, as docs/workshop.yaml is one.")],
) -> None:
    """Say whether a workshop's file is right, and what it does."""
    from diffatlas.ui.workshop.reading import read_workshop
    from diffatlas.ui.workshop.words import workshop_lines

    for line in workshop_lines(read_workshop(file)):
        typer.echo(line)
