"""What the shell shows while it works and at the end: progress, tables, and what Ctrl-C does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

from diffatlas.cli.running import wait_words
from diffatlas.errors import error_for
from diffatlas.events import SigmasBefore

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from diffatlas.events import Event, Waiting


def follow(events: Iterable[Event]) -> str | None:
    """Show a run's progress; return its id. Raises what a `Failed` event says."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    from diffatlas.events import Failed, Finished, Image, Started, Step, Waiting
    from diffatlas.formats import told
    from diffatlas.formats.broken import broken, first_broken

    run_id, changed, levels = None, [], SigmasBefore(None)
    first, images, provenance = None, [], {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    progress, waits = _bar(*columns), Waits()
    with closing(events), ExitStack() as ended:
        ended.callback(progress.stop)
        ended.callback(waits.hide)
        task = None
        for event in events:
            if isinstance(event, Waiting):
                waits.show(event)
                continue
            waits.hide()
            if isinstance(event, Started):
                run_id, provenance = event.run_id, event.provenance
                first = first_broken([event.initial_latents])
                levels = SigmasBefore(event.initial_sigma)
                if event.cached_from:
                    progress.console.print("From the library; --again runs it anew.")
                if "hosted" not in event.provenance:  # a provider shows no steps
                    task = progress.add_task("Denoising", total=event.total_steps, note="")
                    progress.start()
                for sentence in told.unread(event.provenance) + told.ignored(event.provenance):
                    progress.console.print(sentence, markup=False, highlight=False, soft_wrap=True)
            elif isinstance(event, Step):
                done, total = event.index + 1, progress.tasks[task].total or 0
                before = levels.of(event.timestep, event.sigma)
                note = f"t {event.timestep:.4g}" + ("" if before is None else f", sigma {before:.3g}")
                progress.update(task, completed=done, total=max(total, done), note=note)
                changed += told.changed_before([event])
                if first is None and first_broken([event.latents]) is not None:
                    first = event.index + 1
            elif isinstance(event, Image):
                images.append(event.pixels)
            elif isinstance(event, Finished):
                for sentence in told.not_recorded({"missing": event.missing}) + told.changed(changed):
                    progress.console.print(sentence, markup=False, highlight=False, soft_wrap=True)
                for sentence in broken(first, images, provenance):
                    progress.console.print(sentence, markup=False, highlight=False, soft_wrap=True)
            elif isinstance(event, Failed):
                raise error_for(event.code, event.message)
    return run_id


class Waits:
    """Says what a run waits for: on a terminal in one line that is written anew, else in a line for each new reason."""

    def __init__(self) -> None:
        from rich.progress import TextColumn, TimeElapsedColumn

        self._line = _bar(TextColumn("{task.description}", markup=False), TimeElapsedColumn(), transient=True)
        self._task: Any = None
        self._said = ""

    def show(self, event: Waiting) -> None:
        """Say it, with the seconds that are left where they are known."""
        words = wait_words(event)
        if self._line.disable:
            if event.message != self._said:
                print(words, file=sys.stderr, flush=True)
        elif self._task is None:
            self._task = self._line.add_task(words, total=None)
        else:
            self._line.update(self._task, description=words)
        self._line.start()
        self._said = event.message

    def hide(self) -> None:
        """Take the line away, until something is waited for again."""
        self._line.stop()


@contextmanager
def showing_progress() -> Iterator[Callable[[float, str], None]]:
    """Yield a function that shows the share done (0 to 1) and what is being done."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn

    with _bar(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, message: progress.update(task, completed=share, description=message)


def _bar(*columns: object, transient: bool = False) -> Progress:
    """Return a bar that is shown on a terminal only. transient: whether nothing of it stays."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=transient)


@contextmanager
def interrupt_sets() -> Iterator[threading.Event]:
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


def quieten_imports() -> None:
    """Silence what the libraries say while they are imported, in a process that has not imported them yet."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")


def quieten() -> None:
    """Silence the libraries' own bars and warnings: the shell has one bar and one line per error."""
    warnings.filterwarnings("ignore")
    quieten_imports()
    import diffusers.utils.logging
    import transformers.utils.logging

    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        library.disable_progress_bar()


def print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
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


def text(value: object) -> str:
    """Return a cell of a table; None is empty."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
