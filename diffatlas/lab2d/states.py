"""A lab in a file: target, recipe, weights and what was looked at, as JSON. Opened again it goes on to the bit."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from diffatlas import files
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.lab2d.mixtures import Gaussians, Target
from diffatlas.lab2d.targets import PRESETS, drawn, preset
from diffatlas.lab2d.training import Recipe, Trainer
from diffatlas.stored_version import check_version

FORMAT, VERSION = "diffatlas-lab", 1
MOST_BYTES = 16_000_000
PRETRAINED = Path(__file__).parent / "pretrained"
_WEIGHTS = ("average", "last", "moments", "early")


def target_json(target: Target) -> dict[str, Any]:
    """Return what makes a target again."""
    if target.name in PRESETS:
        return {"preset": target.name}
    assert isinstance(target.parts, Gaussians)
    return {
        "name": target.name,
        "points": target.parts.means.tolist(),
        "labels": target.labels.tolist(),
        "classes": list(target.classes),
        "jitter": float(np.sqrt(target.parts.covariances[0, 0, 0])),
    }


def target_of(value: Any) -> Target:
    """Return the target that `target_json` describes. Raises `InvalidParams`."""
    if not isinstance(value, dict):
        raise InvalidParams("A target is an object: a preset's name, or points.", field="target")
    if "preset" in value:
        return preset(value["preset"] if isinstance(value["preset"], str) else "")
    classes = value.get("classes")
    names = tuple(str(name)[:40] for name in classes) if isinstance(classes, list) and classes else None
    try:
        points = np.array(value.get("points"), float)
        labels = None if value.get("labels") is None else np.array(value["labels"], int)
        jitter = float(value.get("jitter", 0.06))
    except (TypeError, ValueError, OverflowError):
        raise InvalidParams("The points of this target are not numbers.", field="target") from None
    if labels is not None and labels.size and names and not 0 <= labels.min() <= labels.max() < len(names):
        raise InvalidParams("A point has a class that the target does not name.", field="target")
    return drawn(points, labels, jitter=jitter, name=str(value.get("name") or "drawing")[:60], classes=names)


def parts_of(trainer: Trainer) -> dict[str, np.ndarray]:
    """Return the numbers that a network has learned, float32 by name: its weights, and the losses of its steps."""
    parts = {"average": trainer.average, "last": trainer.vector, "moments": trainer.moments}
    if trainer.early is not None:
        parts["early"] = trainer.early
    return {**parts, "losses": np.array(trainer.losses, np.float32)}


def trainer_of(value: dict[str, Any], parts: dict[str, np.ndarray]) -> Trainer:
    """Return the trainer of a target, a recipe and a step in JSON, with `parts_of` it in any shape.

    Of the parts only the averaged weights have to be there: training then goes on from these with fresh moments.
    Raises `InvalidParams` where anything does not fit.
    """
    trainer = Trainer(target_of(value.get("target")), Recipe.of(value.get("recipe")))
    step = value.get("step")
    if not isinstance(step, int) or isinstance(step, bool) or not 0 <= step <= 10**7:
        raise InvalidParams("This lab has no step or no weights.", field="state")
    if "average" not in parts:
        raise InvalidParams("This lab has no weights.", field="state")
    size = trainer.shape.parameters
    for name, values in parts.items():
        wanted = {"moments": 2 * size, "losses": values.size}.get(name, size)
        if values.size != wanted or not np.isfinite(values).all():
            raise InvalidParams("The weights of this lab do not fit its recipe.", field="state")
    trainer.average[:] = parts["average"].ravel()
    trainer.vector[:] = parts.get("last", parts["average"]).ravel()
    if "moments" in parts:
        trainer.moments[:] = parts["moments"].reshape(2, size)
    trainer.early = parts.get("early")
    trainer.step = step
    trainer.losses = parts["losses"].astype(float).tolist() if "losses" in parts else []
    return trainer


def to_json(trainer: Trainer, view: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a lab as a JSON object. view: what was looked at and how, kept as it is."""
    parts = parts_of(trainer)
    return {
        "format": FORMAT,
        "version": VERSION,
        "target": target_json(trainer.target),
        "recipe": asdict(trainer.recipe),
        "step": trainer.step,
        "weights": {name: _pack(parts[name]) if name in parts else None for name in _WEIGHTS},
        "losses": _pack(parts["losses"]),
        "view": view or {},
    }


def from_json(value: Any) -> tuple[Trainer, dict[str, Any]]:
    """Return (trainer, view) of `to_json`. Raises `InvalidParams` with what is wrong, `NewerVersion` of a later format.

    A file may hold the averaged weights only, see `trainer_of`.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InvalidParams(
            "This is not a lab: choose a .json file that the 2D Lab has saved.", field="state"
        )
    try:
        check_version(value.get("version"), VERSION, "This lab")
    except ValueError as error:
        raise InvalidParams(f"This lab cannot be read: {error}.", field="state") from None
    weights = value.get("weights")
    if not isinstance(weights, dict):
        raise InvalidParams("This lab has no step or no weights.", field="state")
    parts = {name: _unpack(weights[name]) for name in _WEIGHTS if weights.get(name) is not None}
    if value.get("losses"):
        parts["losses"] = _unpack(value["losses"])
    view = value.get("view")
    return trainer_of(value, parts), view if isinstance(view, dict) else {}


def read(path: str | Path) -> tuple[Trainer, dict[str, Any]]:
    """Open a lab's file. Raises `InvalidParams` or `NewerVersion`."""
    try:
        data = files.read_bytes(Path(path), MOST_BYTES)
    except Unreadable as error:
        raise InvalidParams(f"{path} cannot be read: {error.reason}.", field="state") from error
    except FileNotFoundError as error:
        raise InvalidParams(f"{path} cannot be read: there is no such file.", field="state") from error
    return parse(data)


def parse(data: bytes | str) -> tuple[Trainer, dict[str, Any]]:
    """Open a lab from the text of its file. Raises `InvalidParams` or `NewerVersion`."""
    if len(data) > MOST_BYTES:
        raise InvalidParams(f"A lab's file is at most {MOST_BYTES // 10**6} MB.", field="state")
    try:
        value = files.parse_json(data, "the file")
    except Unreadable as error:
        raise InvalidParams(
            f"This file is not JSON that can be read ({error.reason}): choose one that the 2D Lab has saved.",
            field="state",
        ) from None
    return from_json(value)


def write(path: str | Path, trainer: Trainer, view: dict[str, Any] | None = None) -> None:
    """Save a lab, replacing the file at once."""
    write_whole(Path(path), json.dumps(to_json(trainer, view)).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name, then rename it: a reader sees all of it or none."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def pretrained(name: str) -> Trainer:
    """Return a preset's trained start. Raises `InvalidParams` for an unknown name."""
    preset(name)
    return read(PRETRAINED / f"{name}.json")[0]


def _pack(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _unpack(text: Any) -> np.ndarray:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4").copy()
    except (binascii.Error, TypeError, ValueError):
        raise InvalidParams("The weights of this lab cannot be read.", field="state") from None
