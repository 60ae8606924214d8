"""``diffatlas serve``: let other Atlases run models here, without a page."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

commands = typer.Typer()


@commands.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than this machine's own needs DIFFATLAS_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 8421,
) -> None:
    """Let other Atlases run models on this machine, without a page.

    They name this one by its address (DIFFATLAS_REMOTE_URL) and, where DIFFATLAS_TOKEN is set here, by that token
    (DIFFATLAS_REMOTE_TOKEN there).
    """
    from diffatlas.cli.output import quieten
    from diffatlas.serving.server import Server
    from diffatlas.settings import is_shared
    from diffatlas.ui.turns import MOST_IN_ALL, MOST_WAITING, Turns

    server = Server(host, port, Turns(most=MOST_WAITING if is_shared() else None, in_all=MOST_IN_ALL))
    asks = "a token is asked for" if server.asks else "for programs of this machine, without a token"
    print(f"Diffusion Atlas serves runs at {server.url}: {asks}.", file=sys.stderr, flush=True)
    quieten()
    server.run()
    # Ctrl-C alone ends it. A process that was started with that signal ignored hears of it here only.
    raise KeyboardInterrupt
