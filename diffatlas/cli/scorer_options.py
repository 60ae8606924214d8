"""The options by which a command of the shell opens a scorer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

#: What a scorer is opened with, by the names of `diffatlas.bench.scorers.registry.open_scorer`; None for its own.
Options = Mapping[str, Any]

_OPTIONS: dict[str, Any] = {
    "threshold": Annotated[
        float | None,
        typer.Option(
            help="Of clip, the cosine that passes; of objects, how sure the detector must be; of vqascore, the"
            " probability of Yes that passes."
        ),
    ],
    "counting_threshold": Annotated[
        float | None, typer.Option(help="Of objects, how sure the detector must be where a task counts.")
    ],
    "overlap": Annotated[
        float | None,
        typer.Option(help="Of objects, the share from which on two boxes of a class are one; 1 for never."),
    ],
    "colors": Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Of objects, the CLIP that tells colours; none for no colours."),
    ],
    "template": Annotated[
        str | None,
        typer.Option(
            help="Of questions and vqascore, how the model is asked; {} is the question or the prompt."
        ),
    ],
    "mean": Annotated[
        str | None,
        typer.Option(help="Of questions, which mean of the answers is the score: arithmetic or geometric."),
    ],
    "device": Annotated[str | None, typer.Option(help="Where its model runs, such as cpu or cuda.")],
    "dtype": Annotated[str | None, typer.Option(help="What its model runs in: fp32, fp16 or bf16.")],
    "revision": Annotated[str | None, typer.Option(help="Branch, tag or commit of its model on the Hub.")],
}


def takes_scorer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a scorer for its argument ``options``, a mapping of them (`Options`)."""
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for own in signature.parameters.values():
        parameters += _parameters() if own.name == "options" else [own]

    @functools.wraps(command)
    def run(**values: Any) -> Any:
        options = {name: values.pop(name) for name in _OPTIONS}
        return command(options=options, **values)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _parameters() -> list[inspect.Parameter]:
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
