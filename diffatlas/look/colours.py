"""The colours, as "#rrggbb": ivory paper or near-black, ink, burgundy and gold, and those of what is drawn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ground:
    """What a page is made of.

    paper: the ground. sheet: what lies on it. ink, muted: text, and text of less weight. rule: lines. burgundy: the one
    accent, and the start of a path. gold: its end. gold_ink: gold that is read. red, green, blue: what is said of the
    channels of a picture. line: around a field. faint: what a field says before anything is typed. soft, over: behind
    what is chosen, and what is pointed at. press, press_over, on_press: the one button that begins, the same as it is
    pointed at, and its words. film: a strip of film on the ground.
    """

    paper: str
    sheet: str
    ink: str
    muted: str
    rule: str
    burgundy: str
    gold: str
    gold_ink: str
    red: str
    green: str
    blue: str
    line: str
    faint: str
    soft: str
    over: str
    press: str
    press_over: str
    on_press: str
    film: str


PAPER = Ground(
    paper="#faf7f0",
    sheet="#fffdf8",
    ink="#1f1a17",
    muted="#6a6058",
    rule="#ddd4c3",
    burgundy="#7c2d36",
    gold="#c9a227",
    gold_ink="#8a6a08",
    red="#b3362c",
    green="#2a7a45",
    blue="#2b5cb4",
    line="#b9ad9a",
    faint="#74695e",
    soft="#f3e7e0",
    over="#f1eadc",
    press="#7c2d36",
    press_over="#672329",
    on_press="#fffaf2",
    film="#221c18",
)
NIGHT = Ground(
    paper="#151311",
    sheet="#1c1916",
    ink="#ece5d8",
    muted="#a89d8f",
    rule="#3a342d",
    burgundy="#d9848c",
    gold="#d8b44a",
    gold_ink="#d8b44a",
    red="#f0857a",
    green="#6fc48c",
    blue="#86aef2",
    line="#5d544a",
    faint="#958a7d",
    soft="#33211f",
    over="#29241f",
    press="#8c3540",
    press_over="#a03f4b",
    on_press="#fffaf2",
    film="#2b2622",
)


@dataclass(frozen=True)
class Film:
    """The film stock, which is dark on paper and at night.

    base: the strip. dark, edge: behind a frame and around it. rule: between its parts. print, print_gold, print_muted:
    what is printed on it. unexposed, exposing: a frame without a picture, and one that is awaited. gold, burgundy:
    marks beside a frame. failed: what is said of a frame that could not be made.
    """

    base: str = "#171310"
    dark: str = "#0b0907"
    edge: str = "#51463c"
    rule: str = "#8d8274"
    print: str = "#f4efe4"
    print_gold: str = "#e3c766"
    print_muted: str = "#b3a796"
    unexposed: str = "#2b251f"
    exposing: str = "#4a3f2a"
    gold: str = "#d8a93a"
    burgundy: str = "#c4525f"
    failed: str = "#f0a9ae"


FILM = Film()

#: Red, green and blue of a picture's channels on film.
CHANNELS = ("#e0574f", "#62b06a", "#5b8fdc")

#: Locked layers: a contrast of at least 3 to both grounds, and apart for whoever sees no red, green or blue too
#: (tests/look). The first few are furthest apart. None is the gold or the burgundy of a path's ends.
LAYERS = (
    "#5c8ceb",
    "#d0557a",
    "#855b17",
    "#5d5e99",
    "#909231",
    "#25725b",
    "#54914f",
    "#9e4d7e",
    "#268c99",
    "#a373c9",
)

#: Shades of the accent for what takes one from a theme, from the lightest to the darkest.
BURGUNDIES = (
    "#faf0f0",
    "#f3dddf",
    "#e6bcc0",
    "#d9848c",
    "#b95761",
    "#7c2d36",
    "#6c262f",
    "#5b2028",
    "#4a1a20",
    "#3a1419",
    "#2a0e12",
)

#: Lanes of a study. The first, to which the others are compared, is the accent of the ground.
LANES = (PAPER.burgundy, LAYERS[0], LAYERS[4], LAYERS[3])

#: Groups that are found in what is measured, such as basins.
GROUPS = LAYERS[:8]

#: A map from its least to its most: ink, burgundy, gold, ivory, of evenly rising lightness, so that it reads the same
#: on both grounds and without colour vision.
RAMP = ("#1a1613", "#5e2230", "#b0503a", "#dcae4c", "#fdf7e3")
