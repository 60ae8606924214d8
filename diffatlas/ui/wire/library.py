"""What the Library page asks: finding runs, marking them, files and datasets of them; and its Trash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.jobs import ComparedRow, JobState, Machine, ReplayState
from diffatlas.ui.wire.kinds import (
    Also,
    Answer,
    Asked,
    Empty,
    Figure,
    Flag,
    JobAsked,
    Known,
    Measured,
    Nothing,
    One,
    Opened,
    Pair,
    Picture,
    Query,
    Several,
    Started,
    Whole,
)
from diffatlas.ui.wire.run_value import Params

Count = Annotated[Whole, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Find(Asked):
    """Runs that are looked for: see `diffatlas.library.Library.search`."""

    text: str = ""
    model: str | None = None
    kind: str | None = None
    status: str | None = None
    tag: str | None = None
    since: str | None = None
    until: str | None = None
    locked: Flag | None = None
    attention: Flag | str | None = None
    sort: str | None = None
    descending: Flag = True
    limit: Count = 100
    offset: Count = 0


@dataclass(frozen=True, kw_only=True)
class Differing(Pair):
    """Two runs that are compared. dark: of what is drawn."""

    dark: Flag = False


@dataclass(frozen=True, kw_only=True)
class Replayed(One):
    """A run that is to be made again. dark: of what is drawn."""

    dark: Flag = False


@dataclass(frozen=True, kw_only=True)
class Mark(One):
    """What is to be said of a run; None for what stays."""

    name: str | None = None
    tags: list[str] | None = None
    note: str | None = None
    locked: Flag | None = None


@dataclass(frozen=True, kw_only=True)
class PictureAsked(One):
    """One picture of a run at its full size: that of a ``step``, or a finished ``image``."""

    step: Count | None = None
    image: Count | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetAsked(Several):
    """A dataset of runs, a row for each run or for each step."""

    per: Literal["run", "step"] = "run"
    licence: str = ""
    title: str = ""
    #: Whether the attention of those that have some goes along, and the studies whose runs are all among them.
    attention: Flag = True
    studies: Flag = True


@dataclass(frozen=True, kw_only=True)
class Push(DatasetAsked):
    """A dataset that is pushed to the Hub."""

    repo: str
    #: It is used, and kept nowhere. Empty for that of the sign-in.
    token: str = field(repr=False)
    private: Flag = True


@dataclass(frozen=True, kw_only=True)
class Import(Asked):
    """A web address, a dataset's name on the Hub, one that ships, or a folder or zip of the server's owner.

    upload: what the server calls a zip that was sent to it, instead; then ``source`` is what the visitor calls it.
    """

    source: str
    upload: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrashAsked(Asked):
    """The Trash: so many of what was deleted last; None for as many as one answer may hold."""

    limit: Whole | None = None


@dataclass(frozen=True, kw_only=True)
class InTrash(Asked):
    """Runs (``ids``), studies and benches that are in the Trash."""

    ids: list[str] = field(default_factory=list)
    studies: list[str] = field(default_factory=list)
    benches: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class EmptyTrash(Asked):
    """All that is in the Trash. count: how many these are, as was told."""

    count: Whole


class Row(Answer):
    """A run as a row: `diffatlas.library.RunInfo`, and a small picture."""

    id: str
    status: str
    created: str
    model: str
    model_name: str
    prompt: str
    seed: int | None
    steps: int
    total_steps: int | None
    error: str | None
    name: str
    tags: list[str]
    note: str
    locked: bool
    bytes: int
    kind: str
    guidance_scale: float | None
    scheduler: str | None
    width: int | None
    height: int | None
    used: str
    key: str | None
    attention: str
    #: Whether its picture has to be made first (`thumbs`).
    unpictured: bool
    thumb: str | None


class Named(Row):
    """A row among others, under a name that tells it from them."""

    label: str


class Usage(Answer):
    """What the library holds and may hold; cap: 0 for no limit."""

    runs: int
    bytes: int
    cap: int


class Shipped(Answer):
    """A dataset that comes with the project."""

    name: str
    title: str


class Found(Answer):
    """The runs that were found, a page of them, and what the library holds."""

    runs: list[Named]
    total: int
    usage: Usage
    models: list[str]
    tags: list[str]
    mode: Literal["shared", "personal"]
    shipped: list[Shipped]
    expires: str | None
    trashed: int
    #: Bytes of a file that the server takes; None for no limit.
    most_upload: int | None


class Thumbs(Answer):
    """Small pictures by run; None where there is none to show."""

    thumbs: dict[str, str | None]


class Marked(Answer):
    """A run as it is now."""

    run: Row


class Moved(Answer):
    """What was done, and why some was not."""

    done: list[str]
    refused: list[str]


class Frame(Answer):
    """The preview of a step."""

    index: int
    preview: str


class Details(Answer):
    """One run in full."""

    run: Row
    params: Params
    query: Query
    also: Also
    notes: list[str]
    known: Known
    inputs: list[Picture]
    #: Where and how it was made: name, words.
    made: list[tuple[str, str]]
    frames: list[Frame]
    image: str | None
    images: int
    link: str


class FullPicture(Answer):
    """A picture at its full size."""

    url: str
    name: str
    width: int
    height: int


class ImageDifference(Answer):
    """How two images differ, in levels from 0 to 255."""

    mean_absolute: Measured
    maximum: Measured
    identical: bool


class PathDifference(Answer):
    """How two paths differ, in units of the latents; relative: to the norm."""

    identical: bool
    first_step: int | None
    maximum: Measured
    relative: Measured
    #: `diffatlas.figures.departure`; None where nothing is apart.
    figure: Figure | None


class Difference(Answer):
    """What differs between two runs."""

    settings: list[ComparedRow]
    machine: Machine
    images: list[ImageDifference]
    path: PathDifference | None


class Explored(Answer):
    """What the form of the Neighbourhood page is filled with."""

    query: Query
    own: dict[str, Any]


class Example(Answer):
    """The recorded runs that came into the library."""

    ids: list[str]


class Trashed(Answer):
    """A run, study or bench in the Trash; goes: when it is deleted for good."""

    kind: Literal["run", "study", "bench"]
    id: str
    name: str
    told: list[str]
    deleted: str
    goes: str | None
    bytes: int
    thumb: str | None


class InBin(Answer):
    """What is in the Trash, the last first, and what all of it takes."""

    items: list[Trashed]
    total: int
    bytes: int
    keeps_days: int | None
    expires: str | None


class Emptied(Answer):
    """What was deleted for good."""

    done: list[str]


class DatasetAbout(Answer):
    """What a dataset of runs would take, with and without their attention, and the studies that would go along."""

    with_attention: str
    without_attention: str
    #: How many of the runs have attention.
    attended: int
    #: The titles of the studies.
    studies: list[str]
    #: Whether one can sign in to the Hub here, and who has.
    sign_in: bool
    signed_in: str | None


CALLS = {
    "find": Call(Find, Found),
    "thumbs": Call(Several, Thumbs),
    "mark": Call(Mark, Marked),
    "trash": Call(Several, Moved),
    "details": Call(One, Details),
    "picture": Call(PictureAsked, FullPicture),
    "difference": Call(Differing, Difference),
    "open": Call(Several, Opened),
    "explore": Call(Several, Explored),
    "replay": Call(Replayed, Started),
    "replay_state": Call(JobAsked, ReplayState),
    "replay_stop": Call(JobAsked, Empty),
    "dataset_about": Call(Several, DatasetAbout),
    "dataset": Call(DatasetAsked, Started),
    "push": Call(Push, Started),
    "import": Call(Import, Started),
    "example": Call(Nothing, Example),
    "job": Call(JobAsked, JobState),
    "job_stop": Call(JobAsked, Empty),
    "trashed": Call(TrashAsked, InBin),
    "restore": Call(InTrash, Moved),
    "forget": Call(InTrash, Moved),
    "empty_trash": Call(EmptyTrash, Emptied),
}
