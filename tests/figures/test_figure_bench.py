"""The figures of a bench: their numbers are those of the statistics, and what is not known is said."""

from __future__ import annotations

from typing import Any

import pytest

from diffatlas import figures
from diffatlas.bench.agreeing import agree
from diffatlas.bench.audit import Audit, Audited
from diffatlas.bench.counted import count, differences
from diffatlas.bench.difficulty import by_atoms
from diffatlas.bench.seeds import by_number
from diffatlas.bench.statistics import rate
from diffatlas.errors import InvalidParams
from diffatlas.figures.figure import text
from diffatlas.look import NIGHT
from tests.figures.made_benches import bench, drawn
from tests.figures.written import HOSTILE, written

PARTLY = {"colour": ["ppff", "pp-f"], "count": ["fp--", "ffpp"], "free": ["----"]}


def marks(figure: Any, line: str, measure: str | None = None) -> list[tuple[float, float]]:
    """Where the values of a line are, and at what height."""
    return [
        (x, y)
        for one in figure.data
        if one.meta.get("part") == "value"
        and one.meta["line"] == line
        and measure in (None, one.meta["measure"])
        for x, y in zip(one.x, one.y, strict=True)
    ]


def ends(figure: Any, line: str, across: bool = True) -> list[tuple[float, float]]:
    """The ends of the intervals of a line."""
    (one,) = (d for d in figure.data if d.meta.get("part") == "interval" and d.meta["line"] == line)
    values = [value for value in (one.x if across else one.y) if value is not None]
    return list(zip(values[::2], values[1::2], strict=True))


def notes(figure: Any) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def test_rates_are_those_that_are_counted_and_the_mean_comes_last():
    counted = count(bench(PARTLY))
    figure = figures.bench_rates({"mine": counted})
    known = [*(line.rate for line in counted.lines if line.rate), counted.overall]
    assert [x for x, _ in marks(figure, "mine")] == [one.value for one in known]
    assert ends(figure, "mine") == [(one.low, one.high) for one in known]
    heights = [y for _, y in marks(figure, "mine")]
    assert heights == sorted(heights)
    said = notes(figure)
    assert said[0].startswith("colour: 0.57 (")
    assert said[0].endswith("1 not judged")
    assert said[2] == "free"
    assert said[3].startswith(f"mean of categories: {counted.overall.value:.2f} (")
    assert "nothing could be judged: 4 images" in said
    says = figure.layout.meta["says"]
    assert "best colour, 0.57, worst count, 0.50" in says
    assert "Not judged, and not counted: 1 of colour, 2 of count, all 4 of free." in says


def test_several_benches_are_apart_by_colour_and_symbol_and_keep_their_rows():
    lanes = {name: count(drawn(0.5, k)) for k, name in enumerate("abcd")}
    lanes["b"] = count(bench({"colour": ["pf"], "other": ["pp"]}))
    figure = figures.bench_rates(lanes, dark=True)
    shown = [one for one in figure.data if one.meta.get("part") == "value"]
    assert len({one.marker.color for one in shown}) == len({one.marker.symbol for one in shown}) == 4
    assert all(one.showlegend for one in shown)
    # The rows of a category are beneath each other in the order of the lanes, and b has no counting.
    assert marks(figure, "a")[0][1] < marks(figure, "b")[0][1] < marks(figure, "c")[0][1]
    assert notes(figure).count("no such category") == 2 + 3
    assert figure.layout.template.layout.paper_bgcolor == NIGHT.paper
    with pytest.raises(InvalidParams, match="no bench to draw"):
        figures.bench_rates({})


def test_a_bench_of_which_nothing_is_known_is_drawn_and_says_so():
    figure = figures.bench_rates({"mine": count(bench({"free": ["---"]}))})
    assert marks(figure, "mine") == []
    assert notes(figure)[-2:] == ["nothing could be judged: 3 images", "nothing could be judged"]
    assert "mine: nothing could be judged." in figure.layout.meta["says"]


def test_differences_are_drawn_with_what_could_have_been_found():
    whole, found = differences(drawn(0.3, 1), drawn(0.8, 2))
    figure = figures.bench_compared(whole, found, ("old", "new"))
    every = [*(one.compared for one in found), whole]
    assert [x for x, _ in marks(figure, "difference")] == [one.difference for one in every]
    assert ends(figure, "difference") == [(one.low, one.high) for one in every]
    bands = [(one.x0, one.x1) for one in figure.layout.shapes if one.name == "detectable"]
    assert bands == [(-one.detectable, one.detectable) for one in every]
    low, high = figure.layout.xaxis.range
    assert low <= min(one.low for one in every)
    assert high >= max(one.high for one in every)
    for one, said in zip(found, notes(figure)[:3], strict=True):
        assert f"{one.tag}: {one.compared.difference:+.2f}, p" in said
    says = figure.layout.meta["says"]
    assert f"new minus old is {whole.difference:+.2f}" in says
    assert "p < 0.001" in says or f"p = {whole.p:.2g}" in says


def test_what_may_have_been_missed_is_told_where_nothing_differs():
    whole, found = differences(drawn(0.5, 1), drawn(0.5, 1))
    says = figures.bench_compared(whole, found).layout.meta["says"]
    assert "the second and the first have the same rate" in says
    assert "No category differs beyond chance" in says
    whole, found = differences(drawn(0.5, 1), drawn(0.5, 4))
    most = max(one.compared.detectable for one in found)
    says = figures.bench_compared(whole, found).layout.meta["says"]
    assert f"a difference of up to {most:.2f} may have been missed" in says


def test_agreement_has_three_charts_and_an_undefined_kappa_is_written():
    left = bench({"colour": ["pppp", "pp"], "count": ["pfpf", "ffpp"]})
    right = bench({"colour": ["pppp", "pp"], "count": ["pfff", "fp-p"]})
    (pair,) = agree({"x": left, "y": right})
    figure = figures.bench_agreement([pair])
    colour, counting, whole = (line.agreement for line in (*pair.lines, pair.overall))
    assert [x for x, _ in marks(figure, "x and y", "raw")] == [1, counting.raw, whole.raw]
    assert [x for x, _ in marks(figure, "x and y", "kappa")] == [counting.kappa, whole.kappa]
    assert [x for x, _ in marks(figure, "x and y", "ac1")] == [colour.ac1, counting.ac1, whole.ac1]
    assert notes(figure).count("undefined: all marks are equal") == 1
    says = figure.layout.meta["says"]
    assert "Kappa is undefined for colour" in says
    assert "1 image lacked a mark" in says
    assert not figure.layout.showlegend
    pairs = agree({"x": left, "y": right, "z": left})
    narrow = figures.bench_agreement(pairs, across=1)
    assert narrow.layout.showlegend
    assert sum(bool(one.showlegend) for one in narrow.data) == 3


def test_difficulty_is_a_rate_for_each_number_of_things():
    found = by_atoms(drawn(0.6, 3))
    figure = figures.bench_difficulty({"mine": found})
    assert [(round(x), y) for x, y in marks(figure, "mine")] == [(one.atoms, one.rate.value) for one in found]
    assert ends(figure, "mine", across=False) == [(one.rate.low, one.rate.high) for one in found]
    assert "where 1 thing is demanded" in figure.layout.meta["says"]
    none = figures.bench_difficulty({"mine": by_atoms([])})
    assert "No prompt says what it demands" in notes(none)[0]
    several = figures.bench_difficulty({"a": found, "b": found})
    assert marks(several, "a")[0][0] < marks(several, "b")[0][0]


def test_seeds_have_their_rates_and_the_shares_of_the_variance():
    judged = drawn(0.5, 5)
    found = by_number(judged)
    figure = figures.bench_seeds(found)
    (bars,) = (one for one in figure.data if one.type == "bar")
    assert list(bars.y) == [found.shares[part] for part in ("prompt", "seed", "rest")]
    assert marks(figure, "numbers") == [(one.number, one.rate.value) for one in found.numbers]
    assert ends(figure, "numbers", across=False) == [(one.rate.low, one.rate.high) for one in found.numbers]
    assert "may be chance" in figure.layout.meta["says"]
    single = figures.bench_seeds(by_number(bench({"a": ["p", "f"]})))
    assert "Not known." in notes(single)
    assert "two of each at least" in single.layout.meta["says"]
    assert "Nothing could be judged." in notes(figures.bench_seeds(by_number(bench({"a": ["--"]}))))


def test_an_audit_shows_what_a_scorer_is_blind_to():
    right = rate([1.0] * 9 + [0.0], [f"p{k}" for k in range(10)])
    blind = rate([0.0] * 8, [f"p{k}" for k in range(8)])
    kinds = (Audited("as asked", right, 0), Audited("moved", blind, 2), Audited("removed", None, 5))
    audit = Audit(kinds, (9, 10), (0, 8))
    figure = figures.bench_audit({"eye": audit})
    assert [x for x, _ in marks(figure, "eye")] == [0.9, 0.0]
    assert "nothing could be judged: 5" in notes(figure)
    says = figure.layout.meta["says"]
    assert "passes 9 of 10 images without a fault and fails 0 of 8 with one" in says
    assert "least often right about “moved”" in says
    assert "Not judged: 2 of moved, 5 of removed." in says
    both = figures.bench_audit({"eye": audit, "other": Audit(kinds[:1], (9, 10), (0, 0))})
    assert notes(both).count("not among its images") == 2


def test_names_are_shown_literally_and_only_their_middle_is_cut():
    tags = [f"{HOSTILE} a very long category indeed with number {k}" for k in range(2)]
    judged = bench({tag: ["pf", "pp"] for tag in tags})
    other = bench({tag: ["pp", "ff"] for tag in tags})
    made = [
        figures.bench_rates({HOSTILE: count(judged), "b": count(other)}),
        figures.bench_compared(*differences(judged, other), (HOSTILE, "b")),
        figures.bench_agreement(agree({HOSTILE: judged, "b": other})),
        figures.bench_difficulty({HOSTILE: by_atoms(judged)}),
        figures.bench_seeds(by_number(judged), HOSTILE),
        figures.bench_audit({HOSTILE: Audit((Audited(HOSTILE, None, 1),), (0, 0), (0, 0))}),
    ]
    for figure in made:
        assert "<a href" not in written(figure)
        assert figure.layout.meta["spoken"].startswith(figure.layout.meta["told"][0])
    # On a wide page they are whole, on a narrow one what differs is left.
    assert [said for said in notes(made[0]) if "very long" in said] == [text(tag) for tag in tags]
    narrow = figures.bench_rates({"a": count(judged)}, across=1)
    rows = [said.partition(":")[0] for said in notes(narrow)][:2]
    assert [said[-8:] for said in rows] == ["number 0", "number 1"]
    assert max(map(len, rows)) < 52
    assert [said.partition(": ")[2][:5] for said in notes(narrow)[:2]] == ["0.75 ", "0.75 "]
