"""The command that prints what was measured of a run's attention."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffatlas.cli.output import print_table, text
from diffatlas.errors import InvalidParams
from diffatlas.shapes import EMBEDDED

if TYPE_CHECKING:
    import numpy as np

    from diffatlas.library import StoredRun
    from diffatlas.operations.attention import AttentionTrace

commands = typer.Typer()
NATS = "nats"


@dataclass(frozen=True)
class Column:
    """A column: its head in the shell, its name in a file, its values by step, and their unit, "" for none."""

    head: str
    name: str
    values: list[Any]
    unit: str


@commands.command()
def attention(
    run: Annotated[str, typer.Argument(metavar="RUN", help="An id of `diffatlas runs --attention any`.")],
    word: Annotated[
        list[str] | None,
        typer.Option(help="A word of the prompt, or several in a row; may be repeated."),
    ] = None,
    layers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB", help="Of these layers only, such as mid or 'up_blocks.1.*'; repeatable."
        ),
    ] = None,
    half: Annotated[str, typer.Option(help="Of guidance: cond, or uncond where both were kept.")] = "cond",
    image: Annotated[int, typer.Option(help="Which image of a batch, from 0.")] = 0,
    to: Annotated[
        Path | None,
        typer.Option(
            help="File to write instead: .csv with the table, .json with every number by layer and token, .npz with "
            "the maps."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every number by layer and token as JSON.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the file that --to names.")] = False,
) -> None:
    """Print the attention of a run by step: entropy, KL divergence from the step before, spikes, and each word.

    Entropies and divergences are in nats, averaged over the layers. A word has its activation; in a finished picture
    of the embedded models also the share of its map inside the boxes of what it names, and that of an even map.
    """
    from diffatlas.formats.tables import looked_at
    from diffatlas.library.store import Library
    from diffatlas.operations.attention import attention_of

    ending = "" if to is None else to.suffix.lower()
    if to is not None and ending not in (".csv", ".json", ".npz"):
        raise InvalidParams(f"{to} is no table of attention: end it in .csv, .json or .npz.", field="to")
    stored = Library().open(run)
    trace = attention_of(stored).at(image=image, half=half).within(layers or None)
    columns = [Column("Step", "step", [step + 1 for step in trace.steps], ""), *_measures(trace)]
    for asked in dict.fromkeys(word or ()):
        columns += _word(trace, asked, _picture(stored, image))
    if as_json:
        typer.echo(looked_at.json(run, stored.params, trace).decode(), nl=False)
    elif ending == ".json":
        _write(to, looked_at.json(run, stored.params, trace), overwrite)
    elif ending == ".npz":
        _write(to, looked_at.npz(run, stored.params, trace), overwrite)
    elif ending == ".csv":
        looked = {"image": image, "half": half, "layers": "; ".join(layers or ["all"])}
        values = {name: [value] * len(trace.steps) for name, value in looked.items()}
        values |= {column.name: column.values for column in columns}
        of = {"image": "none"}
        of |= {column.name: column.unit or "none" for column in columns if column.name != "spike"}
        _write(to, looked_at.csv(run, stored.params, values, of), overwrite)
    else:
        cells = [[_cell(value) for value in column.values] for column in columns]
        print_table(tuple(column.head for column in columns), list(zip(*cells, strict=True)))
        for line in _rests_on(trace):
            typer.echo(line)
        typer.echo(
            f"In nats: {', '.join(column.head for column in columns if column.unit == NATS)}.", err=True
        )


def _write(to: Path, data: bytes, overwrite: bool) -> None:
    from diffatlas.formats.files import write_data

    typer.echo(write_data(to, data, overwrite, "--overwrite"))


def _measures(trace: AttentionTrace) -> list[Column]:
    from diffatlas.attention.info import mean_there

    found = []
    if trace.cross_layers:
        spikes = trace.spikes()
        found += [
            Column("Entropy", "entropy", _known(mean_there(trace.entropy(), 1)), NATS),
            Column("KL", "reallocation", _known(trace.kl()), NATS),
            Column("Spike", "spike", ["spike" if step in spikes else None for step in trace.steps], ""),
        ]
    if trace.self_layers:
        values = _known(mean_there(trace.entropy("self"), 1))
        found.append(Column("Self-entropy", "self_entropy", values, NATS))
    return found


def _rests_on(trace: AttentionTrace) -> list[str]:
    """Say what the means are over, where some layers did not run at some steps, and which maps were resampled."""
    from diffatlas.attention.resampled import sentences

    kinds = (("cross", trace.cross_layers, "to words"), ("self", trace.self_layers, "between places"))
    said = [(what, trace.rests_on(kind)) for kind, layers, what in kinds if layers]
    return [f"Attention {what}: {note}." for what, note in said if note] + sentences(trace)


def _word(trace: AttentionTrace, word: str, picture: np.ndarray | None) -> list[Column]:
    """Return the columns of a word, those of each place where the prompt has it."""
    from diffatlas.attention.tokens import find_words
    from diffatlas.operations.attention_boxes import named_words, word_overlap

    activation = trace.activation()
    places = find_words(trace.tokens, word)
    names = {(name.casefold(), nth) for name, nth in named_words(trace.tokens)}
    found = []
    for nth, tokens in enumerate(places):
        head = word if len(places) == 1 else f"{word} ({nth + 1})"
        found.append(Column(head, f"activation of {head}", _known(activation[:, tokens].mean(1)), ""))
        if picture is not None and (word.casefold(), nth) in names:
            overlap = word_overlap(trace, picture, word, nth)
            uniform = [float(overlap.uniform)] * len(trace.steps)
            found.append(Column(f"{head} share", f"share of {head}", _known(overlap.share), ""))
            found.append(Column(f"{head} uniform", f"uniform of {head}", uniform, ""))
    return found


def _picture(stored: StoredRun, image: int) -> np.ndarray | None:
    """Return the finished picture where the detector would know what it sees."""
    pictures = stored.images() if stored.params.model in EMBEDDED else ()
    return pictures[image] if image < len(pictures) else None


def _known(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None or math.isnan(value) else float(value) for value in values]


def _cell(value: Any) -> str:
    return "" if value is None else text(value)
