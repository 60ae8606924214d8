"""What is said of attention whose maps were resampled after they were captured, as those of static folders are."""

from __future__ import annotations

from diffatlas.attention.held import HeldAttention

#: What attention of each kind is called.
KINDS = {"cross": "to words", "self": "between places"}


def resampled_to(trace: HeldAttention, kind: str = "cross") -> str | None:
    """Return what the maps looked at were resampled to: "24 × 24 cells"; None where each is on its layer's own grid.

    kind: "cross" or "self".
    """
    sizes = dict.fromkeys(x.cells or x.grid for x in trace.layers_of(kind) if x.resampled)
    return " and ".join(f"{rows} × {columns}" for rows, columns in sizes) + " cells" if sizes else None


def measured_on(trace: HeldAttention, kind: str = "cross") -> str | None:
    """Say which measures are of resampled maps: "on maps resampled to 24 × 24 cells".

    kind: "cross" for entropy, reallocation and activation, "self" for entropy alone. None where all are of the layers'
    own maps, which may have been measured before the maps were resampled (`KeptMeasures`).
    """
    cells = resampled_to(trace, kind)
    if cells is None:
        return None
    known = [
        trace.kept_numbers(step, layer.key)
        for layer in trace.layers_of(kind)
        if layer.resampled
        for step in trace.steps
        if trace.holds(step, layer.key)
    ]
    if any(numbers is None for numbers in known):
        return f"on maps resampled to {cells}"
    if kind == "cross" and any(numbers.activation is None for numbers in known):
        return f"on the layers' own maps, but activation on maps resampled to {cells}"
    return None


def sentences(trace: HeldAttention) -> list[str]:
    """Return a sentence for each kind of attention whose maps were resampled, on what its numbers are measured."""
    found = []
    for kind, what in KINDS.items():
        cells, on = resampled_to(trace, kind), measured_on(trace, kind)
        if on is not None:
            all_of_them = on == f"on maps resampled to {cells}"
            found.append(
                f"Attention {what} is measured {on}{', not on those of the layers themselves' if all_of_them else ''}."
            )
        elif cells is not None:
            told = "entropy, reallocation and activation are" if kind == "cross" else "entropy is"
            found.append(
                f"Maps of attention {what} were resampled to {cells}: {told} as measured before that, everything else"
                " is of the resampled maps."
            )
    return found
