"""A pack's text changed by a form: what a person wrote stays as it was written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from diffatlas.bench.packs.files import Fault, pack_or_fault, pack_text, plain, yaml_text
from diffatlas.bench.packs.lines import line_of, read_lines
from diffatlas.bench.tasks import Pack
from diffatlas.errors import InvalidParams


def named(text: str, name: str) -> str:
    """Return a pack's text with another name in it."""
    _, tree = read_lines(text)
    old = next(value for key, value in tree.value if key.value == "name")
    quoted = json.dumps(name) if old.style else yaml_text({"name": name}).removeprefix("name: ").rstrip()
    return text[: old.start_mark.index] + quoted + text[old.end_mark.index :]


def with_task(text: str, task: Mapping[str, Any]) -> str:
    """Return a pack's text with one more task, the last.

    task: as a file has it, but that the id may be missing: then it is made of the category and a number.

    Raises `InvalidParams` with the field of the task that is wrong, as ``include[0].class``, or with the field "text"
    where it is the text.
    """
    pack = pack_or_fault(text)
    if isinstance(pack, Fault):
        where = "" if pack.line is None else f", line {pack.line}"
        raise InvalidParams(f"Mend the text first{where}: {pack.sentence}", field="text")
    ids = {one.id for one in pack.tasks}
    task = {"id": _free_id(str(task.get("tag") or "task"), ids), **task}
    if task["id"] in ids:
        raise InvalidParams(
            f"id is {task['id']!r}, as that of an earlier task: give each its own.", field="id"
        )
    alone = pack_or_fault(json.dumps({"name": "one", "title": "One", "tasks": [task]}))
    if isinstance(alone, Fault):
        field = alone.field.removeprefix("tasks[0]").removeprefix(".")
        raise InvalidParams(f"{field} {alone.what}.", field=field)
    wanted = replace(pack, tasks=(*pack.tasks, *alone.tasks))
    written = _written(text, plain(alone.tasks[0]))
    if pack_or_fault(written) == wanted:
        return written
    # The list was written in a way that nothing can be put into by itself: all of it is written anew.
    return pack_text(wanted, "json" if text.lstrip().startswith("{") else "yaml")


def task_lines(text: str, pack: Pack) -> list[int]:
    """Return the line, from 1, on which each task of a pack begins in its text."""
    _, tree = read_lines(text)
    return [line_of(tree, ("tasks", number)) for number in range(len(pack.tasks))]


def _written(text: str, task: dict[str, Any]) -> str:
    _, tree = read_lines(text)
    tasks = next(value for key, value in tree.value if key.value == "tasks")
    if tasks.flow_style:
        end = tasks.value[-1].end_mark.index
        return f"{text[:end]},\n{json.dumps(task, ensure_ascii=False)}{text[end:]}"
    lines = text.splitlines(keepends=True)
    end = _end_of(tasks.value[-1])
    indent = " " * tasks.start_mark.column
    item = "".join(f"{indent}{line}\n" for line in yaml_text([task]).splitlines())
    before = "".join(lines[:end])
    return before + ("" if before.endswith("\n") else "\n") + item + "".join(lines[end:])


def _end_of(node: Any) -> int:
    """The number of the line after the last that a node is written on, from 0: without the remarks that follow."""
    if isinstance(node.value, list) and node.value and not node.flow_style:
        last = node.value[-1]
        return _end_of(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.line + (1 if node.end_mark.column else 0)


def _free_id(tag: str, ids: set[str]) -> str:
    plain_tag = re.sub(r"[^\w-]+", "-", tag).strip("-")[:60] or "task"
    numbered = (f"{plain_tag}-{number}" for number in range(1, len(ids) + 2))
    return next(one for one in numbered if one not in ids)
