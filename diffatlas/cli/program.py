"""The shell: ``diffatlas trace``, and what `app`, `models`, `export`, `library`, `compare`, `attention` and
`study` add.

Exit codes: 0 done; 1 a replay that came out different, or a folder that is not valid; 2 an error, one line on stderr
(steps that had arrived are kept); 130 Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from diffatlas.backends.threads import compute_small_models_with_one
from diffatlas.cli import (
    attention,
    backends,
    bench_runs,
    compare,
    export,
    lab,
    library,
    models,
    pages,
    serve,
    space,
    study,
    workshop,
)
from diffatlas.cli import request as ask
from diffatlas.cli.opened import close_all
from diffatlas.cli.output import follow, interrupt_sets, quieten, quieten_imports
from diffatlas.cli.running import Backends, confirm_paid
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.waiting_threads import let_threads_sleep

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
# Commands beside those of this module; `models`, `dataset`, `lab` and `bench` are groups of their own.
app.add_typer(export.commands)
app.add_typer(library.commands)
app.add_typer(compare.commands)
app.add_typer(attention.commands)
app.add_typer(study.commands)
app.add_typer(serve.commands)
app.add_typer(pages.commands)
app.add_typer(models.commands, name="models")
app.add_typer(backends.commands, name="backends")
app.add_typer(space.commands, name="space")
app.add_typer(library.datasets, name="dataset")
app.add_typer(lab.commands, name="lab")
app.add_typer(bench_runs.commands, name="bench")
app.add_typer(workshop.commands, name="workshop")


def _say_version(wanted: bool) -> None:
    if wanted:
        from diffatlas import __version__

        typer.echo(f"Diffusion Atlas {__version__}")
        raise typer.Exit


@app.callback()
def begin(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and end."),
    ] = False,
) -> None:
    """See how a diffusion model makes an image."""


@app.command()
@ask.takes_request(single=True)
def trace(
    asked: ask.Request,
    backend: ask.Backend = "local",
    image: ask.StartImage = None,
    mask: ask.Mask = None,
    strength: ask.Strength = None,
    previews: ask.Previews = "every",
    preview_decoder: Annotated[
        str, typer.Option(help="linear (nearly free) or vae (the real decoder).")
    ] = "linear",
    preview_size: Annotated[int | None, typer.Option(help="Longest side of a preview in pixels.")] = None,
    attention: ask.Attention = "off",
    attention_layers: ask.AttentionLayers = None,
    attention_max_layers: ask.AttentionMaxLayers = None,
    attention_every: ask.AttentionEvery = None,
    attention_heads: ask.AttentionHeads = None,
    attention_halves: ask.AttentionHalves = None,
    attention_resolution: ask.AttentionResolution = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write the run to. Default: a new run in the library.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the run that --out holds.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Run even where the library has this run already.")
    ] = False,
    anyway: ask.Anyway = False,
    yes: ask.Yes = False,
    device: ask.Device = None,
    dtype: ask.Dtype = None,
    ignore_memory: ask.IgnoreMemory = False,
) -> None:
    """Generate an image and record the path that leads to it.

    Ctrl-C stops the denoiser and keeps the steps so far. A run that the library has already is not run again,
    unless --again or --out is given.
    """
    params = ask.pictures(ask.request(asked, backend), image, mask, strength, backend).validate()
    watched = ask.attention(
        attention,
        attention_layers,
        attention_max_layers,
        attention_every,
        attention_heads,
        attention_halves,
        attention_resolution,
    )
    capture = replace(
        ask.capture(previews), preview_decoder=preview_decoder, preview_size=preview_size, **watched
    )

    from diffatlas.library.store import Library, record_into
    from diffatlas.operations.paid import paid_of
    from diffatlas.operations.trace import stream

    backends = Backends(device, dtype, ignore_memory)
    backends.check_used_by([backend])
    with interrupt_sets() as stop:
        here = backend == "local"
        runs_on = backends(backend)
        params = runs_on.resolve(params) if hasattr(runs_on, "resolve") else params
        library = Library()
        served_by = library if out is None and not again else None
        if here:
            quieten()
            if not anyway:
                ask.within_bounds(runs_on, params, capture, served_by, stop)
        else:
            confirm_paid(paid_of(runs_on, [params], capture, served_by), yes)
        if out is not None:
            _clear(out, overwrite)
        if here and sys.stderr.isatty():
            print("Loading...", end="\r", file=sys.stderr, flush=True)
        if out is not None:
            events = record_into(out, stream(params, capture, runs_on, None, stop))
        else:
            events = stream(params, capture, runs_on, library, stop, reuse=not again)
        run_id = follow(events)
    folder = out if out is not None else library.folder / run_id if run_id else None
    if folder is not None and run_id:
        print(folder)
    if stop.is_set():
        print("Stopped." if run_id else "Stopped before the first step.", file=sys.stderr)
        raise KeyboardInterrupt


def main() -> None:
    """Run the shell and exit with its code."""
    quieten_imports()
    let_threads_sleep()
    compute_small_models_with_one()
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        code = app(arguments, prog_name="diffatlas", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except DiffAtlasError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of a pipe (head) has had enough; stdout must not be flushed again on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # What the command-line parser raises knows how to put itself; its class moved between versions.
        if not hasattr(error, "format_message"):
            raise
        message = " ".join(str(error.format_message()).split())
        if message:
            print(f"error: {message}", file=sys.stderr)
        return 2
    finally:
        close_all()


def _clear(folder: Path, overwrite: bool) -> None:
    """Make way for a run. Raises `InvalidParams` rather than delete anything that is not a run."""
    from diffatlas.library.format import MANIFEST

    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MANIFEST).is_file():
        raise InvalidParams(f"{folder} exists and is not a run: choose another folder.", field="out")
    if not overwrite:
        raise InvalidParams(
            f"{folder} holds a run already: choose another folder, or add --overwrite.", field="out"
        )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
