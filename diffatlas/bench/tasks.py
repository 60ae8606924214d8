"""What a prompt of a benchmark demands of its image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Strict, StringConstraints

#: Relations of an object to an earlier one.
RELATIONS = ("left of", "right of", "above", "below")
#: The colours that GenEval tells apart, in its order.
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
#: Objects of one class that can be demanded: GenEval's detector keeps as many.
MOST_OBJECTS = 16
MOST_TASKS = 20_000
#: Characters of a prompt or a question.
MOST_PROMPT = 4000

Text = Annotated[
    str, Strict(), StringConstraints(min_length=1, max_length=MOST_PROMPT, strip_whitespace=True)
]
Name = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Count = Annotated[int, Strict(), Field(ge=1, le=MOST_OBJECTS)]
Relation = Literal["left of", "right of", "above", "below"]


class _Part:
    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True)
class Include(_Part):
    """Objects that must be there, as GenEval says it: at least ``count`` of a class, in a colour, in a relation."""

    #: Called "class" in files.
    noun: Annotated[Name, Field(alias="class")]
    count: Count = 1
    color: Name | None = None
    #: A relation, and the number of the earlier `Include` that it is to.
    position: tuple[Relation, Annotated[int, Strict(), Field(ge=0)]] | None = None


@dataclass(frozen=True, kw_only=True)
class Exclude(_Part):
    """Objects of which there must be fewer than ``count``, of one colour where one is named."""

    noun: Annotated[Name, Field(alias="class")]
    count: Annotated[int, Strict(), Field(ge=1, le=MOST_OBJECTS + 1)] = 1
    color: Name | None = None


@dataclass(frozen=True, kw_only=True)
class Question(_Part):
    """A question about the image and the answer that is right."""

    id: Name
    text: Text
    expected: Text = "yes"
    skill: Name | None = None
    #: Questions that must be answered rightly before this one means anything.
    parents: tuple[Name, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Task(_Part):
    """A prompt and what its image must show.

    kind: by what it is judged: "objects" by what there is (`include`, `exclude`, `background`), "questions" by answers,
    "free" by hand, or by what reads nothing but the prompt. tag: the category that it counts to.
    """

    id: Name
    prompt: Text
    tag: Name
    kind: Literal["objects", "questions", "free"] = "objects"
    include: tuple[Include, ...] = ()
    exclude: tuple[Exclude, ...] = ()
    background: Name | None = None
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pack(_Part):
    """Tasks under a name.

    dependencies: what a question counts whose parent was answered wrongly. "cascading": wrong, and so are those that
    depend on it (DPG-Bench); "direct": wrong where its own parent was answered wrongly, whatever that one's parent was
    (OneIG).
    """

    format: Literal["diffatlas-pack-1"] = "diffatlas-pack-1"
    name: Name
    title: Text
    description: str = ""
    licence: str = ""
    source: str = ""
    dependencies: Literal["cascading", "direct"] = "cascading"
    tasks: Annotated[tuple[Task, ...], Field(min_length=1, max_length=MOST_TASKS)]

    @property
    def tags(self) -> tuple[str, ...]:
        """The categories, in the order in which they come."""
        return tuple(dict.fromkeys(task.tag for task in self.tasks))


def faults(pack: Pack) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with a pack whose parts are each right: where, and a sentence without its beginning."""
    ids: set[str] = set()
    for number, task in enumerate(pack.tasks):
        at = ("tasks", number)
        if task.id in ids:
            yield (*at, "id"), f"is {task.id!r}, as that of an earlier task: give each its own"
        ids.add(task.id)
        for where, words in _task_faults(task):
            yield (*at, *where), words


def _task_faults(task: Task) -> Iterator[tuple[tuple[str | int, ...], str]]:
    demands = bool(task.include or task.exclude or task.background)
    if task.kind == "objects" and not demands:
        yield ("include",), "is missing: a task of objects says what must be there, or what must not"
    if task.kind == "questions" and not task.questions:
        yield ("questions",), "is missing: a task of questions has one at least"
    if task.kind != "objects" and demands:
        yield (
            ("kind",),
            f"is {task.kind!r}, and yet objects are demanded: make it 'objects', or leave them out",
        )
    if task.kind != "questions" and task.questions:
        yield (
            ("kind",),
            f"is {task.kind!r}, and yet there are questions: make it 'questions', or leave them out",
        )
    for number, include in enumerate(task.include):
        if include.position and include.position[1] >= number:
            yield (
                ("include", number, "position"),
                f"is to object {include.position[1]}, which does not come earlier: put what it is to before it",
            )
    yield from _question_faults(task)


def _question_faults(task: Task) -> Iterator[tuple[tuple[str | int, ...], str]]:
    known = {question.id for question in task.questions}
    seen: set[str] = set()
    for number, question in enumerate(task.questions):
        if question.id in seen:
            yield ("questions", number, "id"), f"is {question.id!r}, as that of an earlier question"
        seen.add(question.id)
        for parent in question.parents:
            if parent not in known:
                yield ("questions", number, "parents"), f"names {parent!r}, which is no question of this task"
    parents = {question.id: question.parents for question in task.questions}
    for number, question in enumerate(task.questions):
        if question.id in _above(question.id, parents):
            yield ("questions", number, "parents"), "lead back to the question itself"
            return


def _above(name: str, parents: dict[str, tuple[str, ...]]) -> set[str]:
    """All questions that one depends on, over any number of steps."""
    found: set[str] = set()
    left = [*parents.get(name, ())]
    while left:
        one = left.pop()
        if one not in found:
            found.add(one)
            left += parents.get(one, ())
    return found
