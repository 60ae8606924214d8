"""What the Bench page shows and is told, on a small bench of the embedded model."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from diffatlas.bench.kept import Benches
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.plan import plan_bench
from diffatlas.bench.why import MEASURES
from diffatlas.capture.spec import Capture
from diffatlas.errors import InvalidParams
from diffatlas.geometry.shares import wilson
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.ui.bench_expected import ASKED, images_words
from diffatlas.ui.bench_packs import pack_of
from diffatlas.ui.bench_runner import BenchRunner
from diffatlas.ui.bench_services import BenchServices
from diffatlas.ui.components.bench_form import to_scorers
from diffatlas.ui.components.bench_view import FRAMES
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.live_benches import LiveBenches
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns
from diffatlas.ui.visitors import COOKIE, visitor_of
from diffatlas.ui.wire.bench import CALLS

SECRET, STRANGER = "1" * 32, "2" * 32
BASE = GenerationParams(model="shapes", prompt="-", seed=3, num_inference_steps=4)
PACK = shipped_pack("shapes", 1)


def request_of(secret):
    return SimpleNamespace(cookies={COOKIE: secret}, session_hash="tab")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A shared server on which one visitor has run six prompts with two seeds in two lanes."""
    libraries = Libraries(tmp_path_factory.mktemp("runs"), shared=True)
    layers, running, live = Layers(libraries), Running(), LiveBenches()
    services = BenchServices(libraries, layers, {"shapes": "Shapes"}, running, live)
    runner = BenchRunner(libraries, Turns(), running, live)
    visitor = visitor_of(request_of(SECRET))
    bench = plan_bench(PACK, BASE, seeds=2, lanes=[{"guidance_method": "apg"}], scorers=["shapes"])
    values = list(
        runner.run_bench(visitor, "tab", lambda library: (bench, Capture(previews="off")), reuse=True)
    )
    calls = {call.__name__: call for call in services.functions}

    def ask(name, secret=SECRET, /, **asked):
        answer = calls[name](asked, request_of(secret))
        if "error" not in answer:
            CALLS[name].check(answer)
        return answer

    library = libraries.of(visitor)
    return SimpleNamespace(
        ask=ask, runner=runner, visitor=visitor, library=library, values=values, id=bench.id, layers=layers
    )  # fmt: skip


@pytest.fixture
def stored(room):
    """The bench as it is on the disk."""
    return Benches(room.library.folder).open(room.id)


def test_what_is_streamed_adds_up_to_what_is_stored(room, stored):
    told: dict = {}
    for value in room.values:
        told.update(value["changed"])
    assert room.values[-1]["status"] == "complete"
    assert told == room.ask("bench", id=room.id)["cells"]
    assert {key: one["said"]["shapes"][0] for key, one in told.items()} == {
        key: one.verdict for key, one in stored.said["shapes"].items()
    }
    assert len(told) == 24


def test_a_frame_holds_what_changed_of_late_and_no_more(room):
    seen: list[set] = []
    for before, value in zip(room.values, room.values[1:], strict=False):
        assert value["frame"] == before["frame"] + 1
        seen.append({key for key, card in value["changed"].items() if before["changed"].get(key) != card})
        assert set(value["changed"]) <= set().union(*seen[-FRAMES:]), value["frame"]


def test_lanes_and_scorers_say_how_far_they_are(room):
    last = room.values[-1]
    assert {key: (lane["all"], lane["complete"], lane["failed"]) for key, lane in last["lanes"].items()} == {
        "a": (12, 12, 0),
        "b": (12, 12, 0),
    }
    assert last["scorers"]["shapes"] == {"status": "complete", "message": "", "judged": 24}
    complete = [sum(lane["complete"] for lane in value["lanes"].values()) for value in room.values]
    assert complete == sorted(complete)


def test_thumbnails_are_the_images(room, stored):
    thumbs = room.ask("bench_thumbs", id=room.id, cells=["a-0-0", "b-5-1", "nothing"])["thumbs"]
    assert set(thumbs) == {"a-0-0", "b-5-1"}
    data = base64.b64decode(thumbs["a-0-0"].partition(",")[2])
    small = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)
    whole = room.library.open(stored.study.cell("a-0-0").run_id).images()[0].astype(float)
    assert small.shape == whole.shape
    assert np.abs(small - whole).mean() < 12


def test_the_numbers_are_those_of_the_verdicts(room, stored):
    answer = room.ask("bench_results", id=room.id)
    assert [(table["lane"], table["scorer"]) for table in answer["tables"]] == [
        ("a", "shapes"),
        ("b", "shapes"),
    ]
    for table in answer["tables"]:
        for row, line in enumerate(table["lines"]):
            # The pack has one prompt of each category: two images, worth one.
            passed = [stored.said["shapes"][f"{table['lane']}-{row}-{k}"].verdict == "pass" for k in (0, 1)]
            assert line["tag"] == PACK.tasks[row].tag
            low, high = wilson(sum(passed) / 2, 1, 12.706204736)
            assert line["cells"][:5] == [
                f"{sum(passed) / 2:.2f}", f"{low:.2f} to {high:.2f}", f"{float(any(passed)):.2f}", "2", "1",
            ]  # fmt: skip
        assert len(table["sentences"]) == 3
    assert len(answer["between"]) == 1
    assert answer["between"][0].startswith("adaptive projected minus plain: ")


def test_a_card_says_what_is_demanded_seen_and_decided(room, stored):
    card = room.ask("bench_card", id=room.id, cell="a-3-0")
    (said,) = card["said"]
    kept = stored.said["shapes"]["a-3-0"]
    assert (said["verdict"], said["reasons"]) == (kept.verdict, list(kept.reasons))
    assert len(said["seen"]) == len(kept.evidence["objects"])
    assert card["demands"] == ["exactly 2 triangles"] or card["tag"] == "count"
    assert ("seed", "3") in [tuple(fact) for fact in card["facts"]]
    assert (card["width"], card["height"], card["attention"]) == (64, 64, False)
    assert unquote(card["image"]).endswith(".png")


def test_marks_are_kept_counted_and_taken_back(room):
    before = room.ask("bench_results", id=room.id)["tables"][0]["lines"][0]["cells"]
    for key in ("a-0-0", "a-0-1"):
        marked = room.ask("mark_card", id=room.id, cell=key, verdict="fail", note=" <b>no</b> ")
        assert (marked["mark"]["verdict"], marked["mark"]["note"]) == ("fail", "<b>no</b>")
    answer = room.ask("bench_results", id=room.id)
    assert answer["tables"][0]["lines"][0]["cells"][0] == "0.00"
    assert [table["scorer"] for table in answer["tables"]] == ["shapes", "shapes", "hand", "hand"]
    beside = room.ask("bench_results", id=room.id, by_hand=False)
    assert beside["tables"][0]["lines"][0]["cells"] == before
    assert room.ask("bench", id=room.id)["cells"]["a-0-0"]["mark"]["verdict"] == "fail"
    for key in ("a-0-0", "a-0-1"):
        assert room.ask("mark_card", id=room.id, cell=key, verdict=None)["mark"] is None
    assert room.ask("bench_results", id=room.id)["tables"][0]["lines"][0]["cells"] == before


def test_cells_run_again_and_only_they(room, stored):
    values = list(room.runner.resume(room.visitor, "tab", room.id, ["a-0-0"]))
    assert values[-1]["status"] == "complete"
    told: dict = {}
    for value in values:
        told.update(value["changed"])
    assert set(told) == {"a-0-0"}
    again = Benches(room.library.folder).open(room.id)
    assert again.said == stored.said
    assert {c.key: c.run_id for c in again.study.cells} == {c.key: c.run_id for c in stored.study.cells}


def test_what_is_there_is_judged_again_without_an_image_made(room, stored):
    values = list(room.runner.judge(room.visitor, "tab", room.id, ["shapes"], True))
    assert [value["status"] for value in values[-2:]][-1] == "complete"
    assert values[-1]["scorers"]["shapes"]["judged"] == 24
    assert Benches(room.library.folder).open(room.id).study == stored.study
    for name in ("hand", "oracle"):
        failed = list(room.runner.judge(room.visitor, "tab", room.id, [name], False))[-1]
        assert (failed["status"], failed["error"]["field"]) == ("failed", "scorers")
    assert set(Benches(room.library.folder).open(room.id).said) == {"shapes"}


def test_files_are_offered_as_the_formats_make_them(room):
    address = room.ask("bench_export", id=room.id, kind="geneval", lane="b")
    assert address["name"].endswith("-geneval.zip")
    refused = room.ask("bench_export", id=room.id, kind="exe")
    assert "no export of the kind 'exe'" in refused["error"]["message"]
    path = unquote(address["url"].partition("file=")[2])
    with zipfile.ZipFile(path) as found:
        assert sum(name.endswith(".png") for name in found.namelist()) == 12
        first = json.loads(found.read("00000/metadata.jsonl"))
    assert first["prompt"] == PACK.tasks[0].prompt


def test_what_nobody_has_judged_and_no_image_is_counted_as_nothing(room):
    planned = plan_bench(PACK, BASE, seeds=1, scorers=["shapes"])
    benches = Benches(room.library.folder)
    benches.create(planned)
    answer = room.ask("bench_results", id=planned.id)
    assert (answer["tables"], answer["between"]) == ([], [])
    assert "no image was made" in room.ask("bench_rates", id=planned.id, scorer="shapes")["error"]["message"]
    assert "no path" in room.ask("bench_why", id=planned.id, scorer="shapes", lane="a")["error"]["message"]
    benches.delete(planned.id)


def test_why_images_fail_is_told_and_drawn(room):
    told = room.ask("bench_why", id=room.id, scorer="shapes", lane="a")
    assert all(line["sentence"] for line in told["lines"])
    figure = room.ask("bench_why_figure", id=room.id, scorer="shapes", lane="a", across=2)
    assert set(figure["layouts"]) == {"2"}


def test_a_card_is_told_beside_the_others_of_its_prompt(room):
    told = room.ask("bench_explain", id=room.id, cell="a-3-0", scorer="shapes")
    bench = Benches(room.library.folder).open(room.id)
    own = [
        bench.study.cell(f"a-3-{column}")
        for column in range(len(room.ask("bench", id=room.id)["bench"]["seeds"]))
    ]
    passed = [cell.key for cell in own if bench.judgement(cell, "shapes").verdict == "pass" and cell.column]
    assert told["beside"] == next(iter(passed), None)
    assert [line["about"] for line in told["lines"]] == [one.about for one in MEASURES]
    assert all(line["sentence"] for line in told["lines"])
    assert "of its prompt" in told["notes"][0]
    refused = room.ask("bench_explain", id=room.id, cell="a-3-0", scorer="eye")
    assert "not judged by 'eye'" in refused["error"]["message"]
    planned = plan_bench(PACK, BASE, seeds=1, scorers=["shapes"])
    Benches(room.library.folder).create(planned)
    refused = room.ask("bench_explain", id=planned.id, cell="a-0-0", scorer="shapes")
    assert "no run in the library" in refused["error"]["message"]
    Benches(room.library.folder).delete(planned.id)


def test_nobody_else_reaches_a_bench(room):
    for name, asked in (
        ("bench", {}), ("bench_thumbs", {"cells": ["a-0-0"]}), ("bench_card", {"cell": "a-0-0"}), ("bench_results", {}),
        ("mark_card", {"cell": "a-0-0", "verdict": "fail"}), ("forget_bench", {}), ("rename_bench", {"title": "x"}),
        ("open_card_runs", {"cells": ["a-0-0"]}), ("bench_export", {"kind": "csv"}),
        ("bench_explain", {"cell": "a-0-0", "scorer": "shapes"}),
    ):  # fmt: skip
        assert "error" in room.ask(name, STRANGER, id=room.id, **asked), name
    assert room.ask("benches", STRANGER) == {"benches": []}
    assert list(room.runner.resume(visitor_of(request_of(STRANGER)), "b", room.id, ["a-0-0"]))[-1]["error"]


def test_the_shelf_renames_deletes_and_brings_back(room):
    listed = room.ask("rename_bench", id=room.id, title="  Mine  now ")["benches"]
    assert [(one["title"], one["cells"], one["done"], one["error"]) for one in listed] == [
        ("Mine now", 24, 24, None)
    ]
    assert room.ask("forget_bench", id=room.id) == {"done": True}
    assert room.ask("benches")["benches"] == []
    assert room.ask("restore_bench", id=room.id) == {"done": True}
    assert room.ask("bench", id=room.id)["bench"]["title"] == "Mine now"


def test_a_card_becomes_a_layer(room, stored):
    opened = room.ask("open_card_runs", id=room.id, cells=["a-1-1"])
    assert opened["layers"] == [stored.study.cell("a-1-1").run_id]
    assert room.layers.find(room.visitor, opened["layers"][0]).name.endswith(PACK.tasks[1].prompt)
    assert "error" in room.ask("open_card_runs", id=room.id, cells=[])


def test_wrong_fields_are_told_by_their_name(room):
    for values, field in (
        (("shapez", 1, 0), "pack"),
        (("shapes", 1.5, 0), "each"),
        (("shapes", 0, 0), "each"),
        (("shapes", 1, "x"), "pack_seed"),
    ):
        with pytest.raises(InvalidParams) as found:
            pack_of(room.library, *values)
        assert found.value.field == field
    with pytest.raises(InvalidParams, match="no judge 'oracle'"):
        to_scorers(["shapes", "oracle"])


def test_how_many_images_a_form_asks_for(room):
    asked = dict.fromkeys(ASKED) | {
        "model": "shapes", "steps": 4, "guidance": 3, "size": "64x64", "scheduler": "", "guidance_method": "",
        "lanes": ["scheduler=euler"], "pack": "shapes", "each": 2, "pack_seed": 0, "seeds": 3,
    }  # fmt: skip
    words = images_words(shared_local_backend(), room.library, asked)
    assert words.startswith("72 images: 12 prompts with 3 seeds in 2 lanes")
    assert images_words(shared_local_backend(), room.library, {**asked, "seeds": 0}) == ""
