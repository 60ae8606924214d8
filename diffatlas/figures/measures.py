"""What a figure of a study is made of: the study, of one kind, and its measures as plain JSON types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffatlas.errors import InvalidParams
from diffatlas.library.study import Lane, Study
from diffatlas.studies.words_sweep import listed


def plain_measures(measures: Any) -> Mapping[str, Any]:
    """Return the measures of a study as plain JSON types, as its page and its files have them.

    measures: such a mapping, or what `measure_sweep` or `measure_neighbourhood` returned. Raises `InvalidParams` for
    anything else.
    """
    if not isinstance(measures, Mapping) and hasattr(measures, "to_dict"):
        measures = measures.to_dict()
    if not isinstance(measures, Mapping):
        kind = type(measures).__name__
        raise InvalidParams(f"A {kind} holds no measures of a study: give what measuring it returned.")
    return measures


def check_study(study: Any, operation: str, what: str) -> None:
    """Raise `InvalidParams` unless the study is of that operation. what: what is drawn of it, such as "Drift"."""
    if not isinstance(study, Study):
        raise InvalidParams(f"{what} is drawn of a {operation}, and a {type(study).__name__} is no study.")
    if study.operation != operation:
        raise InvalidParams(f"{what} is drawn of a {operation}, and this study is a {study.operation}.")


def field_of(study: Study, measures: Mapping[str, Any]) -> str:
    """Return the name of what a sweep varies."""
    return str(measures.get("field") or study.spec.get("field") or "value")


def lanes_of(study: Study, key: str | None) -> tuple[Lane, ...]:
    """Return the lane of that key, or all without one. Raises `InvalidParams` for a lane that there is not."""
    lanes = tuple(lane for lane in study.lanes if key is None or lane.key == key)
    if lanes or key is None:
        return lanes
    keys = listed([one.key for one in study.lanes]) or "none"
    raise InvalidParams(f"This {study.operation} has no lane {key}: its lanes are {keys}.")
