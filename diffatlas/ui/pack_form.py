"""The form that adds a task to a pack: what is filled in as a task, and what is wrong with one at its field."""

from __future__ import annotations

from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.ui.wire import packs as wire


def task_of(asked: wire.PackTask) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the task that the form asks for, as a file has it; and of which object, from 1, each part of it is.

    Raises `InvalidParams` for an object that stands in a relation to none before it.
    """
    include: list[dict[str, Any]] = []
    exclude: list[dict[str, Any]] = []
    places: dict[str, int] = {}
    #: Where each object of the form is among those that must be there.
    at: dict[int, int] = {}
    for number, one in enumerate(asked.objects, 1):
        part = {"class": one.noun, **({"color": one.color} if one.color.strip() else {})}
        count = 1 if one.count is None else one.count
        if one.how == "none":
            places[f"exclude[{len(exclude)}]"] = number
            exclude.append(part)
            continue
        at[number] = len(include)
        places[f"include[{len(include)}]"] = number
        include.append({**part, "count": count})
        if one.how == "exactly":
            places[f"exclude[{len(exclude)}]"] = number
            exclude.append({**part, "count": count + 1})
        if one.relation:
            if one.to not in at or one.to == number:
                raise InvalidParams(
                    f"Object {number} is {one.relation} an object that does not come before it: name the number of one "
                    "that does and that must be there.",
                    field=f"objects[{number - 1}].to",
                )
            include[-1]["position"] = [one.relation, at[one.to]]
    questions = [
        {
            "id": f"q{number}",
            "text": one.text,
            "expected": one.expected,
            **({"skill": one.skill} if one.skill.strip() else {}),
            "parents": [f"q{each}" for each in one.after],
        }
        for number, one in enumerate(asked.questions, 1)
    ]
    task = {"prompt": asked.prompt, "tag": asked.tag, "kind": asked.kind}
    if asked.kind == "objects":
        return {**task, "include": include, "exclude": exclude}, places
    return {**task, "questions": questions} if asked.kind == "questions" else task, places


def at_row(error: InvalidParams, places: dict[str, int]) -> InvalidParams:
    """Return what is wrong with a task, with the field of the form that it is at, as "objects[2].noun"."""
    field = error.field or ""
    part, _, rest = field.partition(".")
    rest = {"class": "noun"}.get(rest, rest)
    if part in places:
        words = error.message.removeprefix(field).strip()
        named_field = {"noun": "what it is", "count": "the number", "color": "the colour"}.get(rest, rest)
        return InvalidParams(
            f"Object {places[part]}: {named_field} {words}", field=f"objects[{places[part] - 1}].{rest}"
        )
    if field == "include":
        return InvalidParams(
            "A task of objects says what must be there, or what must not: add an object.", field="objects"
        )
    return InvalidParams(error.message, field=field)
