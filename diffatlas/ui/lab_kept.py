"""What a visitor's labs leave behind: trained networks and drawings, kept beside their runs and found again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from diffatlas.errors import InvalidParams, NewerVersion
from diffatlas.formats.wire import shorts
from diffatlas.lab2d.mixtures import Target
from diffatlas.lab2d.shelf import Kept, Shelf
from diffatlas.lab2d.targets import TITLES
from diffatlas.lab2d.training import Recipe, Trainer
from diffatlas.names import told_apart
from diffatlas.ui.lab_sessions import Lab
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.wire.lab import Aside, KeepingTold, KeptAsked, KeptList, KeptOne, KeptRename

log = logging.getLogger("diffatlas")

#: Beside the runs; no run has a name like this.
FOLDER = ".lab"
#: What a shared server keeps for one visitor.
SHARED_MOST, SHARED_BYTES = 40, 60_000_000
#: Points of the picture of a drawing in the list.
THUMB = 120
_WORDS = {"eps": "noise (ε)", "x0": "clean point (x₀)", "v": "v", "flow": "flow (ε − x₀)"}


class LabKept:
    """Keeps what labs leave. ``libraries`` says where a visitor's things are; with None nothing is kept."""

    def __init__(self, libraries: Libraries | None) -> None:
        self._libraries = libraries
        self._lock = threading.RLock()

    @property
    def calls(self) -> dict[str, Callable[[str, Any], Any]]:
        """What the browser may call, by name."""
        return {
            "lab_kept": self.listed,
            "lab_kept_rename": self.rename,
            "lab_kept_delete": self.delete,
            "lab_kept_restore": self.restore,
        }

    def listed(self, visitor: str, asked: KeptAsked | None = None) -> KeptList:
        """Return all that is kept for a visitor, last changed first, and until when, where it goes some day."""
        shelf = self._shelf(visitor)
        if shelf is None:
            return {"kept": [], "expires": None}
        found = shelf.list()
        names = _names(found)
        entries = [_entry(kept, name) for kept, name in zip(found, names, strict=True)]
        return {"kept": entries, "expires": self._libraries.expires(visitor) if self._libraries else None}

    def rename(self, visitor: str, asked: KeptRename) -> KeptList:
        """Call one by another name, and return them all."""
        with self._lock:
            self._some(visitor).rename(asked.id, asked.name)
        return self.listed(visitor)

    def delete(self, visitor: str, asked: KeptOne) -> KeptList:
        """Delete one, and return those that are left."""
        with self._lock:
            self._some(visitor).delete(asked.id)
        return self.listed(visitor)

    def restore(self, visitor: str, asked: KeptOne) -> KeptList:
        """Have one back that was deleted, and return them all."""
        with self._lock:
            self._some(visitor).restore(asked.id)
        return self.listed(visitor)

    def keep(self, lab: Lab) -> None:
        """Keep a lab's network where it has been trained here, or its target where it was drawn.

        What cannot be kept says so in the lab's ``unkept``.
        """
        shelf = self._shelf(lab.visitor)
        if shelf is None:
            return
        trained = lab.trainer.step > lab.start or lab.origin == "file"
        try:
            with self._lock:
                if lab.target.name not in TITLES and lab.drawing is None:
                    lab.drawing = shelf.keep_drawing(lab.target, lab.given)
                if trained and (lab.kept is None or lab.trainer.step != lab.kept.step):
                    with lab.locked():
                        lab.kept = shelf.keep_network(
                            lab.trainer, lab.origin, lab.begun, lab.given, before=lab.kept
                        )
            lab.unkept = ""
        except (InvalidParams, NewerVersion) as error:
            lab.unkept = error.message
        except OSError as error:
            log.warning("A lab could not be kept: %s", error)
            lab.unkept = f"It could not be written: {error.strerror}."

    def open(self, visitor: str, name: Any) -> Lab:
        """Return a lab with a network that was kept, as it was. Raises `InvalidParams`."""
        kept, trainer = self._some(visitor).open(name)
        if not isinstance(trainer, Trainer):
            raise InvalidParams("This is a drawing and no network.")
        lab = Lab(visitor, trainer, kept.origin)
        lab.kept, lab.given, lab.begun = kept, kept.given, kept.begun
        return lab

    def target(self, visitor: str, name: Any) -> tuple[Target, int]:
        """Return a drawing that was kept, and how many points it was drawn with. Raises `InvalidParams`."""
        kept, target = self._some(visitor).open(name)
        if not isinstance(target, Target):
            raise InvalidParams("This is a network and no drawing.")
        return target, kept.given

    def told(self, lab: Lab) -> KeepingTold:
        """Return what the page says of the keeping of a lab."""
        return {"kept": lab.kept and lab.kept.id, "unkept": lab.unkept}

    def aside(self, lab: Lab | None, now: Lab) -> Aside | None:
        """Return what the page says of a lab whose place ``now`` has taken; None where nothing is left of it."""
        if lab is None or lab is now:
            return None
        if lab.unkept:
            # It is still in memory, so the way back is to the lab itself.
            return {"name": own_name(lab), "kind": "network", "lab": lab.id, "problem": lab.unkept}
        thing = lab.kept or lab.drawing
        if thing is None or thing.id in [kept.id for kept in (now.kept, now.drawing) if kept]:
            return None
        found = self._some(lab.visitor).list()
        names = {kept.id: name for kept, name in zip(found, _names(found), strict=True)}
        if thing.id not in names:
            return None
        return {"name": names[thing.id], "kind": thing.kind, "kept": thing.id, "problem": ""}

    def _shelf(self, visitor: str) -> Shelf | None:
        if self._libraries is None:
            return None
        folder = self._libraries.of(visitor).folder / FOLDER
        return Shelf(folder, SHARED_MOST, SHARED_BYTES) if self._libraries.shared else Shelf(folder)

    def _some(self, visitor: str) -> Shelf:
        shelf = self._shelf(visitor)
        if shelf is None:
            raise InvalidParams("This app keeps nothing.")
        return shelf


def own_name(lab: Lab) -> str:
    """Return what a lab's network is called by itself."""
    recipe = lab.trainer.recipe
    return _network_name(title(lab.target.name), recipe.depth, recipe.width, lab.trainer.step)


def title(name: str) -> str:
    """Return what a target is called on the page."""
    return TITLES.get(name) or {"drawing": "Your drawing", "table": "Your table"}.get(name, name)


def _network_name(target: str, depth: int, width: int, step: int) -> str:
    return f"{target}, {depth} × {width}, {step:,} steps"


def _names(found: list[Kept]) -> list[str]:
    """Return a name for each, no two the same: that which a person gave, or what it is, and what differs."""
    return told_apart([kept.name or _own(kept) for kept in found], [_facts(kept) for kept in found])


def _own(kept: Kept) -> str:
    if kept.kind == "damaged":
        return f"Damaged ({kept.id[:6]})"
    target = kept.target
    name = title(str(target.get("preset") or target.get("name") or "drawing"))
    if kept.kind == "network":
        recipe = kept.recipe or {}
        return _network_name(name, recipe.get("depth", 0), recipe.get("width", 0), kept.step)
    points = target.get("points")
    return f"{name}, {kept.given or len(points if isinstance(points, list) else [])} points"


def _facts(kept: Kept) -> dict[str, str]:
    """What may tell a network from others of its name, in words."""
    recipe = kept.recipe or {}
    facts = {f.name: f"{f.name.replace('_', ' ')} {recipe.get(f.name, f.default)}" for f in fields(Recipe)}
    facts["objective"] = f"predicts {_WORDS.get(str(recipe.get('objective')), '')}"
    return {**facts, "kind": kept.kind, "origin": f"from {kept.origin}", "name": _own(kept)}


def _entry(kept: Kept, name: str) -> dict[str, Any]:
    """What the list shows of one. A drawing comes with points to be known by."""
    entry: dict[str, Any] = {
        "id": kept.id,
        "kind": kept.kind,
        "name": name,
        "given": kept.name,
        "changed": kept.changed,
        "problem": kept.problem,
        "preset": kept.target.get("preset"),
    }
    points, labels = kept.target.get("points"), kept.target.get("labels")
    if isinstance(points, list) and isinstance(labels, list) and len(points) == len(labels) > 0:
        try:
            at = np.linspace(0, len(points) - 1, min(len(points), THUMB)).round().astype(int)
            entry["points"] = shorts(np.array(points, float).reshape(-1, 2)[at], 8.0)
            entry["labels"] = [int(labels[k]) for k in at]
        except (TypeError, ValueError):
            entry["problem"] = "Its points cannot be read."
    return entry
