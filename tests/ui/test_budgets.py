"""What one visitor may keep in memory and on disk, and what of whom goes first."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from diffatlas.errors import TooMuch
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_sweep import plan_sweep
from diffatlas.ui import lab_sessions, libraries, private_files
from diffatlas.ui.budgets import ByVisitor
from diffatlas.ui.growing_runs import EACH as VIEWS
from diffatlas.ui.growing_runs import GrowingRuns
from diffatlas.ui.jobs import EACH as JOBS
from diffatlas.ui.jobs import Jobs
from diffatlas.ui.lab_services import LabServices
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.private_files import private_url
from diffatlas.ui.starts import start_of
from diffatlas.ui.wire.runs import Grown
from tests.spoken import Spoken
from tests.ui.test_growing_runs import RunView, events
from tests.ui.test_jobs import wait

ME, YOU = "a" * 32, "b" * 32


def test_a_visitors_things_never_make_anothers_go():
    kept = ByVisitor(3, 100, "You have 3: close one.")
    kept.add("you", "yours", 0)
    gone = [thing for n in range(50) for thing in kept.add("me", str(n), n)]
    assert gone == list(range(47))
    assert kept.get("you", "yours") == 0
    assert kept.of("me") == [47, 48, 49]
    assert kept.get("me", "yours") is None


def test_what_is_used_stays_and_what_is_busy_is_told():
    busy = set()
    kept = ByVisitor(3, 100, "You have 3: close one.", busy.__contains__)
    for n in range(3):
        kept.add("me", str(n), n)
    kept.get("me", "0")
    busy.add(1)
    assert kept.add("me", "3", 3) == [2]
    busy |= {0, 3}
    with pytest.raises(TooMuch, match=r"^You have 3: close one\.$"):
        kept.add("me", "4", 4)
    assert kept.of("me") == [1, 0, 3]
    # The same thing again is no new one.
    assert kept.add("me", "3", 5) == []


def test_where_memory_is_full_the_visitor_away_longest_gives_but_not_their_newest():
    kept = ByVisitor(None, 6, "")
    for visitor in ("old", "new"):
        for n in range(3):
            kept.add(visitor, str(n), f"{visitor} {n}")
    assert kept.add("me", "0", "me 0") == ["old 0"]
    assert kept.add("me", "1", "me 1") == ["old 1"]
    assert kept.add("me", "2", "me 2") == ["new 0"]
    assert kept.add("me", "3", "me 3") == ["new 1"]
    assert kept.add("me", "4", "me 4") == ["me 0"]
    for visitor in "wxy":
        kept.add(visitor, "0", visitor)
    with pytest.raises(TooMuch, match="try again in some minutes"):
        kept.add("late", "0", "late")


def test_a_budget_holds_whatever_comes():
    rng = random.Random(5)
    busy = set()
    kept = ByVisitor(4, 15, "full", busy.__contains__)
    for n in range(3000):
        visitor = rng.choice("abcdefg")
        if rng.random() < 0.2:
            busy ^= {rng.randrange(n + 1)}
        try:
            gone = kept.add(visitor, str(n), n)
            assert not busy & set(gone)
            assert kept.of(visitor)[-1] == n
        except TooMuch:
            pass
        if rng.random() < 0.3 and kept.of(other := rng.choice("abcdefg")):
            kept.pop(other, str(kept.of(other)[0]))
        assert all(len(kept.of(v)) <= 4 for v in "abcdefg")
        assert len(list(kept)) <= 15


def test_many_labs_of_one_visitor_leave_those_of_others(tmp_path, monkeypatch):
    services = Spoken(LabServices(Libraries(tmp_path, shared=True)))
    begin = {"target": {"preset": "moons"}, "recipe": {"width": 8, "depth": 1}}
    yours = services.begin(YOU, begin)["lab"]
    for _ in range(lab_sessions.EACH):
        mine = services.begin(ME, begin)["lab"]
    with pytest.raises(TooMuch, match="12 labs of yours are open"):
        services.begin(ME, begin)
    # Those that nobody has looked at for a while give way.
    monkeypatch.setattr(lab_sessions, "OPEN", 0.0)
    for _ in range(30):
        mine = services.begin(ME, begin)["lab"]
    assert services.watch(YOU, {"lab": yours})["status"] == "idle"
    assert services.watch(ME, {"lab": mine})["status"] == "idle"
    assert len(services._labs._labs.of(ME)) == lab_sessions.EACH


def test_many_jobs_and_runs_of_one_visitor_leave_those_of_others():
    jobs, growing = Jobs(shared=True), GrowingRuns(shared=True)
    job = jobs.start(YOU, lambda job, progress: 7)
    wait(jobs, job, YOU)
    view = RunView("a red circle", "Shapes", YOU)
    growing.grown(view)
    for _ in range(3 * max(JOBS, VIEWS)):
        wait(jobs, jobs.start(ME, lambda job, progress: 1), ME)
        mine = RunView("a blue square", "Shapes", ME)
        for event in events():
            mine.add(event)
        growing.grown(mine)
    assert jobs.find(YOU, job).state["result"] == 7
    assert growing.ask(Grown(request=view.request, changes=0, steps=0)).body
    assert growing.ask(Grown(request=mine.request, changes=0, steps=0)).body
    assert len(growing._whose) == VIEWS + 1


@pytest.fixture
def shared(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(private_files, "_held", type(private_files._held)())
    return Libraries(tmp_path / "runs", shared=True)


def test_a_library_full_of_locked_runs_takes_no_more_and_says_what_to_do(shared, monkeypatch):
    library = shared.of(ME)
    run = library.adopt(start_of("trajectory")["id"])
    size = library.usage().bytes
    monkeypatch.setenv("DIFFATLAS_VISITOR_LIBRARY", str(size * 2))
    shared.check_room(ME)
    library.mark(run.name, locked=True)
    monkeypatch.setenv("DIFFATLAS_VISITOR_LIBRARY", str(size // 2))
    with pytest.raises(TooMuch, match=r"Your library is full.*Unlock or delete some in the Library"):
        shared.check_room(ME)
    shared.check_room(YOU)
    # What is in the trash makes room.
    library.mark(run.name, locked=False)
    library.trash(run.name)
    shared.check_room(ME)
    assert library.trash_count == 0
    Libraries(shared.root / "own").check_room(ME)


def test_a_visitor_keeps_so_many_studies(shared, monkeypatch):
    monkeypatch.setattr(libraries, "MOST_STUDIES", 2)
    base = GenerationParams(prompt="a red circle", seed=3)
    for values in ("1, 2", "3, 4"):
        shared.check_study(ME)
        shared.of(ME).studies.save(plan_sweep(base, "guidance_scale", values))
    with pytest.raises(TooMuch, match=r"You have 2 studies.*delete some"):
        shared.check_study(ME)
    shared.check_study(YOU)


def test_a_visitors_files_have_a_budget_and_the_oldest_go(shared, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_VISITOR_FILES", "10000")
    path = lambda url: Path(url.removeprefix("gradio_api/file="))  # noqa: E731
    yours = path(private_url(YOU, b"y" * 9000, "image.png"))
    mine = [path(private_url(ME, bytes([n]) * 3000, "image.png")) for n in range(20)]
    assert yours.is_file()
    assert mine[-1].is_file()
    left = [one for one in mine if one.is_file()]
    assert left == mine[-len(left) :]
    assert 3000 * len(left) <= 10000
    with pytest.raises(TooMuch, match="larger than what is kept for one visitor"):
        private_url(ME, b"z" * 20000, "all.html")
    monkeypatch.setenv("DIFFATLAS_MODE", "personal")
    assert path(private_url(ME, b"z" * 20000, "all.html")).is_file()
