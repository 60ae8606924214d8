"""The files of a bench: verdicts and rates as tables, all of it as JSON, and the report."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from diffatlas.bench.agreeing import agree
from diffatlas.bench.audit import Audit, Audited
from diffatlas.bench.bench import Mark, judged
from diffatlas.bench.counted import count, differences
from diffatlas.bench.judgements import Card, Judged, Judgement
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.plan import plan_bench
from diffatlas.bench.seeds import by_number
from diffatlas.bench.statistics import rate
from diffatlas.bench.tasks import Task
from diffatlas.errors import InvalidParams
from diffatlas.formats.bench_kinds import BENCH_KINDS, bench_file_name, export_bench
from diffatlas.formats.bench_report import BenchReport, ReportedLane, report_of
from diffatlas.params import GenerationParams
from tests.figures.made_benches import bench, drawn
from tests.formats.test_export_report import contents, count_pages, text

CARD = Card("eye", "Looks at it.", "some/model", "abc123", "Is there {what}?", "float16")
BASE = GenerationParams(model="shapes", prompt="-", seed=5, num_inference_steps=20, guidance_scale=4.5)


def picture(image):
    name, number = image
    return np.full((16, 16, 3), len(name) + number, np.uint8)


def lane(name, found, **more):
    return ReportedLane(name, found, BASE, seeds={k: 5 + k for k in range(4)}, **more)


@pytest.fixture(scope="module")
def report():
    first = drawn(0.4, 1)
    marks = {(first[0].task.id, 0): Mark("pass", "=SUM(A1)"), (first[1].task.id, 1): Mark("fail")}
    second = [*drawn(0.8, 2), *bench({"free": ["----"]})]
    lanes = (lane("old", first, marks=marks, picture=picture), lane("new", second, missing=3))
    return BenchReport(
        "A bench", "mine", lanes, CARD, id="20260101-000000-abcd", source="Nobody", licence="MIT"
    )


def read(data):
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_verdicts_have_a_row_an_image_and_a_person_s_counts(report):
    rows = read(export_bench("csv", report))
    every = [(one, held) for held in report.lanes for one in held.judged]
    assert len(rows) == len(every)
    for row, (one, held) in zip(rows, every, strict=True):
        assert (row["lane"], row["task"], row["prompt"]) == (held.name, one.task.id, one.task.prompt)
        assert (int(row["number"]), int(row["seed"])) == (one.number, 5 + one.number)
        assert (row["verdict"], row["scorer"]) == (one.judgement.verdict, "eye")
    counted = [one.judgement.value for held in report.lanes for one in held.counted]
    assert [float(row["counted"]) if row["counted"] else None for row in rows] == counted
    assert (rows[0]["override"], rows[0]["override_note"]) == ("pass", "'=SUM(A1)")
    assert rows[1]["counted"] == "0.0"
    assert (rows[-1]["verdict"], rows[-1]["counted"], rows[-1]["reasons"]) == ("cannot judge", "", "why not")


def test_a_text_that_could_be_a_formula_gets_an_apostrophe():
    task = Task(id="+1", prompt="=cmd|' /C calc'!A0", tag="@x", kind="free")
    found = [Judged(task, 0, Judgement("fail", ("-2+3",)))]
    (row,) = read(export_bench("csv", BenchReport("t", "p", (ReportedLane("=1", found),), CARD)))
    cells = [row[name] for name in ("lane", "task", "prompt", "category", "reasons")]
    assert all(cell.startswith("'") for cell in cells)
    assert row["seed"] == ""


def test_rates_are_those_that_are_counted(report):
    rows = read(export_bench("rates", report))
    for held in report.lanes:
        own = [row for row in rows if row["lane"] == held.name]
        counted = count(held.counted)
        known = [*(line.rate for line in counted.lines), counted.overall]
        for row, one in zip(own, known, strict=True):
            if one is None:
                assert (row["correct"], row["images"], row["unjudged"]) == ("", "", "4")
                continue
            told = [float(row[name]) for name in ("correct", "low", "high", "any_correct", "effective")]
            assert told == [one.value, one.low, one.high, one.any_correct, one.effective]
            assert (int(row["images"]), int(row["prompts"])) == (one.images, one.prompts)
        assert own[-1]["category"] == "mean of categories"
    assert "correct=none" in rows[0]["units"]


def test_json_has_everything(report):
    pairs = agree({"x": report.lanes[0].judged, "y": report.lanes[0].counted})
    audit = Audit((Audited("moved", rate([1.0, 0.0], ["a", "b"]), 0),), (1, 1), (1, 2))
    found = json.loads(export_bench("json", replace(report, pairs=pairs, audits={"eye": audit})))
    assert found["scorer"]["revision"] == "abc123"
    old, new = found["lanes"]
    assert old["counted"]["overall"]["value"] == count(report.lanes[0].counted).overall.value
    assert old["by_number"]["p"] == by_number(report.lanes[0].counted).p
    assert (new["missing"], new["params"]["model"], "prompt" in new["params"]) == (3, "shapes", False)
    assert old["images"][0]["override"] == "pass"
    assert new["images"][-1]["reasons"] == ["why not"]
    whole, categories = differences(report.lanes[0].counted, report.lanes[1].counted)
    assert found["compared"][0]["all"]["p"] == whole.p
    assert [one["adjusted"] for one in found["compared"][0]["categories"]] == [
        one.adjusted for one in categories
    ]
    assert found["agreement"][0]["overall"]["agreement"]["raw"] == pairs[0].overall.agreement.raw
    assert found["audits"]["eye"]["failed_of_wrong"] == [1, 2]
    assert found["units"]["correct"] == "none"


def test_the_report_says_what_ran_what_judged_and_what_came_of_it(report):
    data = export_bench("pdf", report)
    said = text(data)
    for words in (
        "Bench report",
        "A bench",
        "some/model",
        "Is there {what}?",
        "float16",
        "5 to 8",
        "4.5",
        "Nobody, MIT",
        "3 images were not made",
        "2 verdicts, which count",
        "new minus old",
        "Do seeds matter? old",
        "Correct by what is demanded",
        "Prompts that fail: old",
        "4 images, which count as neither",
        "nothing could be judged: 4",
        "What the numbers mean",
        "Detectable",
    ):
        assert words in said, words
    overall = count(report.lanes[0].counted).overall
    assert f"{overall.value:.3f}" in said
    assert f"{overall.low:.3f} to {overall.high:.3f}" in said
    assert data.count(b"/Subtype /Image") > 4
    assert data == export_bench("pdf", report)


def test_a_report_of_many_lanes_and_of_nothing_judged_is_made():
    many = {f"category {k} of a name that goes on and on": ["p", "f"] for k in range(14)}
    lanes = tuple(ReportedLane("same", bench(many)) for _ in range(3))
    data = export_bench("pdf", BenchReport("<b>&amp;\ud800", "p", lanes, CARD))
    assert "same (3)" in text(data)
    assert count_pages(data) > 3
    nothing = BenchReport("t", "p", (ReportedLane("", bench({"a": ["--"]})),), CARD)
    assert "nothing could be judged" in " ".join(contents(export_bench("pdf", nothing)))
    apart = (ReportedLane("x", bench({"a": ["pf"]})), ReportedLane("y", bench({"b": ["pf"]})))
    assert "0 prompts in common" in text(export_bench("pdf", BenchReport("t", "p", apart, CARD)))
    assert json.loads(export_bench("json", BenchReport("t", "p", apart, CARD)))["compared"][0]["why"]


def test_a_stored_bench_becomes_what_its_files_are_made_of():
    made = plan_bench(
        shipped_pack("smoke"), BASE, seeds=2, lanes=[{"scheduler": "euler"}], scorers=["shapes"]
    )
    study = made.study
    done = [cell.key for cell in study.cells[:-1]]
    for key in done:
        study = study.with_cell(key, status="complete")
    said = {key: Judgement("pass" if k % 3 else "fail", ("why",)) for k, key in enumerate(done)}
    first = study.cells[0]
    ready = replace(
        made, study=study, said={"shapes": said}, cards={"shapes": CARD}, marks={first.key: Mark("pass")}
    )
    found = report_of(ready, "shapes", lambda cell: np.full((4, 4, 3), cell.params.seed, np.uint8))
    a, b = found.lanes
    assert [one.judgement for one in a.counted] == [one.judgement for one in judged(ready, "shapes", "a")]
    assert a.judged[0].judgement.verdict == "fail"
    assert (a.seeds, b.params.scheduler) == ({0: 5, 1: 6}, "euler")
    assert (a.missing, b.missing) == (0, 1)
    assert a.picture((made.pack.tasks[0].id, 1))[0, 0, 0] == 6
    (pair,) = found.pairs
    assert pair.name == "shapes and hand"
    assert (pair.overall.agreement.images, pair.overall.agreement.raw) == (1, 0)
    assert export_bench("pdf", found).startswith(b"%PDF")
    with pytest.raises(InvalidParams, match="not judged by 'eye'"):
        report_of(ready, "eye")
    with pytest.raises(InvalidParams, match="no image yet"):
        report_of(made, "shapes")


def test_kinds_and_names(report):
    assert [bench_file_name(kind, report) for kind in BENCH_KINDS] == [
        "diffatlas-bench-a-bench.csv",
        "diffatlas-bench-a-bench-rates.csv",
        "diffatlas-bench-a-bench.json",
        "diffatlas-bench-a-bench.pdf",
    ]
    with pytest.raises(InvalidParams, match="choose one of csv, rates, json, pdf"):
        export_bench("doc", report)
    with pytest.raises(InvalidParams, match="no image yet"):
        export_bench("csv", BenchReport("t", "p", (ReportedLane("a", []),), CARD))
