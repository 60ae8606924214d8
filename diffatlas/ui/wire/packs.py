"""What the Bench page asks of packs: the list of them, and the editor of one's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from diffatlas.ui.wire.call import Call
from diffatlas.ui.wire.kinds import Answer, Asked, File, Nothing, Whole

Kind = Literal["yaml", "json", "jsonl"]


@dataclass(frozen=True, kw_only=True)
class PackNamed(Asked):
    """A pack by its name; "" for none, where a new one is begun."""

    name: str


@dataclass(frozen=True, kw_only=True)
class PackTyped(Asked):
    """A text that is to be a pack. seeds: images of each prompt."""

    text: str
    seeds: Annotated[Whole, Field(ge=1, le=64)] = 4


@dataclass(frozen=True, kw_only=True)
class PackKept(Asked):
    """A text to be kept. instead: the kept pack whose new text it is, and which was of ``version``; None: a new one."""

    text: str
    instead: str | None = None
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class PackRenamed(PackNamed):
    """Another name for a pack."""

    to: str


@dataclass(frozen=True, kw_only=True)
class PackExported(Asked):
    """A text to be written as a file of a kind, of which "jsonl" is GenEval's metadata."""

    text: str
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class PackImported(Asked):
    """A file that was sent. upload: what the server calls it."""

    upload: str


@dataclass(frozen=True, kw_only=True)
class FormObject(Asked):
    """An object of the form. to: the number of the object, from 1, that it stands in its relation to."""

    how: Literal["at least", "exactly", "none"]
    noun: str
    count: Whole | None = None
    color: str = ""
    relation: Literal["", "left of", "right of", "above", "below"] = ""
    to: Whole | None = None


@dataclass(frozen=True, kw_only=True)
class FormQuestion(Asked):
    """A question of the form. after: the numbers of questions, from 1, that must be answered rightly before it."""

    text: str
    expected: str
    skill: str = ""
    after: list[Whole] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PackTask(Asked):
    """A task to be added to a text."""

    text: str
    prompt: str
    tag: str
    kind: Literal["objects", "questions", "free"]
    objects: list[FormObject] = field(default_factory=list)
    questions: list[FormQuestion] = field(default_factory=list)


class PackRow(Answer):
    """A pack in the list. own: whether the visitor keeps it. problem: why it cannot be run."""

    name: str
    title: str
    about: str
    prompts: int
    tags: list[str]
    own: bool
    problem: str


class PackList(Answer):
    """The packs that come with the program, and those that the visitor keeps."""

    packs: list[PackRow]


class PackText(Answer):
    """A pack as it is edited. own: whether it is kept under its name already, as this version.

    large: why it is not edited here, else empty; then the text is empty too.
    """

    name: str
    text: str
    own: bool
    version: str
    large: str


class PackFault(Answer):
    """The first thing that is wrong with a text. line: from 1, where it is known; field: empty where it is no field."""

    line: int | None
    field: str
    sentence: str


class TaskSeen(Answer):
    """A task of a text: the line on which it begins, and what it demands in words."""

    id: str
    line: int
    prompt: str
    tag: str
    demands: list[str]


class TagSeen(Answer):
    """A category, and how many prompts it has."""

    tag: str
    prompts: int


class PackSeen(Answer):
    """What a text says. images: of all its prompts with the seeds; more: tasks that are not among ``tasks``."""

    name: str
    title: str
    prompts: int
    images: int
    tags: list[TagSeen]
    tasks: list[TaskSeen]
    more: int


class PackChecked(Answer):
    """What is wrong with a text first, or what it says."""

    fault: PackFault | None
    pack: PackSeen | None


class PackNow(Answer):
    """The packs after a change, and the name of the one that was changed."""

    name: str
    packs: list[PackRow]


class PackTaken(Answer):
    """A file that came in: kept under ``name``, or, where that is None, a ``text`` that is to be mended first."""

    name: str | None
    text: str
    packs: list[PackRow]


class PackWritten(Answer):
    """A text after a form has changed it; line: where what came begins."""

    text: str
    line: int


CALLS = {
    "packs": Call(Nothing, PackList),
    "pack_open": Call(PackNamed, PackText),
    "pack_check": Call(PackTyped, PackChecked),
    "pack_keep": Call(PackKept, PackNow),
    "pack_rename": Call(PackRenamed, PackNow),
    "pack_copy": Call(PackNamed, PackNow),
    "pack_delete": Call(PackNamed, PackNow),
    "pack_restore": Call(PackNamed, PackNow),
    "pack_export": Call(PackExported, File),
    "pack_import": Call(PackImported, PackTaken),
    "pack_task": Call(PackTask, PackWritten),
}
