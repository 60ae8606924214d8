"""The modules of the pages that only compute, each alone, against what Python, NumPy and counting by hand make of it.

All of them run in one page, which has no app behind it: its files are answered from the folder.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from diffatlas import look
from diffatlas.formats.wire import floats, shorts
from diffatlas.geometry.attention import resample
from diffatlas.geometry.overlay import colours
from diffatlas.lab2d.samplers import SAMPLERS, Plan, record, sample
from diffatlas.lab2d.schedules import T, schedule
from diffatlas.params import seed_words
from tests.browser.module_page import HOST, Call, loader, module_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(chromium: Any) -> Iterator[Any]:
    with module_page(chromium) as page:
        # What waits is not waited for.
        page.evaluate("() => { const later = setTimeout; window.setTimeout = (act) => later(act, 0); }")
        yield page


@pytest.fixture
def module(page: Any) -> Callable[[str], Call]:
    """`loader` of the page."""
    return loader(page)


def number(text: str) -> float:
    """What a number is that a page shows."""
    return float(text.replace("−", "-"))


def digits(text: str) -> int:
    """How many significant digits it has."""
    return len(re.sub(r"e.*|[−.]", "", text).lstrip("0"))


VALUES = [
    0.5,
    -0.25,
    1.0,
    9.9994,
    9.9996,
    99.996,
    123456,
    999_999.4,
    1e6,
    -2.5e7,
    0.00012345,
    9.9e-5,
    0.1 + 0.2,
    1 / 3,
]


@pytest.mark.parametrize(
    "value", [*VALUES, *np.random.default_rng(0).normal(0, 10.0 ** np.arange(-6, 9)).tolist()]
)
@pytest.mark.parametrize("count", [2, 3, 4])
def test_significant_digits_are_so_many_of_the_number(module: Any, value: float, count: int) -> None:
    text = module("core/format.js")("m.significant(value, count)", value=value, count=count)
    if "e" in text:
        assert not 1e-4 <= abs(value) < 1e6
        assert number(text) == pytest.approx(value, rel=0.5 * 10.0 ** (2 - count))
        return
    # Six decimals at most, and never fewer digits before the point than there are.
    unit = max(1e-6, 10.0 ** (math.floor(math.log10(abs(value))) + 1 - count))
    assert abs(number(text) - value) <= 0.5001 * max(unit, 1e-6) or abs(number(text) - value) <= 0.5
    whole = len(str(int(abs(number(text))))) if abs(number(text)) >= 1 else 0
    assert digits(text) <= max(count, whole)
    assert text.count("-") == 0


@pytest.mark.parametrize("value", VALUES)
def test_a_short_number_is_what_python_rounds_to(module: Any, value: float) -> None:
    text = module("core/format.js")("m.short(value)", value=value)
    assert number(text) == float(f"{value:.4g}")
    assert not text.endswith(".0")


def test_nothing_and_no_number_are_a_dash(module: Any) -> None:
    shown = "[null, undefined, NaN, Infinity].flatMap((v) => [m.significant(v), m.short(v)])"
    assert module("core/format.js")(shown) == ["–"] * 8


@pytest.mark.parametrize(
    ("low", "high", "count"), [(0, 1, 4), (-3, 7, 4), (0.013, 0.02, 3), (990, 1010, 5), (0, 3e-5, 3)]
)
def test_ticks_are_round_and_hold_what_they_are_of(module: Any, low: float, high: float, count: int) -> None:
    ticks = module("core/format.js")("m.niceTicks(low, high, count)", low=low, high=high, count=count)
    step = np.diff(ticks)
    assert step == pytest.approx([step[0]] * len(step))
    assert f"{step[0]:.1e}"[0] in "125"
    assert f"{step[0]:.3e}"[1:5] == ".000"
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert low - ticks[0] < step[0]
    assert ticks[-1] - high < step[0]
    assert len(ticks) <= count + 2


def test_words_of_a_run_are_those_of_python(module: Any) -> None:
    call = module("core/format.js")
    assert call("[0, 7, null].map(m.seedWords)") == [seed_words(seed) for seed in (0, 7, None)]
    assert call("m.sizeWords({ width: 64, height: 96 })") == "64 × 96"
    assert call("m.sizeWords({ width: null, height: 96 })") is None


@pytest.mark.parametrize("most", [5, 8, 20, 40])
def test_shortened_text_keeps_its_two_ends(module: Any, most: int) -> None:
    text = "a red circle to the left of a blue square"
    told = module("core/format.js")("m.shortened(text, most)", text=text, most=most)
    assert len(told) <= most
    begin, end = told.split("…")
    assert text.startswith(begin)
    assert text.endswith(end)
    assert module("core/format.js")("m.shortened(text, 99)", text=text) == text


def test_numbers_on_their_way_are_read_as_they_were_written(module: Any) -> None:
    values = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    read = module("core/state.js")("[...m.decodeFloats(text)]", text=floats(values))
    np.testing.assert_array_equal(np.float32(read), values.ravel())
    read = module("lab/lab_canvas.js")("[...m.decodeShorts(text, 8)]", text=shorts(values, 8.0))
    np.testing.assert_allclose(read, values.ravel(), atol=8 / 32767)
    raw = bytes(range(256))
    assert module("core/state.js")("[...m.decodeBytes(text)]", text=base64.b64encode(raw).decode()) == [*raw]


def test_a_series_is_of_its_metric_whether_steps_or_the_end_tell_it(module: Any) -> None:
    data = {
        "metrics": [{"name": "norm"}, {"name": "mean"}, {"name": "distance_to_end"}],
        "steps": [{"metrics": [3.0, 0.1]}, {"metrics": [2.0, None]}],
        "final": {"distance_to_end": [5.0, 0.0]},
    }
    series = module("core/state.js")(
        "['norm', 'mean', 'distance_to_end', 'other'].map((n) => m.series(data, n))", data=data
    )
    assert series == [[3, 2], [0.1, None], [5, 0], [None, None]]


def test_a_choice_is_kept_where_it_is_one_of_those_there_are(module: Any) -> None:
    call = module("core/remember.js")
    assert call("m.remembered('colour', null, 'none')") == "none"
    assert call("(m.remember('colour', 'red'), m.remembered('colour', ['red', 'blue'], 'blue'))") == "red"
    assert call("m.remembered('colour', ['green', 'blue'], 'blue')") == "blue"
    assert call("m.remembered('colour', null, 'blue')") == "red"


def test_the_last_word_is_a_call_as_gradio_takes_it(module: Any) -> None:
    sent = module("core/last_word.js")(
        """(() => {
            const component = (id, name) => ({ id, props: { elem_id: name } });
            window.gradio_config = { components: [component(3, "other"), component(8, "library")] };
            const sent = [];
            navigator.sendBeacon = (address, body) => sent.push({ address, body });
            m.lastWord("library", "mark", { id: "x", note: "é" });
            m.lastWord("nothing", "mark", {});
            return Promise.all(sent.map(async ({ address, body }) => [address, body.type, await body.text()]));
        })()"""
    )
    ((address, kind, body),) = sent
    assert (address, kind) == (f"{HOST}/gradio_api/component_server", "application/json")
    told = json.loads(body)
    assert told.pop("session_hash")
    assert told == {"data": {"id": "x", "note": "é"}, "component_id": 8, "fn_name": "mark"}


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1_234_567])
def test_a_plural_has_its_thousands_apart(module: Any, count: int) -> None:
    told = module("runs/library_text.js")("m.plural(count, 'run')", count=count)
    assert told == f"{count:,}".replace(",", "\u202f") + (" run" if count == 1 else " runs")


@pytest.mark.parametrize(
    "size", [0, 1, 999, 1000, 1049, 9_949, 9_950, 999_499, 999_500, 999_999, 12_345_678, 5e9, 3e15]
)
def test_bytes_are_in_the_unit_that_keeps_them_short(module: Any, size: float) -> None:
    value, unit = module("runs/library_text.js")("m.bytesText(size)", size=size).split()
    factor = 1000.0 ** ["bytes", "kB", "MB", "GB", "TB"].index(unit)
    assert float(value) < 1000 or unit == "TB"
    assert float(value) * factor == pytest.approx(size, rel=0.05)
    assert digits(value) <= (2 if float(value) < 10 else 4 if unit == "TB" else 3)


def test_steps_are_told_as_far_as_a_run_came(module: Any) -> None:
    call = module("runs/library_text.js")
    assert call("m.stepsText({ status: 'complete', steps: 1, total_steps: 30 })") == "1 step"
    assert call("m.stepsText({ status: 'stopped', steps: 4, total_steps: 30 })") == "4 of 30 steps"
    assert call("m.stepsText({ status: 'failed', steps: 4, total_steps: null })") == "4 steps"
    assert call("m.stepsText({ status: 'complete', steps: 0, total_steps: null })") == "image alone"
    assert call("m.whenText('not a moment')") == ""


def test_the_cells_of_a_study_are_counted_by_what_became_of_them(module: Any) -> None:
    states = ["complete", "complete", "failed", "running", "waiting", "stopped"]
    cells = {str(k): {"status": status, "cached": k == 0} for k, status in enumerate(states)}
    found = module("runs/study_words.js")(
        "m.counted(cells, keys.map((key) => ({ key })))", cells=cells, keys=[*cells, "unheard of"]
    )
    assert found == {"all": 7, "complete": 2, "failed": 1, "ended": 4, "begun": 5, "cached": 1}


def test_columns_go_from_gold_to_burgundy_on_the_ramp(module: Any) -> None:
    for dark, (gold, burgundy) in ((False, (0.74, 0.2)), (True, (0.86, 0.4))):
        found = module("runs/study_words.js")("[0, 1, 2].map((at) => m.columnColour(at, 3, dark))", dark=dark)
        told = [[int(part) for part in re.findall(r"\d+", colour)] for colour in found]
        wanted = colours(np.linspace(gold, burgundy, 3)).astype(int)
        np.testing.assert_allclose(told, wanted, atol=2)


@pytest.mark.parametrize("value", [0, 0.5, 0.00004, 12.345, -3.14159, 123.4, 1234.5, 99.96, 9.9996, 0.9999])
def test_a_brief_number_is_near_and_short(module: Any, value: float) -> None:
    text = module("runs/study_words.js")("m.brief(value)", value=value)
    assert number(text) == pytest.approx(value, rel=0.5 if abs(value) < 0.001 else 0.005)
    assert len(text) <= 6


def test_a_layer_says_how_far_its_run_or_study_is(module: Any) -> None:
    run = {"seed": 3, "status": "complete", "steps": 9, "total_steps": 12}
    layer = {**run, "visible": True, "data": {"status": "complete", "steps": [{}] * 9}}
    call = module("runs/layer_words.js")
    assert call("m.RUN_LAYERS.describe(layer)", layer=layer) == "seed 3 · 9 steps"
    assert (
        call("m.RUN_LAYERS.describe(layer)", layer={**layer, "visible": False}) == "seed 3 · 9 steps · hidden"
    )
    stopped = {**layer, "data": None, "status": "stopped", "seed": None}
    assert (
        call("m.RUN_LAYERS.describe(layer)", layer=stopped)
        == "no known seed · stopped, 9 of 12 steps · loading…"
    )
    study = {"cells": 1200, "done": 3, "visible": True}
    describe = "m.studyLayers('sweep').describe(study, true)"
    assert call(describe, study=study) == "3 of 1\u202f200 cells · in view"


def test_the_ramp_is_that_of_python_and_clips(module: Any) -> None:
    call = module("figures/ramp.js")
    found = call("Array.from({ length: 1001 }, (_, k) => m.colourOf(k / 1000))")
    # One level of difference: the two languages round a hair's breadth apart.
    np.testing.assert_allclose(found, colours(np.linspace(0, 1, 1001)).astype(int), atol=1)
    assert call("[m.colourOf(-3), m.colourOf(7)]") == [found[0], found[-1]]
    ends = [[int(stop[at : at + 2], 16) for at in (1, 3, 5)] for stop in (look.RAMP[0], look.RAMP[-1])]
    assert [found[0], found[-1]] == ends


def test_the_browser_enlarges_maps_as_python_does(module: Any) -> None:
    small = np.random.default_rng(0).random((5, 7), np.float32)
    read = "[...m.resample(new Float32Array(values), 5, 7, 40, 56)]"
    found = module("attention/attention_picture.js")(read, values=small.ravel().tolist())
    np.testing.assert_allclose(np.reshape(found, (40, 56)), resample(small, (40, 56)), atol=1e-6)


def kabsch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The proper rotation that best carries centred points (N, 3) onto others, by an SVD (Kabsch 1976)."""
    u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
    turn = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    return (u @ turn @ vt).T


TURN = "Array.from({ length: 3 }, (_, k) => m.rotate(q, [0, 1, 2].map((at) => Number(at === k))))"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_best_rotation_is_that_of_an_svd(module: Any, seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(12, 3))
    turn = kabsch(np.eye(3), rng.normal(size=(3, 3)))
    b = a @ turn.T + rng.normal(size=3) + noise * rng.normal(size=a.shape)
    read = f"(() => {{ const q = m.bestRotation(a, b, 12); return {TURN}; }})()"
    found = np.array(module("runs/rotation.js")(read, a=a.ravel().tolist(), b=b.ravel().tolist())).T
    np.testing.assert_allclose(found, kabsch(a, b), atol=2e-3)
    # Half of it twice is the whole of it.
    half = f"(() => {{ const q = m.partial(m.bestRotation(a, b, 12), 0.5); return {TURN}; }})()"
    half = np.array(module("runs/rotation.js")(half, a=a.ravel().tolist(), b=b.ravel().tolist())).T
    np.testing.assert_allclose(half @ half, found, atol=1e-6)


def test_points_that_are_the_same_or_one_are_not_turned(module: Any) -> None:
    assert module("runs/rotation.js")("m.bestRotation([1, 1, 1], [2, 5, 7], 1)") == [1, 0, 0, 0]
    assert module("runs/rotation.js")("m.partial([1, 0, 0, 0], 0.5)") == [1, 0, 0, 0]


def test_a_glide_begins_where_it_was_keeps_shapes_on_the_way_and_ends_where_it_goes(module: Any) -> None:
    rng = np.random.default_rng(5)
    before = rng.normal(size=(9, 3)).astype(np.float32)
    after = (before @ kabsch(np.eye(3), rng.normal(size=(3, 3))).T + 2).astype(np.float32)
    new = rng.normal(size=(4, 3)).astype(np.float32)
    read = """(() => {
        const of = (points) => new Float32Array(points);
        const from = new Map([["run", of(before)]]);
        const glide = m.createGlide(from, new Map([["run", of(after)], ["new", of(more)]]));
        return [0, 0.4, 1].map((t) => ["run", "new"].map((id) => [...glide.at(t).get(id)]));
    })()"""
    flat = {"before": before.ravel().tolist(), "after": after.ravel().tolist(), "more": new.ravel().tolist()}
    told = module("runs/glide.js")(read, **flat)
    begin, way, end = ([np.reshape(points, (-1, 3)) for points in at] for at in told)
    np.testing.assert_allclose(begin[0], before, atol=1e-5)
    np.testing.assert_array_equal(end[0], after)
    np.testing.assert_array_equal(end[1], new)

    def apart(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points[:, None] - points[None], axis=-1)

    np.testing.assert_allclose(apart(way[0]), apart(before), atol=1e-4)
    np.testing.assert_allclose(apart(way[1]), apart(new), atol=1e-4)


@pytest.mark.parametrize("level", [-0.4, 0.1, 0.55])
def test_contours_cross_each_edge_of_the_grid_where_the_level_lies(module: Any, level: float) -> None:
    cells, extent = 9, 2.0
    values = np.random.default_rng(2).normal(size=(cells, cells))
    read = "m.contour(values, cells, level, extent)"
    flat = module("lab/lab_contours.js")(
        read, values=values.ravel().tolist(), cells=cells, level=level, extent=extent
    )
    ends = np.reshape(flat, (-1, 2))
    step = 2 * extent / (cells - 1)
    # Of every edge between two neighbours on different sides there is one point, for each of the squares beside it.
    wanted = []
    for j in range(cells):
        for i in range(cells):
            for across, (di, dj) in enumerate(((1, 0), (0, 1))):
                if i + di >= cells or j + dj >= cells:
                    continue
                here, there = values[j, i], values[j + dj, i + di]
                if (here > level) != (there > level):
                    share = (level - here) / (there - here)
                    place = (-extent + (i + share * di) * step, -extent + (j + share * dj) * step)
                    outer = (j if across == 0 else i) in (0, cells - 1)
                    wanted += [place] * (1 if outer else 2)

    def order(points: Any) -> np.ndarray:
        return np.array(sorted(map(tuple, np.round(points, 9))))

    np.testing.assert_allclose(order(ends), order(wanted), atol=1e-8)
    # Each piece stays in one square.
    lengths = np.linalg.norm(ends[::2] - ends[1::2], axis=1)
    assert (lengths <= math.sqrt(2) * step + 1e-9).all()


def test_a_smooth_density_is_a_sum_of_gaussians(module: Any) -> None:
    cells, extent, bandwidth = 41, 2.0, 0.2
    places = np.linspace(-extent, extent, cells)
    points = np.random.default_rng(3).choice(places[10:-10], (30, 2))
    found = module("lab/lab_contours.js")(
        "[...m.smooth(new Float32Array(points), cells, extent, bandwidth)]",
        points=points.ravel().tolist(), cells=cells, extent=extent, bandwidth=bandwidth,
    )  # fmt: skip
    x, y = np.meshgrid(places, places)
    squares = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    wanted = np.exp(-0.5 * squares / bandwidth**2).sum(-1)
    # Beyond three deviations nothing is added.
    np.testing.assert_allclose(np.reshape(found, (cells, cells)), wanted / wanted.max(), atol=0.02)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_evaluations_that_a_form_tells_are_those_that_are_made(module: Any, sampler: str) -> None:
    steps = 6
    told = module("lab/lab_names.js")("m.callsOf(sampler, steps)", sampler=sampler, steps=steps)
    made = []

    def denoise(x: np.ndarray, sigma: float) -> np.ndarray:
        made.append(sigma)
        return 0 * x

    rng = np.random.default_rng(0)
    plan = Plan(sampler, steps)
    states = sample(denoise, plan, schedule("cosine"), rng.normal(size=(3, 2)), rng)
    record(states, plan.straight, T if sampler == "ddpm" else steps, 9)
    assert told == len(made)


LESSON = """m.LESSONS.flatMap((lesson) => lesson.parts.map((part) => ({
    lesson: lesson.id, title: lesson.title, about: lesson.about, say: part.say ?? null, ask: part.ask ?? null,
    choices: part.choices ?? [], right: part.right ?? null, act: typeof part.act, show: typeof part.show,
})))"""


def test_every_part_of_a_lesson_says_or_asks_and_does_something(module: Any) -> None:
    parts = module("lab/lab_lesson_list.js")(LESSON)
    assert len({part["lesson"] for part in parts}) >= 7
    for part in parts:
        assert (part["say"] is None) != (part["ask"] is None)
        assert part["title"]
        assert part["about"]
        if part["ask"]:
            assert part["show"] == "function"
            assert len(set(part["choices"])) == len(part["choices"]) >= 2
            assert part["right"] is None or 0 <= part["right"] < len(part["choices"])
        else:
            assert part["act"] == "function"


#: A page of lessons on which everything comes to the same numbers.
STAGE = """(lesson) => {
    const answers = {
        middle: [0.25, -1], spread: 0.5, lengths: { exact: 1.125 }, times: 3.5, levels: [190, 730],
        class: { floor: [1.5, 0.25], relative: 0.0125 }, null: { relative: 0.125 },
        steps: [4, 8, 16], integration: [0.5, 0.05, 0.01], model: 0.0625, enough,
    };
    const row = (n, learned) => ({ n, copies: { learned, fresh: 0.25, empirical: 1 } });
    const own = {
        noted: () => answers,
        summary: () => [[4, 4, 0.25, 0], [8, 8, 0.125, 0]],
        memory: async () => [row(5, 0.5), row(5000, 0.125)],
    };
    const page = new Proxy(own, { get: (own, name) => own[name] ?? (async () => answers) });
    const { parts } = m.LESSONS.find(({ id }) => id === lesson);
    return Promise.all(parts.filter(({ show }) => show).map(({ show }) => show(page)));
}"""


@pytest.mark.parametrize(
    ("lesson", "enough", "words"),
    [
        ("noise", 8, ["leaves 1.5 unknown at t = 190", "only 0.25 at t = 730"]),
        ("score", 8, ["it is 1.1 from the centre"]),
        ("steps", 8, ["in 4 steps MMD² is 0.25 for DDIM", "in 8 steps MMD² is 0.13"]),
        ("guidance", 8, ["goes from 0.500 to 0.500", "moves from (0.25, −1.0) to (0.25, −1.0)"]),
        ("null", 8, ["is 13 %, against 1.3 % with class: 3.5 times"]),
        ("memory", 8, ["With 5 points 50 % of the samples are copies", "with 5,000, 13 %"]),
        ("budget", 8, ["From 8 steps on", "(0.050)"]),
        ("budget", None, ["larger in all that were tried"]),
    ],
)
def test_a_lesson_says_what_was_measured(
    module: Any, lesson: str, enough: int | None, words: list[str]
) -> None:
    said = module("lab/lab_lesson_list.js")(f"({STAGE})(lesson)", lesson=lesson, enough=enough)
    for each in words:
        assert any(each in text for text in said), said


ASK = """(async () => {
    console.warn = () => {};
    const one = async (asked) => (answer === "broken" ? Promise.reject(new Error("500")) : { ...answer, asked });
    const server = { one, none: async () => null };
    try {
        return await m.ask(server, name, { id: 3 });
    } catch (error) {
        return [error.message, error.field, error.anyway];
    }
})()"""
FAILED = {"steps": [], "error": {"message": "It failed."}}
SILENT = "The server did not answer; try again."


@pytest.mark.parametrize(
    ("answer", "name", "told"),
    [
        ({"url": "x"}, "one", {"url": "x", "asked": {"id": 3}}),
        ({"error": {"message": "No.", "field": "seed"}}, "one", ["No.", "seed", False]),
        ({"error": {"message": "Too much.", "anyway": True}}, "one", ["Too much.", None, True]),
        # A run that failed is an answer, with its error in it.
        (FAILED, "one", {**FAILED, "asked": {"id": 3}}),
        ("broken", "one", [SILENT, None, None]),
        ({}, "none", [SILENT, None, None]),
        ({}, "unknown", [SILENT, None, None]),
    ],
)  # fmt: skip
def test_an_answer_or_an_error_that_can_be_shown(module: Any, answer: Any, name: str, told: Any) -> None:
    assert module("core/ask.js")(ASK, answer=answer, name=name) == told


FOLLOW = """(async () => {
    console.warn = () => {};
    const seen = [];
    const left = [...states];
    const job = async () => {
        const state = left.shift() ?? "lost";
        if (state === "lost") throw new Error("no answer");
        return state;
    };
    const server = { job };
    try {
        const end = await m.followJob(server, "a", (state) => seen.push(state.progress));
        return [end.result, seen];
    } catch (error) {
        return [error.message, seen];
    }
})()"""


def test_a_job_is_followed_over_answers_that_did_not_come_to_its_end(module: Any) -> None:
    call = module("core/jobs.js")
    running, done = {"done": False, "progress": 0.5}, {"done": True, "progress": 1, "result": 7}
    assert call(FOLLOW, states=[running, "lost", "lost", running, done]) == [7, [0.5, 0.5, 1]]
    failed = {"done": True, "progress": 0.5, "error": {"message": "It was stopped."}}
    assert call(FOLLOW, states=[running, failed]) == ["It was stopped.", [0.5]]
    message, seen = call(FOLLOW, states=[running])
    assert "does not answer any more" in message
    assert seen == [0.5]


def test_the_words_of_a_prompt_are_its_tokens_by_word(module: Any) -> None:
    def token(index: int, text: str, word: int | None, special: bool = False) -> dict[str, Any]:
        own = {"index": index, "text": text, "word": word, "word_text": text, "special": special}
        return {**own, "encoder": "clip", "raw": None, "id": None}

    tokens = [token(0, "begin", None, True), token(1, "cir", 0), token(2, "cle", 0), token(3, "red", 1)]
    groups = module("attention/attention_words.js")("m.wordsOf(tokens)", tokens=tokens)
    assert [group["indices"] for group in groups if group["kind"] == "word"] == [[1, 2], [3]]
