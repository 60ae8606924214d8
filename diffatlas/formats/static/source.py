"""A static folder that is read: its JSON as far as it can be used, and what is noted on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from diffatlas.described import Wrong, by_name, fields, flag, listed, maybe, number, text, whole
from diffatlas.formats.static.check import Report
from diffatlas.library.manifest import MAX_MISSING, MAX_SENTENCE, STATUSES, check_params
from diffatlas.library.manifest import token as stored_token

_place = maybe(listed(whole(1, 1_000_000), 2, 2))


def _block(value: Any) -> None:
    if type(value) is not str and type(value) is not int:
        raise Wrong("is no part of a model")


def _status(value: Any) -> None:
    if value not in STATUSES:
        raise Wrong(f"is none of {', '.join(STATUSES)}")


#: What our own export adds, as far as it is read.
_OURS = fields(
    {
        "version": maybe(text(100)),
        "run": maybe(text(400)),
        "image": maybe(whole(0, 100_000)),
        "images": maybe(whole(0, 100_000)),
        "final_image": maybe(text(400)),
        "layers": listed(
            fields(
                {
                    "name": text(400),
                    "kind": text(20),
                    "heads": maybe(whole(0, 100_000)),
                    "grid": _place,
                    "cells": _place,
                    "block": maybe(_block),
                    "joint": maybe(flag),
                    "resampled": maybe(flag),
                },
                ("name", "kind"),
            ),
            10_000,
        ),
        "tokens": listed(stored_token, 200_000),
        "sigmas": listed(maybe(number), 100_000),
        "initial_sigma": maybe(number),
        "total_steps": maybe(whole(0, 1_000_000)),
        "seconds": maybe(number),
        "params": maybe(check_params),
        "scheduler": maybe(text()),
        "pipeline": maybe(text()),
        "status": maybe(_status),
        "error": maybe(fields({"code": text(100), "message": text(10_000)}, ("code", "message"))),
        "missing": maybe(by_name(text(MAX_SENTENCE), MAX_MISSING)),
    }
)


@dataclass
class Source:
    """A folder as far as it can be read. ``notes``: what is left out of its run, a sentence each."""

    folder: Path
    metadata: dict[str, Any]
    metrics: dict[str, Any]
    report: Report
    notes: list[str] = field(default_factory=list)

    @cached_property
    def ours(self) -> dict[str, Any]:
        """What our own export adds; {} in a folder of another tool."""
        own = self.metadata.get("diffatlas")
        if own is None:
            return {}
        try:
            _OURS(own)
        except Wrong as wrong:
            self.notes.append(f"What Diffusion Atlas added to the metadata is left out: {wrong}.")
            return {}
        return own

    @property
    def count(self) -> int:
        """Number of steps."""
        return self.metadata["steps"]
