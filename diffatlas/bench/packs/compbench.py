"""Prompts of T2I-CompBench++, read from one's own copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diffatlas.bench.packs.rows import full_lines
from diffatlas.bench.tasks import MOST_PROMPT, MOST_TASKS, Pack, Task
from diffatlas.errors import InvalidParams


def read_compbench(paths: Sequence[Path | str]) -> Pack:
    """Return the pack of files of T2I-CompBench++ (``color_val.txt``; Huang et al. 2025, arXiv 2307.06350).

    A prompt a line; the category is the name of the file, without ``_val``. The set says nothing of what must be seen
    but the prompts themselves, so its tasks are free.

    Raises `Unreadable` for a file without prompts, FileNotFoundError, and `InvalidParams` for more prompts, or longer
    ones, than a pack may have.
    """
    tasks: list[Task] = []
    for path in map(Path, paths):
        tag = path.stem.removesuffix("_val")
        lines = full_lines(path)
        long = next((number for number, line in lines if len(line) > MOST_PROMPT), None)
        if long is not None:
            raise InvalidParams(f"{path.name}, line {long}: a prompt has {MOST_PROMPT} characters at most.")
        prompts = dict.fromkeys(" ".join(line.split()) for _, line in lines)
        tasks += [
            Task(id=f"{tag}-{number:04d}", prompt=prompt, tag=tag, kind="free")
            for number, prompt in enumerate(prompts)
        ]
    if len(tasks) > MOST_TASKS:
        raise InvalidParams(f"These are {len(tasks)} prompts: a pack has {MOST_TASKS} at most.")
    return Pack(
        name="t2i-compbench",
        title="T2I-CompBench++",
        description="Read from files of prompts, one a line.",
        licence="MIT",
        source="Huang et al., arXiv 2307.06350",
        tasks=tuple(tasks),
    )
