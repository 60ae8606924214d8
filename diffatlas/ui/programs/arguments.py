"""What each argument may be that a program gives: its JSON schema. A request's come from `diffatlas.request.FIELDS`."""

from __future__ import annotations

from typing import Any

from diffatlas.bench import plan as benches
from diffatlas.guidance import METHODS
from diffatlas.request import FIELDS, MAX_SEED, MAX_STEPS, METHOD, NUMBER, SIZE, WHOLE, Field
from diffatlas.studies.plan_neighbourhood import MOST_NEIGHBOURS, MOST_STOPS
from diffatlas.studies.plan_sweep import MOST_SEEDS
from diffatlas.ui.components.form import MAX_RUNS

#: Runs in one answer to a search, and how far into the list one may look.
MOST_FOUND, FURTHEST = 200, 1_000_000


def whole(least: int, most: int) -> dict[str, Any]:
    """Return the schema of a whole number in a range, both ends in it."""
    return {"type": "integer", "minimum": least, "maximum": most}


def number(least: float, most: float) -> dict[str, Any]:
    """Return the schema of a number in a range, both ends in it."""
    return {"type": "number", "minimum": least, "maximum": most}


#: By "endpoint.argument", or "argument" where it is the same in all of them.
OWN: dict[str, dict[str, Any]] = {
    "runs": whole(1, MAX_RUNS),
    "amount": number(0, 1),
    "sweep.seeds": whole(1, MOST_SEEDS),
    "bench.seeds": whole(1, benches.MOST_SEEDS),
    "k": whole(1, MOST_NEIGHBOURS),
    "radius": number(0, 1),
    "step": whole(0, MAX_STEPS - 1),
    "to_seed": whole(0, MAX_SEED),
    "stops": whole(2, MOST_STOPS),
    "offset": whole(1, MAX_SEED),
    "each": {"type": ["integer", "null"], "minimum": 1},
    "pack_seed": whole(0, MAX_SEED),
    "every": whole(1, 10_000),
    "most_layers": {"type": ["integer", "null"], "minimum": 1},
    "limit": whole(1, MOST_FOUND),
    "search.offset": whole(0, FURTHEST),
}
_BY_LINK = {field.link: field for field in FIELDS}


def schema_of(field: Field) -> dict[str, Any]:
    """Return the schema of a field of a request, as programs spell it."""
    if field.kind == WHOLE:
        return whole(int(field.least), int(field.most))
    if field.kind == NUMBER:
        return number(field.least, field.most)
    if field.kind == SIZE:
        return {"type": "string", "pattern": r"^\d+x\d+$"}
    if field.kind == METHOD:
        return {"type": "string", "enum": ["", *METHODS]}
    return {"type": "string"}


def known(endpoint: str, name: str) -> dict[str, Any] | None:
    """Return the schema of an argument of an endpoint; None for one of which only its component knows."""
    own = OWN.get(f"{endpoint}.{name}", OWN.get(name))
    if own is not None:
        return own
    return schema_of(_BY_LINK[name]) if name in _BY_LINK else None
