"""What a task demands of its image, in words."""

from __future__ import annotations

from diffatlas.bench.packs.coco import article, plural
from diffatlas.bench.tasks import Exclude, Include, Question, Task

BY_HAND = "judged by hand alone"


def demands(task: Task) -> list[str]:
    """Return what a task demands, a few words each: "exactly 2 red circles", "no car", "the dog right of the bear".

    Questions come with the answer that is right. A task that says nothing of its image is judged by hand.
    """
    limits = list(task.exclude)
    said = []
    for one in task.include:
        limit = next((each for each in limits if _bounds(each, one)), None)
        if limit is not None:
            limits.remove(limit)
        said.append(_at_least(one) if limit is None else _exactly(one, limit))
    said += [_places(task, one) for one in task.include if one.position]
    said += [_absent(one) for one in limits]
    if task.background:
        said.append(f"{article(task.background)} background")
    said += [_asked(one) for one in task.questions]
    return said or [BY_HAND]


def _bounds(exclude: Exclude, include: Include) -> bool:
    """Whether what is excluded is one more than must be there, so that there are exactly as many."""
    same = exclude.noun == include.noun and exclude.count == include.count + 1
    return same and exclude.color in (None, include.color)


def _at_least(one: Include) -> str:
    return article(_called(one)) if one.count == 1 else f"at least {one.count} {_called(one, one.count)}"


def _exactly(one: Include, limit: Exclude) -> str:
    if one.color == limit.color:
        return f"exactly {one.count} {_called(one, one.count)}"
    # There may be no more of any colour.
    alike = "" if one.count == 1 else "all "
    return f"exactly {one.count} {_called(limit, one.count)}, {alike}{one.color}"


def _absent(one: Exclude) -> str:
    return (
        f"no {_called(one)}" if one.count == 1 else f"at most {one.count - 1} {_called(one, one.count - 1)}"
    )


def _places(task: Task, one: Include) -> str:
    assert one.position is not None
    relation, number = one.position
    other = task.include[number]
    to = "another" if _called(other) == _called(one) else "the"
    return f"the {_called(one)} {relation} {to} {_called(other)}"


def _called(one: Include | Exclude, count: int = 1) -> str:
    noun = one.noun if count == 1 else plural(one.noun)
    return f"{one.color} {noun}" if one.color else noun


def _asked(one: Question) -> str:
    after = f" (after {', '.join(one.parents)})" if one.parents else ""
    return f"{one.text} {one.expected}{after}"
