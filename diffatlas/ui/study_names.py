"""What studies are called where several are in view."""

from __future__ import annotations

from collections.abc import Mapping

from diffatlas.library.study import Study
from diffatlas.names import facts_of
from diffatlas.params import GenerationParams
from diffatlas.ui.places import LOCAL, place_name

#: What a neighbourhood was asked, in words, in the order in which it is named.
_AROUND = {
    "k": "{} neighbours",
    "radius": "radius {:g}",
    "spread": "spread {}",
    "step": "after step {}",
    "to_seed": "to seed {}",
    "stops": "{} stops",
    "offset": "within {}",
}


def facts(study: Study, models: Mapping[str, str]) -> dict[str, str]:
    """Return what may tell a study from others (`diffatlas.names`). ``models``: names by id.

    What is swept is told by its values, not by what the request has of it.
    """
    spec = study.spec
    base = GenerationParams.from_dict(spec["base"]) if "base" in spec else study.cells[0].params
    told = facts_of(base.replace(num_images_per_prompt=1), models.get(base.model, ""))
    if study.lanes[0].backend != LOCAL:
        told["backend"] = f"at {place_name(study.lanes[0].backend)}"
    del told["noise"], told["num_images_per_prompt"], told["ended"]
    first = [cell for cell in study.cells if cell.lane == study.lanes[0].key]
    if study.operation == "sweep":
        told.pop(str(spec["field"]), None)
        seeds = len({cell.row for cell in first})
        own = {
            "values": ", ".join(cell.label for cell in first if cell.row == first[0].row),
            "seeds": "1 seed" if seeds == 1 else f"{seeds} seeds",
        }
    else:
        own = {"mode": f"by {spec['mode']}"}
        own |= {key: words.format(spec[key]) for key, words in _AROUND.items() if spec.get(key) is not None}
    further = " and ".join(lane.name for lane in study.lanes[1:])
    exact = "one by one" if spec.get("exact") else "in batches"
    done = sum(cell.status == "complete" for cell in study.cells)
    # One at work is called what it will be: its count changes faster than anyone can read it.
    whole = done == len(study.cells) or study.status in ("waiting", "running")
    ended = "all cells" if whole else f"{done} of {len(study.cells)} cells"
    return {
        **own,
        **told,
        "lanes": f"beside {further}" if further else "one lane",
        "exact": exact,
        "ended": ended,
    }
