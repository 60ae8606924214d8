"""A bench on a backend: made, judged, stopped, killed, gone on with, marked by hand."""

import os
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from diffatlas.bench.bench import HAND, Bench, Mark, judged
from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.judging import Scored, ScorerChanged
from diffatlas.bench.keep import KEEPS, capture_of, keep_of
from diffatlas.bench.kept import CELLS, VERDICTS, Benches
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.pictures import picture
from diffatlas.bench.plan import plan_bench
from diffatlas.bench.running import judge_bench, run_bench
from diffatlas.bench.scorers.shapes import ShapesScorer
from diffatlas.errors import BackendFailure, DamagedRun, InvalidParams, ModelLoadError, OverBound
from diffatlas.library import Library
from diffatlas.library.format import size_of
from diffatlas.params import GenerationParams
from diffatlas.request import MAX_SEED
from diffatlas.studies.run import CellEnded, Stops, StudyChanged
from tests import copied
from tests.studies.fake_backends import FakeBackend, ImageBackend

BASE = GenerationParams(model="shapes", prompt="", seed=5, num_inference_steps=2)


class Odd:
    """Passes images whose first value is odd: of the fake backends, those of even seeds."""

    def __init__(self, revision: str = "1") -> None:
        self.card = Card("odd", "Whether the first value is odd.", revision=revision)
        self.judged: list[int] = []

    def cannot(self, task):
        return "It cannot count." if task.tag == "colors" else None

    def judge(self, images, tasks):
        self.judged += [int(image[0, 0, 0]) for image in images]
        return [Judgement("pass" if image[0, 0, 0] % 2 else "fail") for image in images]


@pytest.fixture
def library(tmp_path):
    return Library(tmp_path / "library")


@pytest.fixture
def benches(library):
    return Benches(library.folder)


def small(**changed) -> Bench:
    """A bench of two prompts (single_object, colors) with three seeds."""
    return plan_bench(shipped_pack("smoke"), BASE, **{"seeds": 3, "scorers": ["odd"], **changed})


def played(bench, backend, library, scorer=None, **options):
    """The events of a bench, run to its end."""
    odd = scorer or Odd()
    return list(run_bench(bench, lambda name: backend, library, scorers=lambda name: odd, **options))


class Told(Odd):
    """Judges as a pack says: its card has the pack's word on dependencies."""

    def by_pack(self, pack):
        return Odd(revision=pack.dependencies)


def test_a_scorer_is_told_what_its_pack_makes_of_a_wrong_parent(library, benches):
    bench = small()
    bench = replace(bench, pack=replace(bench.pack, dependencies="direct"))
    played(bench, FakeBackend(), library, Told())
    assert benches.open(bench.id).cards["odd"].revision == "direct"


def test_what_the_model_makes_is_judged_and_kept(library, benches, shapes_backend):
    bench = plan_bench(
        shipped_pack("shapes", 1), BASE.replace(num_inference_steps=6), seeds=2, scorers=["shapes"]
    )
    events = list(run_bench(bench, lambda name: shapes_backend, library))
    kept = benches.open(bench.id)
    assert kept.study.status == "complete"
    assert [(k.params.prompt, k.params.seed) for k in kept.study.cells] == [
        (task.prompt, seed) for task in bench.pack.tasks for seed in (5, 6)
    ]
    scorer = ShapesScorer()
    for cell in kept.study.cells:
        run = library.load(cell.run_id)
        assert run.params.prompt == kept.task(cell).prompt
        assert run.params.seed == cell.params.seed
        # Judged anew from what is stored, one image at a time.
        assert kept.judgement(cell, "shapes") == scorer.judge([run.images[0]], [kept.task(cell)])[0]
    told = {
        key: one for event in events if isinstance(event, Scored) for key, one in event.judgements.items()
    }
    assert kept.said == {"shapes": told}
    assert kept.cards == {"shapes": scorer.card}
    assert [one.judgement.verdict for one in judged(kept, "shapes")] == [
        told[cell.key].verdict for cell in kept.study.cells
    ]
    # The four images of a prompt share a batch.
    assert all(cell.batched for cell in kept.study.cells)


def test_a_bench_comes_back_as_it_was_planned(benches):
    bench = small(lanes=[{"guidance_method": "apg"}], exact=True)
    benches.create(bench)
    assert benches.open(bench.id) == bench
    (info,) = benches.list()
    assert (info.status, info.cells, info.done, info.prompts, info.seeds) == ("waiting", 12, 0, 2, 3)


def test_what_is_stopped_is_gone_on_with(library, benches):
    backend, stops = FakeBackend(), Stops()
    bench = small(exact=True)
    with closing(
        run_bench(bench, lambda name: backend, library, scorers=lambda n: Odd(), stops=stops)
    ) as events:
        for event in events:
            if isinstance(event, CellEnded):
                stops.all.set()
    kept = benches.open(bench.id)
    done = [cell.run_id for cell in kept.study.cells if cell.status == "complete"]
    assert kept.study.status == "stopped"
    assert 1 <= len(done) < 6
    asked = len(backend.asked)
    played(kept, backend, library)
    after = benches.open(bench.id)
    assert after.study.status == "complete"
    assert [cell.run_id for cell in after.study.cells][: len(done)] == done
    assert len(backend.asked) - asked == 6 - len(done)
    assert len(after.said["odd"]) == 6
    assert {one.judgement.verdict for one in judged(after, "odd") if one.task.tag == "colors"} == {
        "cannot judge"
    }


def test_a_reader_that_leaves_ends_everything(library, benches):
    backend = FakeBackend(pause=0.05)
    bench = small(exact=True)
    events = run_bench(bench, lambda name: backend, library, scorers=lambda name: Odd())
    next(event for event in events if isinstance(event, CellEnded))
    events.close()
    asked = len(backend.asked)
    assert not [one.name for one in threading.enumerate() if one.name == "diffatlas-bench"]
    assert benches.open(bench.id).study.status == "stopped"
    assert not benches.is_running(bench.id)
    assert len(backend.asked) == asked < 6


def test_what_a_killed_process_did_is_not_done_again(tmp_path, library, benches):
    script = tmp_path / "script.py"
    script.write_text(f"""
from diffatlas.library import Library
from diffatlas.library.format import size_of
from tests.bench.test_running import Odd, small
from tests.studies.fake_backends import FakeBackend
from diffatlas.bench.running import run_bench
from diffatlas.studies.run import CellEnded
bench = small(exact=True)
library = Library({str(library.folder)!r})
for event in run_bench(bench, lambda name: FakeBackend(pause=0.2), library, scorers=lambda name: Odd()):
    if isinstance(event, CellEnded):
        print("ended", flush=True)
""")
    said = tmp_path / "said"
    process = copied.start(str(script), folder=tmp_path, environment=os.environ, out=said)
    while not (said.exists() and said.read_text().count("ended") >= 2):
        assert process.is_alive(), said.read_text()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    (info,) = benches.list()
    kept = benches.open(info.id)
    done = [cell.run_id for cell in kept.study.cells if cell.status == "complete"]
    assert (info.status, kept.study.status, info.done) == ("stopped", "stopped", len(done))
    assert 2 <= len(done) < 6
    backend = FakeBackend()
    played(kept, backend, library)
    after = benches.open(info.id)
    assert [cell.run_id for cell in after.study.cells][: len(done)] == done
    assert len(backend.asked) == 6 - len(done)
    assert len(after.said["odd"]) == 6


def test_a_cell_that_failed_is_tried_again_alone(library, benches):
    def plan(params, attempt):
        return BackendFailure("The service is gone.") if params.seed == 6 and attempt == 1 else None

    backend = ImageBackend(plan)
    bench = small()
    played(bench, backend, library)
    kept = benches.open(bench.id)
    failed = [cell.key for cell in kept.study.cells if cell.status == "failed"]
    assert failed == ["a-0-1", "a-1-1"]
    assert kept.study.cell("a-0-1").error["message"] == "The service is gone."
    assert kept.judgement(kept.study.cell("a-0-1"), "odd").verdict == "cannot judge"
    assert len(judged(kept, "odd")) == 4
    events = played(kept, backend, library, only=["a-0-1"])
    after = benches.open(bench.id)
    assert [event.key for event in events if isinstance(event, CellEnded)] == ["a-0-1"]
    assert after.study.cell("a-0-1").status == "complete"
    assert after.study.cell("a-1-1").status == "failed"
    # Of a backend without steps the bench keeps the picture.
    assert np.array_equal(
        picture(bench.id, after.study.cell("a-0-1"), library), np.full((4, 4, 3), 7, np.uint8)
    )


def test_an_image_that_is_made_again_is_judged_again(library, benches):
    bench, odd = small(), Odd()
    played(bench, ImageBackend(), library, odd)
    benches.mark(bench.id, "a-0-0", Mark("fail"))
    benches.mark(bench.id, "a-0-1", Mark("fail"))
    before = len(odd.judged)
    played(benches.open(bench.id), ImageBackend(), library, odd, only=["a-0-0"], reuse=False)
    after = benches.open(bench.id)
    assert odd.judged[before:] == [6]
    assert set(after.marks) == {"a-0-1"}
    assert len(after.said["odd"]) == 6


def test_a_scorer_that_fails_leaves_the_images_to_be_judged_later(library, benches):
    def opens(name):
        raise ModelLoadError("There is no such checkpoint.")

    bench = small()
    events = list(run_bench(bench, lambda name: ImageBackend(), library, scorers=opens))
    last = [event for event in events if isinstance(event, ScorerChanged)][-1]
    assert (last.status, last.message) == ("failed", "There is no such checkpoint.")
    kept = benches.open(bench.id)
    assert kept.study.status == "complete"
    assert {one.judgement.verdict for one in judged(kept, "odd")} == {"cannot judge"}
    odd = Odd()
    list(judge_bench(kept, library, ["odd"], scorers=lambda name: odd))
    assert len(odd.judged) == 3
    assert [one.judgement.verdict for one in judged(benches.open(bench.id), "odd")][:3] == [
        "fail",
        "pass",
        "fail",
    ]
    # What is judged is not judged again, unless it is asked for or the scorer is another.
    list(judge_bench(benches.open(bench.id), library, ["odd"], scorers=lambda name: odd))
    assert len(odd.judged) == 3
    list(judge_bench(benches.open(bench.id), library, ["odd"], scorers=lambda name: odd, again=True))
    assert len(odd.judged) == 6
    other = Odd(revision="2")
    list(judge_bench(benches.open(bench.id), library, ["odd"], scorers=lambda name: other))
    assert len(other.judged) == 3
    assert benches.open(bench.id).cards["odd"].revision == "2"


def test_what_a_scorer_was_given_holds_where_the_bench_goes_on(library, benches):
    opened = []

    def opens(name, **options):
        opened.append(options)
        return Odd(revision=str(options.get("threshold")))

    bench = small()
    played(bench, ImageBackend(), library, only=["a-0-0"])
    kept = benches.open(bench.id)
    assert [cell.status for cell in kept.study.cells].count("complete") == 1
    list(judge_bench(kept, library, ["odd"], scorers=opens, options={"threshold": 0.1, "device": "cpu"}))
    assert benches.open(bench.id).options == {"odd": {"threshold": 0.1}}
    before = benches.open(bench.id).said["odd"]["a-0-0"]
    list(run_bench(benches.open(bench.id), lambda name: ImageBackend(), library, scorers=opens))
    after = benches.open(bench.id)
    assert opened == [{"threshold": 0.1, "device": "cpu"}, {"threshold": 0.1}]
    assert after.cards["odd"].revision == "0.1"
    assert after.said["odd"]["a-0-0"] == before
    assert len(after.said["odd"]) == 6
    list(judge_bench(after, library, ["odd"], scorers=opens, options={"threshold": 0.2}))
    assert benches.open(bench.id).options == {"odd": {"threshold": 0.2}}


def test_verdicts_of_another_card_count_no_more(library, benches):
    bench = small()
    benches.create(bench)
    benches.judge_with(bench.id, "odd", Odd("1").card)
    benches.say(bench.id, "odd", {"a-0-0": Judgement("pass")})
    benches.judge_with(bench.id, "odd", Odd("1").card)
    assert benches.open(bench.id).said == {"odd": {"a-0-0": Judgement("pass")}}
    benches.judge_with(bench.id, "odd", Odd("2").card)
    assert benches.open(bench.id).said == {"odd": {}}


def test_a_mark_stands_beside_the_verdict_that_it_overrides(library, benches):
    bench = small()
    played(bench, ImageBackend(), library)
    benches.mark(
        bench.id, "a-0-0", Mark("pass", "It is there, behind the tree.", "2026-11-30T00:00:00+00:00")
    )
    kept = benches.open(bench.id)
    cell = kept.study.cell("a-0-0")
    assert kept.judgement(cell, "odd").verdict == "pass"
    assert kept.judgement(cell, "odd", by_hand=False).verdict == "fail"
    assert kept.judgement(cell, HAND) == Judgement("pass", ("It is there, behind the tree.",))
    assert [one.judgement.verdict for one in judged(kept, HAND)].count("cannot judge") == 5
    benches.mark(bench.id, "a-0-0", None)
    assert benches.open(bench.id).marks == {}
    for nowhere in ("a-9-9", "c-0-0", "a-0", "a-0-0-0", "a-00-0", "a- 0-0", ""):
        with pytest.raises(KeyError):
            benches.mark(bench.id, nowhere, Mark("pass"))


def test_lanes_are_judged_each(library, benches):
    bench = small(lanes=[{"scheduler": "EulerDiscreteScheduler"}])
    played(bench, ImageBackend(), library)
    kept = benches.open(bench.id)
    assert [len(judged(kept, "odd", lane)) for lane in ("a", "b")] == [6, 6]
    with pytest.raises(InvalidParams, match="no lane 'c'"):
        judged(kept, "odd", "c")
    with pytest.raises(InvalidParams, match="not judged by 'clip'"):
        judged(kept, "clip")


def test_a_line_that_was_cut_off_takes_no_other_with_it(library, benches):
    bench = small()
    played(bench, ImageBackend(), library)
    folder = benches.folder / bench.id
    for name in (CELLS, VERDICTS):
        lines = (folder / name).read_bytes()
        (folder / name).write_bytes(lines[:-7])
    kept = benches.open(bench.id)
    assert [cell.status for cell in kept.study.cells].count("complete") == 5
    played(kept, ImageBackend(), library)
    after = benches.open(bench.id)
    assert [cell.status for cell in after.study.cells].count("complete") == 6
    assert len(after.said["odd"]) == 6


def test_what_cannot_be_read_says_why(library, benches):
    bench, other = small(), small()
    other = replace(other, study=replace(other.study, id="20260101-000000-aaaaaaaa"))
    for one in (bench, other):
        benches.create(one)
    (benches.folder / bench.id / "bench.json").write_text('{"format": 99}')
    (benches.folder / other.id / "pack.json").write_text("{}")
    told = {info.id: (info.status, info.error) for info in benches.list()}
    assert told[bench.id][0] == "damaged"
    assert "reads format 1" in told[bench.id][1]
    with pytest.raises(DamagedRun, match="its pack cannot be read"):
        benches.open(other.id)


def test_a_bench_that_runs_cannot_be_run_or_deleted(library, benches):
    bench = small(exact=True)
    events = run_bench(bench, lambda name: FakeBackend(pause=0.05), library, scorers=lambda name: Odd())
    with closing(events):
        assert isinstance(next(events), StudyChanged | ScorerChanged)
        next(event for event in events if isinstance(event, CellEnded))
        with pytest.raises(InvalidParams, match="running"):
            list(run_bench(bench, lambda name: FakeBackend(), library, scorers=lambda name: Odd()))
        with pytest.raises(InvalidParams, match="stop it first"):
            benches.trash(bench.id)
    benches.trash(bench.id)
    assert benches.list() == []
    benches.restore(bench.id)
    benches.rename(bench.id, "Two prompts")
    assert benches.open(bench.id).title == "Two prompts"


def test_what_cannot_be_asked_is_refused():
    pack = shipped_pack("smoke")
    for asked, words in (
        ({"seeds": 0}, "number of seeds"),
        ({"seeds": 65}, "number of seeds"),
        ({"lanes": [{"colour": "red"}]}, "colour"),
    ):
        with pytest.raises(InvalidParams, match=words):
            plan_bench(pack, BASE, **asked)
    with pytest.raises(InvalidParams, match="go beyond"):
        plan_bench(pack, BASE.replace(seed=MAX_SEED), seeds=2)


def test_a_bench_that_the_library_cannot_hold_ends_after_its_first_image(tmp_path, benches, library):
    backend, bench = FakeBackend(pause=0.02), small(exact=True)
    small_library = Library(library.folder, cap=4000)
    with pytest.raises(OverBound, match=r"6 take .* keep the pictures alone"):
        played(bench, backend, small_library)
    assert benches.open(bench.id).study.status == "stopped"
    assert 1 <= len(backend.asked) < 6


def test_a_bench_that_runs_does_not_push_out_its_own_images(library, benches):
    bench = small(exact=True)
    others = small(exact=True)
    played(others, FakeBackend(), library)
    runs = [cell.run_id for cell in benches.open(others.id).study.cells]
    for run_id in runs[:3]:
        library.mark(run_id, locked=True)
    # Room for six and a half runs, of which three stay whatever comes.
    tight = Library(library.folder, cap=int(6.5 * size_of(library.path(runs[0]))))
    played(bench, FakeBackend(), tight, reuse=False)
    kept = benches.open(bench.id)
    assert all(library.load(cell.run_id).images for cell in kept.study.cells)
    assert {info.id for info in library.list()} == {*runs[:3], *(cell.run_id for cell in kept.study.cells)}
    assert len(tight.evict()) > 0


def test_what_is_kept_of_an_image():
    assert [keep_of(capture_of(keep)) for keep in KEEPS] == list(KEEPS)
    assert capture_of("attention").attention == "cross"
    assert not capture_of("pictures").latents
    with pytest.raises(InvalidParams, match="paths, attention or pictures"):
        capture_of("everything")
