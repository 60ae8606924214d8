"""What judges images, by name: the scorers, and the models that some of them are run with (``models/scorers.md``).

A scorer is named by a word, and by a model after a colon where it has one: ``shapes``, ``clip``,
``clip:openai/clip-vit-base-patch32``, ``objects:/data/detector``. Without a model it has the first of its kind.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from diffatlas.bench.judgements import Scorer
from diffatlas.errors import InvalidParams
from diffatlas.registry import SCORERS as FILE
from diffatlas.registry import line_parts, models_folder, read_lines, shipped_folder

Kind = Literal["clip", "detector", "questions"]
KINDS = ("clip", "detector", "questions")


#: Hint name -> how its value is read.
HINTS = {"kind": str, "download": float, "dtype": str, "revision": str, "template": str}


@dataclass(frozen=True)
class ScorerModel:
    """One line of the registry. A hint that the line does not give is None."""

    id: str
    name: str
    kind: Kind
    notes: str = ""
    #: GB (10^9 bytes) that are fetched from the Hub before it runs for the first time.
    download: float | None = None
    #: What it runs in on a GPU.
    dtype: str | None = None
    #: Branch, tag or commit of the Hub.
    revision: str | None = None
    #: How a model that answers questions is asked.
    template: str | None = None


def parse_line(line: str) -> ScorerModel | None:
    """Read one line; None where it is prose. Raises ValueError saying what is wrong with it."""
    told = line_parts(line, HINTS)
    if told is None:
        return None
    if told.get("kind") not in KINDS:
        raise ValueError(f"its hint kind= is missing, or is not one of {', '.join(KINDS)}")
    return ScorerModel(**told)


def scorer_models(kind: Kind | None = None) -> list[ScorerModel]:
    """Return the models that judge images, of one kind or of all, the default of each kind first.

    Where a folder of registries of one's own has none of scorers, that which ships is read. Raises `RegistryError` for
    a line that cannot be read.
    """
    path = models_folder() / f"{FILE}.md"
    if not path.is_file():
        path = shipped_folder() / f"{FILE}.md"
    return [entry for entry in read_lines(path, parse_line) if kind in (None, entry.kind)]


def default_model(kind: Kind) -> str:
    """Return the id of the first model of a kind. Raises `InvalidParams` where the registry has none."""
    models = scorer_models(kind)
    if not models:
        raise InvalidParams(
            f"No model of kind {kind!r} is listed in {FILE}.md: name one after a colon.", field="scorer"
        )
    return models[0].id


@dataclass(frozen=True)
class ScorerKind:
    """A scorer as it is listed: what it judges, where it is, and the kind of models that it is run with, if any.

    opener: a module of this folder, and what opens the scorer there; it is imported when it is asked for. It takes the
    model, where there is one, and the scorer's own options by name.
    """

    about: str
    opener: tuple[str, str]
    models: Kind | None = None

    @property
    def open(self) -> Callable[..., Scorer]:
        """What opens it."""
        module, name = self.opener
        return getattr(importlib.import_module(f"{__package__}.{module}"), name)


#: Scorers by the word that names them.
SCORERS: dict[str, ScorerKind] = {
    "shapes": ScorerKind("Drawn shapes, their colours and places, exactly.", ("shapes", "ShapesScorer")),
    "hand": ScorerKind("Anything, by a person.", ("hand", "HandScorer")),
    "objects": ScorerKind(
        "Objects, counts, colours and places: GenEval's rules, other detector.",
        ("objects", "open_objects"),
        "detector",
    ),
    "clip": ScorerKind(
        "How like its prompt an image is, against a threshold.", ("clip", "open_clip_scorer"), "clip"
    ),
    "questions": ScorerKind(
        "The answers to a task's questions, by Soft-TIFA.", ("vlm", "open_questions"), "questions"
    ),
    "vqascore": ScorerKind(
        "Whether a model says that the prompt is shown, by VQAScore.", ("vlm", "open_vqascore"), "questions"
    ),
}


def open_scorer(name: str, **options: Any) -> Scorer:
    """Return a scorer by its name, its model loaded.

    options: its own, such as threshold, device, dtype or revision; those that are None are left out. Raises
    `InvalidParams` where there is no such scorer, or it has no such option, and `ModelLoadError` where its model cannot
    be loaded.
    """
    word, colon, model = name.partition(":")
    kind = SCORERS.get(word)
    if kind is None:
        raise InvalidParams(f"There is no scorer {name!r}: there are {', '.join(SCORERS)}.", field="scorer")
    if kind.models is None and colon:
        raise InvalidParams(
            f"The scorer {word!r} has no models: leave {colon + model!r} out.", field="scorer"
        )
    given = {option: value for option, value in options.items() if value is not None}
    opener = kind.open
    known = set(inspect.signature(opener).parameters) - {"model"}
    for option in given:
        if option not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise InvalidParams(f"The scorer {word!r} has no option {option!r}: {has}.", field=option)
    if kind.models is None:
        return opener(**given)
    return opener(model or default_model(kind.models), **given)
