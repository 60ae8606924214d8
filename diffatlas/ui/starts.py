"""What each page begins with: the first request of its form, and the recorded example that plays before anything runs.

The examples are in ``diffatlas/examples``; ``python -m docs.record_examples`` makes them from what is said here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from diffatlas.library.shipped import EXAMPLES
from diffatlas.ui.presets import PRESETS, Preset
from diffatlas.ui.workshop.held import presets_of

#: The ids of what was recorded, by the name of the page.
IDS_FILE = EXAMPLES / "starts.json"


@dataclass(frozen=True)
class Start:
    """The start of a page. ``says``: what one sees in the example, in a sentence or two. ``action``: its button."""

    preset: Preset
    says: str
    action: str


STARTS = {
    "trajectory": Start(
        PRESETS["trajectory"][0],
        "The two colours are in their places by step 6 of 30, before either shape has an edge. From step 10 on it only "
        "sharpens.",
        "Run it yourself",
    ),
    "sweep": Start(
        PRESETS["sweep"][0],
        "One noise under more and more guidance. The model’s own value is 3; at 30 the colours are pushed too far, and "
        "the star melts.",
        "Sweep it yourself",
    ),
    "neighbourhood": Start(
        PRESETS["neighbourhood"][0],
        "Twelve neighbours of one noise. The prompt says nothing of the background: close by it stays navy, further "
        "out the noise makes it black, and at last grey.",
        "Explore it yourself",
    ),
    "attention": Start(
        PRESETS["attention"][0],
        "Where the picture read each word. Choose “ring” and then “star”: each is read where its own shape is drawn.",
        "Run it yourself",
    ),
}
#: Recorded runs with attention besides, by their names in the file of ids: what a button calls each, and its start.
#: The first that the pages begin with gets both of its objects right; of this one it can be seen how it fails.
OTHERS = {
    "swapped": (
        "A run whose colours change places",
        Start(
            PRESETS["attention"][1],
            "A blue star and a purple square were asked for, without guidance. Choose “blue”: it is read where the "
            "square is drawn, and the square is what turns blue.",
            "Run it yourself",
        ),
    ),
}
#: At every so many of their steps attention is kept: enough to see it, and few bytes.
OTHERS_ATTENTION_EVERY = 5
#: Guidance scales of the sweep: from none to what breaks the picture.
SCALES = "1, 3, 7.5, 15, 30"
NEIGHBOURS, RADIUS = 12, 0.6


def page_of_form(prefix: str) -> str:
    """Return the name of the page whose form has this prefix of ids."""
    return "trajectory" if prefix == "field" else prefix


def first_of_form(prefix: str) -> Preset:
    """Return the request that the form with this prefix of ids begins with: the first of its presets."""
    page = page_of_form(prefix)
    return next(iter(presets_of(page)), STARTS[page].preset)


def start_of(page: str) -> dict[str, Any] | None:
    """Return the example of a page as its view shows it: id, says and action; None where none was recorded, or
    a workshop begins with another request.

    others: of the Attention page, further runs that can be looked at: id, name and says of each.
    """
    start = STARTS[page]
    # A workshop has requests of its own: what was recorded is no example of them.
    found = _ids().get(page) if start.preset in presets_of(page)[:1] else None
    others = [
        {"id": _ids()[key], "name": name, "says": other.says}
        for key, (name, other) in OTHERS.items()
        if page == "attention" and key in _ids()
    ]
    return found and {"id": found, "says": start.says, "action": start.action, "others": others}


def recorded_runs() -> list[str]:
    """Return the ids of the recorded runs that a library can be given to begin with; [] where none came along."""
    return [_ids()[name] for name in ("trajectory", *OTHERS) if name in _ids()]


def _ids() -> dict[str, str]:
    try:
        return json.loads(IDS_FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
