"""What the Attention page asks: runs that hold attention, what was captured of one, maps of words, objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NotRequired

from annotated_types import Len

from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import (
    Answer,
    Asked,
    Figure,
    Flag,
    Floats,
    Known,
    Measured,
    Nothing,
    Number,
    One,
    Pair,
    Picture,
    Query,
    Several,
    Whole,
)
from diffatlas.ui.wire.run_value import Params

#: Words that one answer has maps of.
MOST_WORDS = 200
#: Indices of tokens that are taken as one word.
Tokens = list[Whole]


@dataclass(frozen=True, kw_only=True)
class HalfLook(Asked):
    """How attention is looked at, over all layers: one head or all, "cond" or "uncond", one image of the batch."""

    head: Whole | None = None
    half: str = "cond"
    image: Whole = 0


@dataclass(frozen=True, kw_only=True)
class Look(HalfLook):
    """The same in some layers only, by their names."""

    layers: Annotated[list[str], Len(1)] | None = None


@dataclass(frozen=True, kw_only=True)
class AttentionAsked(One, Look):
    """One run as it is looked at."""


@dataclass(frozen=True, kw_only=True)
class AttentionDrawn(AttentionAsked):
    """A figure of one run as it is looked at."""

    dark: Flag = False


@dataclass(frozen=True, kw_only=True)
class AttentionWords(AttentionDrawn):
    """The words of a run by its steps. special: the beginning, the end and padding too. by_row: each word in colours of
    its own."""

    special: Flag = False
    by_row: Flag = False


@dataclass(frozen=True, kw_only=True)
class WordMaps(AttentionAsked):
    """The map of one word by step."""

    tokens: Tokens


@dataclass(frozen=True, kw_only=True)
class WordsAt(AttentionAsked):
    """The maps of several words at a captured step."""

    step: Whole
    words: Annotated[list[Tokens], Len(1, MOST_WORDS)]


@dataclass(frozen=True, kw_only=True)
class Daam(One, HalfLook):
    """DAAM's map of one word over the whole run."""

    tokens: Tokens


@dataclass(frozen=True, kw_only=True)
class LooksAt(AttentionAsked):
    """Where a place of the image looks at a captured step. place: x and y, each from 0 to 1."""

    step: Whole
    place: tuple[Number, Number]


@dataclass(frozen=True, kw_only=True)
class Bindings(Several, HalfLook):
    """The binding of several runs. first: the one that is looked at."""

    first: str | None = None
    dark: Flag = False


@dataclass(frozen=True, kw_only=True)
class Divergence(Pair, Look):
    """How the attention of two runs differs."""

    dark: Flag = False


@dataclass(frozen=True, kw_only=True)
class StepPictureAsked(One):
    """The preview of a step at its full size."""

    step: Whole
    image: Whole = 0


class Listed(Answer):
    """A run that holds attention."""

    id: str
    title: str
    prompt: str
    seed: int | None
    guidance: float | None
    steps: int
    model_name: str
    attention: str
    created: str
    thumb: str | None


class AttentionRuns(Answer):
    """The runs that hold attention, the newest first, and how many there are."""

    runs: list[Listed]
    total: int


class Token(Answer):
    """A token of the prompt: `diffatlas.attention.tokens.Token`."""

    index: int
    encoder: str
    text: str
    word: int | None
    special: bool
    word_text: str | None
    id: int | None
    raw: str | None


class Layer(Answer):
    """A layer whose attention was captured; grid: rows and columns of its maps."""

    name: str
    kind: str
    block: str
    heads: int
    grid: list[int]


class AttendedRun(Params):
    """What was asked of a run, and what it ran on."""

    id: str
    model_name: str
    query: Query
    beyond: list[str]
    python: str


class AttendedStep(Answer):
    """A captured step."""

    index: int
    timestep: Measured
    sigma_before: Measured
    sigma: Measured
    preview: str | None


class Attention(Answer):
    """What was captured of a run's attention, and its measures: `diffatlas.formats.tables.attention.described`."""

    tokens: list[Token]
    layers: list[Layer]
    per_head: bool
    halves: bool
    entropy: list[Measured] | None
    most_entropy: Measured
    self_entropy: list[Measured] | None
    kl: list[Measured] | None
    spikes: list[int]
    activation: Floats | None
    rests_on: NotRequired[str]
    measured_on: NotRequired[str]
    run: AttendedRun
    title: str
    status: str
    steps: list[AttendedStep]
    images: int
    image: str | None
    inputs: list[Picture]
    notes: list[str]
    known: Known


class Maps(Answer):
    """Maps, each of rows x columns."""

    rows: int
    columns: int
    values: Floats


class WordMapsTold(Maps):
    """Maps of words, and the activation of each: the mean over its tokens."""

    activation: list[Measured]


class Object(Answer):
    """A detected object; its box in shares of the picture's sides: left, top, right, bottom."""

    color: str
    shape: str
    box: tuple[Measured, Measured, Measured, Measured]


class WordOverlap(Answer):
    """How much of a word's map lies on the objects that it names, by step."""

    word: str
    nth: int
    found: list[Object]
    share: list[Measured]
    uniform: Measured
    #: How many times the share is that of a map that is the same everywhere.
    lift: list[Measured]
    iou: list[Measured]


class BoundWord(Answer):
    """How much more a colour word looks at its own object than at the other, by step."""

    word: str
    nth: int
    shape: str
    holds: bool
    own: Object
    other: Object
    values: list[Measured]


class Binding(Answer):
    """The binding of two colours: from 1, each word looks at its own object, to -1."""

    holds: bool
    values: list[Measured]
    mean: Measured
    words: list[BoundWord]


class Objects(Answer):
    """The objects of a run's image, and why it has no binding."""

    words: list[WordOverlap]
    binding: Binding | None
    why: str | None
    steps: list[int]
    #: `diffatlas.figures.attention_objects`, where the prompt names any.
    figure: Figure | None


class RunBinding(Answer):
    """The binding of one of several runs, or why it has none."""

    id: str
    seed: int | None
    steps: list[int]
    values: list[Measured] | None
    mean: Measured
    holds: bool | None
    why: str | None


class RunBindings(Answer):
    """The binding of several runs."""

    runs: list[RunBinding]
    #: `diffatlas.figures.attention_seeds` of those that have one.
    figure: Figure


class StepPicture(Answer):
    """The address of a picture; None where the step has none."""

    picture: str | None


CALLS = {
    "attention_runs": Call(Nothing, AttentionRuns),
    "attention": Call(AttentionAsked, Attention),
    "attention_curves": Call(AttentionDrawn, Figure),
    "attention_words": Call(AttentionWords, Figure),
    "word_maps": Call(WordMaps, WordMapsTold),
    "words_at": Call(WordsAt, WordMapsTold),
    "daam": Call(Daam, Maps),
    "looks_at": Call(LooksAt, Maps),
    "objects": Call(AttentionDrawn, Objects),
    "bindings": Call(Bindings, RunBindings),
    "divergence": Call(Divergence, Figure),
    "step_picture": Call(StepPictureAsked, StepPicture),
}
