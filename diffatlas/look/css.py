"""The same as variables of a style sheet, and the families of type."""

from __future__ import annotations

from dataclasses import fields
from urllib.parse import quote

from diffatlas.look.colours import CHANNELS, FILM, GROUPS, LANES, LAYERS, NIGHT, PAPER, RAMP, Ground
from diffatlas.look.scale import SPACE, TYPE

SANS = "IBM Plex Sans"
SERIF = '"Lora", Georgia, serif'
MONO = '"IBM Plex Mono", ui-monospace, monospace'

#: Of a drawing in a style sheet, what is written as it is.
_PLAIN = " =:/'."


def variables() -> str:
    """Return the style sheet that names everything: ``--da-ink``, ``--da-layer-0``, ``--da-type-note`` and so on."""
    fixed = {
        "serif": SERIF,
        "mono": MONO,
        **{f"type-{name}": f"{size}px" for name, size in TYPE.items()},
        **{f"space-{k}": f"{size}px" for k, size in enumerate(SPACE, 1)},
        **{f"film-{_dashed(one.name)}": getattr(FILM, one.name) for one in fields(FILM)},
        **_numbered("channel", CHANNELS),
        **_numbered("layer", LAYERS),
        **_numbered("group", GROUPS),
        **_numbered("ramp", RAMP),
        # The accent changes with the ground.
        **_numbered("lane", ("var(--da-burgundy)", *LANES[1:])),
    }
    return _rule(":root", {**fixed, **_ground(PAPER)}) + _rule(".dark", _ground(NIGHT))


def _ground(ground: Ground) -> dict[str, str]:
    named = {_dashed(one.name): getattr(ground, one.name) for one in fields(ground)}
    return {**named, "hole": _hole(ground.paper)}


def _hole(paper: str) -> str:
    """A hole of the film's edge, through which one sees the paper."""
    shape = f"<rect x='4' y='4' width='11' height='7.5' rx='2' fill='{paper}'/>"
    drawing = f"<svg xmlns='http://www.w3.org/2000/svg' width='19' height='15'>{shape}</svg>"
    return f'url("data:image/svg+xml,{quote(drawing, safe=_PLAIN)}")'


def _numbered(name: str, values: tuple[str, ...]) -> dict[str, str]:
    return {f"{name}-{k}": value for k, value in enumerate(values)}


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _rule(selector: str, named: dict[str, str]) -> str:
    return f"{selector} {{\n" + "".join(f"  --da-{name}: {value};\n" for name, value in named.items()) + "}\n"
