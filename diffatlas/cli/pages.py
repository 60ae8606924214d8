"""``diffatlas app``: the pages, for oneself or for a room."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffatlas.errors import BackendFailure, InvalidParams

if TYPE_CHECKING:
    from diffatlas.ui.invitation import Invitation

commands = typer.Typer(add_completion=False)
MODES = ("shared", "personal")


@commands.command()
def app(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for others on the same network.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port. Default: the first free one from 7860.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    mcp: Annotated[
        bool | None, typer.Option("--mcp", help="Be an MCP server too: agents call it at /mcp.")
    ] = None,
    share: Annotated[
        bool,
        typer.Option("--share", help="Make a public link through Gradio's server. The mode is then shared."),
    ] = False,
    mode: Annotated[
        str | None,
        typer.Option(help="shared: each visitor has a library of their own; personal: all have yours."),
    ] = None,
    auth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who may come in: a file with name:password a line. DIFFATLAS_AUTH does the same, without a file.",
        ),
    ] = None,
    workshop: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Pages, models, presets, lessons and values, as a teacher fixes them."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The address to give out, where it is not this machine's: behind a proxy."
        ),
    ] = None,
) -> None:
    """Start the app, and show its address as a QR code where others can reach it."""
    from diffatlas.settings import is_shared
    from diffatlas.ui.invitation import check_address
    from diffatlas.ui.sign_in import accounts
    from diffatlas.ui.workshop.held import held

    if mode is not None and mode not in MODES:
        raise InvalidParams(f"There is no mode {mode!r}: give {' or '.join(MODES)}.", field="mode")
    if mode is None and share and os.environ.get("DIFFATLAS_MODE", "auto") == "auto":
        # Strangers come by such a link.
        mode = "shared"
    given = {"MODE": mode, "WORKSHOP": workshop, "ADDRESS": address and check_address(address)}
    os.environ.update({f"DIFFATLAS_{name}": str(value) for name, value in given.items() if value is not None})
    # What is wrong with these is said at once: the rest takes seconds to load.
    held()
    signed_in = accounts(auth)

    from diffatlas.ui.app import invitation_to, launch

    quiet = contextlib.redirect_stdout(io.StringIO()) if share else contextlib.nullcontext()
    options = {"server_name": host, "server_port": port, "inbrowser": browser, "share": share, "mcp": mcp}
    with quiet:
        served = launch(signed_in=signed_in, prevent_thread_lock=True, **options)
    invited = invitation_to(served)
    if share and not served.share_url:
        _no_link(invited, served)
    if share:
        print(f"Diffusion Atlas is at {served.local_url}", flush=True)
    _invite(invited, is_shared(), signed_in is not None)
    served.block_thread()


def _no_link(invited: Invitation, served: object) -> None:
    """Say that there is no link. Raises `BackendFailure` where nobody else reaches the app either."""
    problem = "No share link could be made: it needs the internet, and at first a download of Gradio's program frpc."
    if invited.address:
        print(f"warning: {problem} The app is served without it.", file=sys.stderr, flush=True)
        return
    served.close(verbose=False)  # type: ignore[attr-defined]
    raise BackendFailure(
        f"{problem} On the same network, start with --host 0.0.0.0 in place of --share: it prints the address to give "
        "out."
    )


def _invite(invited: Invitation, shared: bool, signed_in: bool) -> None:
    from diffatlas.ui.invitation import terminal_code

    if not invited.address:
        print(invited.words, flush=True)
        return
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(f"\n{terminal_code(invited.address, colours)}\n{invited.address}\n{invited.words}", flush=True)
    if not shared:
        print(
            "warning: all who come have your library, and the keys of your environment: add --mode shared for each to "
            "have their own.",
            file=sys.stderr,
            flush=True,
        )
    if not signed_in:
        print("Everybody who has the address comes in; --auth asks for a name and a password.", flush=True)
