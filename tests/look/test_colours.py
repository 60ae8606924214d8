"""The colours can be read, and can be told apart by everybody."""

import itertools
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from diffatlas import figures, look
from diffatlas.formats.report.vector_ink import strokes
from diffatlas.look import FILM, GROUPS, LANES, LAYERS, NIGHT, PAPER, RAMP
from tests.library.made_runs import made

STATIC = Path(look.__file__).parents[1] / "ui/static"
VIEWER = STATIC.parents[1] / "formats/html/viewer"

#: What is seen of linear RGB with no working cones of one kind (Machado, Oliveira and Fernandes 2009, severity 1).
VISION = {
    "all": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
#: Linear sRGB to XYZ, and the white of D65.
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(colour: str) -> np.ndarray:
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB."""
    xyz = XYZ @ np.clip(rgb, 0, 1) / WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG 2.2."""
    low, high = sorted(float(XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def least_difference(colours: tuple[str, ...], vision: np.ndarray) -> float:
    """The least CIE 1976 difference of two of them."""
    seen = [lab(vision @ linear(colour)) for colour in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2))


@pytest.mark.parametrize("sees", VISION)
@pytest.mark.parametrize(
    ("colours", "least"),
    [(LAYERS[:3], 30), (LAYERS[:4], 25), (LAYERS[:6], 15), (LAYERS, 9.9), (GROUPS, 11), (LANES, 15)],
    ids=["3 layers", "4 layers", "6 layers", "10 layers", "8 groups", "lanes"],
)
def test_what_is_drawn_beside_each_other_is_told_apart(colours, least, sees):
    assert least_difference(colours, VISION[sees]) >= least


def test_the_layers_colours_of_before_would_fail():
    """The measure finds what it is for: two greens and browns that are one colour without green."""
    assert least_difference(("#3f8f5a", "#8f7358"), VISION["no green"]) < 2


@pytest.mark.parametrize("ground", [PAPER, NIGHT], ids=["paper", "night"])
def test_everything_is_seen_on_both_grounds(ground):
    for colour in (*LAYERS, *GROUPS, *LANES[1:], ground.burgundy):
        assert contrast(colour, ground.paper) >= 3, colour
    for name in ("ink", "muted", "burgundy", "gold_ink", "faint"):
        for under in (ground.paper, ground.sheet):
            assert contrast(getattr(ground, name), under) >= 4.5, name
    assert contrast(ground.on_press, ground.press) >= 4.5
    assert contrast(ground.on_press, ground.press_over) >= 4.5


def test_what_is_printed_on_film_is_read():
    for name in ("print", "print_gold", "print_muted", "failed"):
        assert contrast(getattr(FILM, name), FILM.base) >= 4.5, name


def test_no_layer_is_an_end_of_a_path():
    for layer, end in itertools.product(LAYERS, (PAPER.gold, NIGHT.gold, PAPER.burgundy, NIGHT.burgundy)):
        assert least_difference((layer, end), VISION["all"]) >= 20, (layer, end)


def test_the_ramp_rises_in_lightness():
    for vision in VISION.values():
        light = [lab(vision @ linear(colour))[0] for colour in RAMP]
        assert all(b - a > 10 for a, b in itertools.pairwise(light))


def sheets() -> dict[str, str]:
    return {
        path.name: re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for folder in (STATIC, VIEWER)
        for path in sorted(folder.rglob("*.css"))
    }


def scripts_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*.js")) if "vendor" not in path.parts]


def test_all_style_sheets_are_read():
    """Where none is, nothing below could fail."""
    assert {"page.css", "figure.css", "film.css", "study.css", "lab.css", "offline.css"} <= set(sheets())
    assert len(scripts_of(STATIC)) > 100


def declared(names: str) -> list[tuple[str, str, str]]:
    """Return (sheet, property, value) of the declarations whose property is one of a pattern."""
    found = re.compile(rf"^\s*({names}):\s([^;]*)", re.MULTILINE)
    return [(sheet, *pair) for sheet, text in sheets().items() for pair in found.findall(text)]


def test_type_and_space_are_on_their_scales():
    sized = declared("font|font-size")
    assert len(sized) > 200
    assert not [
        one for one in sized if re.search(r"\d(px|pt|rem|em)\b", one[2].split("/")[0]) and "px" in one[2]
    ]
    spaced = declared(r"(?:margin|padding|(?:row-|column-)?gap)(?:-\w+)*")
    assert len(spaced) > 400
    written = [
        (sheet, name, int(size))
        for sheet, name, value in spaced
        for size in re.findall(r"(?<![\w.-])(\d+)px", value)
    ]
    assert not [one for one in written if one[2] in look.SPACE]


def test_style_sheets_take_their_colours_from_here():
    named = {name for name, text in sheets().items() if re.search(r"#[0-9a-fA-F]{6}\b", text)}
    # Two guests in colours of their own.
    assert named <= {"companions.css"}


def test_every_variable_of_a_style_sheet_is_there():
    used = {name for text in sheets().values() for name in re.findall(r"var\((--da-[\w-]+)\)", text)}
    scripts = "\n".join(path.read_text(encoding="utf-8") for f in (STATIC, VIEWER) for path in scripts_of(f))
    used |= set(re.findall(r"var\((--da-[\w-]+)\)", scripts))
    written = "\n".join(sheets().values()) + scripts
    set_there = set(re.findall(r"(--da-[\w-]+)\s*:", written)) | set(
        re.findall(r'setProperty\("(--da-[\w-]+)"', written)
    )
    set_here = set(re.findall(r"(--da-[\w-]+):", look.variables()))
    assert used - set_there <= set_here
    # Nothing is said twice.
    assert not {name for name in set_here & set_there if f"{name}:" in "\n".join(sheets().values())}


def test_both_grounds_name_the_same():
    day, night = look.variables().split(".dark {")
    for one in fields(PAPER):
        name = f"--da-{one.name.replace('_', '-')}: "
        assert day.count(name) == night.count(name) == 1, name


def test_ten_layers_are_told_apart_without_colour():
    assert len(set(look.DASHES)) == len(set(look.SYMBOLS)) == len(LAYERS)
    drawn = [tuple(strokes(dash) or ()) for dash in look.DASHES]
    assert len(set(drawn)) == len(LAYERS)
    figure = figures.curves([replace(run, id=f"{k}") for k, run in enumerate([made(1)] * len(LAYERS))])
    lines = [one for one in figure.data if one.meta["measure"] == "norm" and one.mode == "lines"]
    assert [one.line.dash for one in lines] == list(look.DASHES)
    # plotly.js and the page's legend take what is no name as pixels.
    assert all(dash.isalpha() or re.fullmatch(r"\d+px(,\d+px)+", dash) for dash in look.DASHES)


#: Folders of pages, and what one of them styles for others on purpose: classes that several pages give their elements.
PAGES = ("trajectory", "study", "attention", "lab", "library", "bench", "settings")
SHARED = {
    "trajectory": {"da-deep", "da-deep-head", "da-deep-about", "da-map-legend", "da-ramp"},
    "study": {"da-lane-name", "da-lane-bar", "da-lane-status", "da-lane-acts", "da-shelf"},
    "attention": {"da-attention-head", "da-player"},
    "lab": {"da-attention-head", "da-problem"},
    "library": {"da-masthead-side", "da-offscreen", "da-details-row"},
}


def test_no_page_styles_the_elements_of_another_by_chance():
    """All sheets are in one document: a class alone, that two pages have happened upon, is styled on both."""
    scripts = {page: "\n".join(one.read_text("utf-8") for one in scripts_of(STATIC / page)) for page in PAGES}
    found: dict[str, set[str]] = {}
    for page in PAGES:
        text = "\n".join(
            re.sub(r"/\*.*?\*/", "", path.read_text("utf-8"), flags=re.DOTALL)
            for path in (STATIC / page).glob("*.css")
        )
        selectors = [each.strip() for rule in re.findall(r"([^{}@;]+)\{", text) for each in rule.split(",")]
        alone = {one[1] for each in selectors if (one := re.fullmatch(r"\.(da-[\w-]+)(?:[:\[]\S*)?", each))}
        others = "\n".join(scripts[other] for other in PAGES if other != page)
        found[page] = {name for name in alone if re.search(rf"(?<![\w-]){name}(?![\w-])", others)}
    assert {page: names for page, names in found.items() if names} == SHARED
