"""The command that prints what was measured of a run's attention."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from diffatlas.cli.output import print_table, text
from diffatlas.shapes import EMBEDDED

if TYPE_CHECKING:
    import numpy as np

    from diffatlas.library import StoredRun
    from diffatlas.operations.attention import AttentionTrace

    #: Its head and its cells.
    Column = tuple[str, list[str]]

commands = typer.Typer()


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
) -> None:
    """Print the attention of a run by step: entropy, KL divergence from the step before, spikes, and each word.

    Entropies and divergences are in nats, averaged over the layers. A word has its activation; in a finished picture
    of the embedded models also the share of its map inside the boxes of what it names, and that of an even map.
    """
    from diffatlas.library.store import Library
    from diffatlas.operations.attention import attention_of

    stored = Library().open(run)
    trace = attention_of(stored).at(image=image, half=half).within(layers or None)
    columns = [("Step", [str(step + 1) for step in trace.steps]), *_measures(trace)]
    for asked in dict.fromkeys(word or ()):
        columns += _word(trace, asked, _picture(stored, image))
    heads, cells = zip(*columns, strict=True)
    print_table(heads, list(zip(*cells, strict=True)))
    for line in _rests_on(trace):
        typer.echo(line)


def _measures(trace: AttentionTrace) -> list[Column]:
    from diffatlas.attention.info import mean_there

    found = []
    if trace.cross_layers:
        spikes = trace.spikes()
        found += [
            ("Entropy", _cells(mean_there(trace.entropy(), 1))),
            ("KL", _cells(trace.kl())),
            ("Spike", ["spike" if step in spikes else "" for step in trace.steps]),
        ]
    if trace.self_layers:
        found.append(("Self-entropy", _cells(mean_there(trace.entropy("self"), 1))))
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
        found.append((head, _cells(activation[:, tokens].mean(1))))
        if picture is not None and (word.casefold(), nth) in names:
            overlap = word_overlap(trace, picture, word, nth)
            found.append((f"{head} share", _cells(overlap.share)))
            found.append((f"{head} uniform", _cells([overlap.uniform] * len(trace.steps))))
    return found


def _picture(stored: StoredRun, image: int) -> np.ndarray | None:
    """Return the finished picture where the detector would know what it sees."""
    pictures = stored.images() if stored.params.model in EMBEDDED else ()
    return pictures[image] if image < len(pictures) else None


def _cells(values: Iterable[float | None]) -> list[str]:
    return ["" if value is None or math.isnan(value) else text(float(value)) for value in values]
