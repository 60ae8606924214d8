"""The shell: ``diffatlas trace``, ``app``, ``models``, ``runs`` and ``export``.

Exit codes: 0 done; 2 an error, one line on stderr (steps that had arrived are kept); 130 Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffatlas.errors import DiffAtlasError, InvalidParams, error_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from diffatlas.events import Event
    from diffatlas.export.named import Named
    from diffatlas.run import Run

app = typer.Typer(
    help="See how a diffusion model makes an image.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


@app.command()
def trace(
    prompt: Annotated[str, typer.Argument(help="What the image should show.")],
    model: Annotated[str, typer.Option(help="An id of `diffatlas models`, or a pipeline folder.")] = "shapes",
    negative_prompt: Annotated[str, typer.Option(help="What it should not show.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the initial noise.")] = 0,
    steps: Annotated[
        int | None,
        typer.Option("--steps", "--num-inference-steps", help="Denoising steps. Default: the model's."),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", "--guidance-scale", help="Guidance scale. Default: the model's."),
    ] = None,
    width: Annotated[int | None, typer.Option(help="Pixels. Default: the model's native size.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels. Default: the model's native size.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="ddim, euler, euler_a, dpm++_2m, ... Default: the model's own.")
    ] = None,
    images: Annotated[
        int, typer.Option("--images", "--num-images-per-prompt", help="Images in one batch.")
    ] = 1,
    previews: Annotated[str, typer.Option(help="off, every, or N for every Nth step.")] = "every",
    preview_decoder: Annotated[
        str, typer.Option(help="linear (nearly free) or vae (the real decoder).")
    ] = "linear",
    preview_size: Annotated[int | None, typer.Option(help="Longest side of a preview in pixels.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write the run to. Default: a new run in the library.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the run that --out holds.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, fp32, fp16 or bf16.")] = None,
    ignore_memory: Annotated[
        bool, typer.Option(help="Load the model even where it is expected not to fit.")
    ] = False,
) -> None:
    """Generate an image and record the path that leads to it.

    Ctrl-C stops the denoiser and keeps the steps so far.
    """
    from diffatlas.capture.spec import Capture
    from diffatlas.params import GenerationParams

    params = GenerationParams(
        model=model,
        prompt=prompt,
        negative_prompt=negative_prompt,
        seed=seed,
        **_first_values(model, steps, guidance),
        width=width,
        height=height,
        scheduler=scheduler,
        num_images_per_prompt=images,
    ).validate()
    capture = Capture(
        previews=int(previews) if previews.isdecimal() else previews,
        preview_decoder=preview_decoder,
        preview_size=preview_size,
    )

    from diffatlas.backends import open_backend
    from diffatlas.library.store import Library, record_into

    with _interrupt_sets() as stop:
        backend = open_backend("local", device=device, dtype=dtype, ignore_memory=ignore_memory or None)
        params = backend.resolve(params)
        if out is not None:
            _clear(out, overwrite)
        if sys.stderr.isatty():
            print("Loading...", end="\r", file=sys.stderr, flush=True)
        _quieten()
        events = backend.trace(params, capture, stop)
        library = Library()
        recorded = record_into(out, events) if out is not None else library.record(events)
        run_id = _follow(recorded)
    folder = out if out is not None else library.folder / run_id if run_id else None
    if folder is not None and run_id:
        print(folder)
    if stop.is_set():
        print("Stopped." if run_id else "Stopped before the first step.", file=sys.stderr)
        raise KeyboardInterrupt


@app.command(name="app")
def launch_app(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port. Default: the first free one from 7860.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Start the app."""
    from diffatlas.ui.app import launch

    try:
        launch(server_name=host, server_port=port, inbrowser=browser)
    except OSError as error:
        raise InvalidParams(f"The app cannot listen on {host}: {error}".rstrip(".") + ".") from error


@app.command()
def models() -> None:
    """List the models that run on this machine, the default first."""
    from diffatlas.registry import list_models

    rows = [
        (
            entry.id,
            entry.name,
            _text(entry.size),
            _text(entry.steps),
            _text(entry.guidance),
            _text(entry.mem),
            entry.notes,
        )
        for entry in list_models()
    ]
    _print_table(("Model", "Name", "Size", "Steps", "Guidance", "GB", "Notes"), rows)


@app.command()
def runs() -> None:
    """List the runs of the library, newest first."""
    from diffatlas.library.store import Library

    rows = [
        (
            info.id,
            info.status,
            f"{info.steps}/{_text(info.total_steps)}",
            info.model,
            _text(info.seed),
            info.prompt,
        )
        for info in Library().list()
    ]
    _print_table(("Run", "Status", "Steps", "Model", "Seed", "Prompt"), rows)


@app.command()
def export(
    run_ids: Annotated[list[str], typer.Argument(metavar="RUN_ID...", help="Ids of `diffatlas runs`.")],
    to: Annotated[Path, typer.Option(help="File to write: .csv .json .npz .pdf .svg .png .gif or .mp4.")],
    overwrite: Annotated[bool, typer.Option(help="Replace the file that --to names.")] = False,
) -> None:
    """Write runs of the library to one file, whose ending says what: tables, arrays, report, film or movie."""
    from diffatlas.export.kinds import KINDS
    from diffatlas.export.kinds import export as exported
    from diffatlas.library.format import write_atomically
    from diffatlas.library.store import Library

    kind = next((kind for kind in KINDS.values() if kind.suffix == to.suffix.lower()), None)
    if kind is None:
        endings = ", ".join(kind.suffix for kind in KINDS.values())
        raise InvalidParams(
            f"The ending of {to.name} names no kind of export: use one of {endings}.", field="to"
        )
    if to.exists() and (not overwrite or not to.is_file()):
        raise InvalidParams(f"{to} exists already: choose another file, or add --overwrite.", field="to")
    library = Library()
    loaded = [library.load(run_id) for run_id in dict.fromkeys(run_ids)]
    data = exported(kind.key, _named(loaded))
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(to, data)
    except OSError as error:
        raise InvalidParams(f"{to} cannot be written ({error.strerror}).", field="to") from error
    print(to)


def main() -> None:
    """Run the shell and exit with its code."""
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


def _named(loaded: list[Run]) -> list[Named]:
    """Return runs under their prompts, or under their ids where prompts do not tell them apart."""
    from diffatlas.export.named import Named
    from diffatlas.ui.palette import PALETTE

    prompts = [" ".join(run.params.prompt.split())[:80] for run in loaded]
    names = [
        prompt if prompt and prompts.count(prompt) == 1 else run.id
        for prompt, run in zip(prompts, loaded, strict=True)
    ]
    colours = [PALETTE[number % len(PALETTE)] for number in range(len(loaded))]
    return [Named(*entry) for entry in zip(names, loaded, colours, strict=True)]


def _first_values(model: str, steps: int | None, guidance: float | None) -> dict[str, int | float]:
    """Return steps and guidance: as asked, else the registry's, else those of `GenerationParams`."""
    from diffatlas.errors import UnknownModel
    from diffatlas.registry import find_model

    try:
        entry = find_model(model)
    except UnknownModel:
        entry = None
    asked = {"num_inference_steps": steps, "guidance_scale": guidance}
    hints = {"num_inference_steps": entry and entry.steps, "guidance_scale": entry and entry.guidance}
    values = {name: hints[name] if value is None else value for name, value in asked.items()}
    return {name: value for name, value in values.items() if value is not None}


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


def _follow(events: Iterable[Event]) -> str | None:
    """Show a run's progress; return its id. Raises what a `Failed` event says."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from diffatlas.events import Failed, Started, Step

    run_id = None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with (
        closing(events),
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        task = None
        for event in events:
            if isinstance(event, Started):
                run_id = event.run_id
                task = progress.add_task("Denoising", total=event.total_steps, note="")
                if cut := event.provenance.get("prompt_tokens", {}).get("cut_off"):
                    progress.console.print(f"The prompt is too long; cut off: {cut}", markup=False)
            elif isinstance(event, Step):
                progress.update(task, completed=event.index + 1, note=f"sigma {event.sigma:.3g}")
            elif isinstance(event, Failed):
                raise error_for(event.code, event.message)
    return run_id


@contextmanager
def _interrupt_sets() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets; a second Ctrl-C interrupts as usual."""
    stop = threading.Event()

    def on_interrupt(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def _quieten() -> None:
    """Silence the libraries' own bars and warnings: the shell has one bar and one line per error."""
    warnings.filterwarnings("ignore")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    import diffusers.utils.logging
    import transformers.utils.logging

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table: drawn on a terminal, tab-separated into a pipe."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich import box
    from rich.console import Console

    Console().print(_drawn(columns, rows, box.SIMPLE_HEAD))


def _drawn(columns: tuple[str, ...], rows: list[tuple[str, ...]], style: object) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=style)
    for number, column in enumerate(columns):
        # The first column is what is copied into the next command: it is folded, never cut.
        table.add_column(column, overflow="fold" if number == 0 else "ellipsis")
    for row in rows:
        # Text, so that a prompt's [brackets] are shown and not read as markup.
        table.add_row(*(Text(cell) for cell in row))
    return table


def _text(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
