"""Long work: its progress, its end, and whose it is."""

from __future__ import annotations

import threading
import time

import pytest

from diffatlas.errors import InvalidParams
from diffatlas.ui import jobs as jobs_room
from diffatlas.ui.jobs import AT_ONCE, Jobs


def wait(jobs, name, visitor="me"):
    job = jobs.find(visitor, name)
    for _ in range(500):
        if job.state["done"]:
            return job.state
        threading.Event().wait(0.01)
    raise AssertionError("the job did not end")


def test_progress_and_result():
    jobs, go = Jobs(), threading.Event()

    def work(job, progress):
        progress(progress=0.5, message="half way")
        go.wait(5)
        return 42

    name = jobs.start("me", work)
    for _ in range(500):
        if jobs.find("me", name).state["message"]:
            break
        threading.Event().wait(0.01)
    assert jobs.find("me", name).state == {
        "done": False, "progress": 0.5, "message": "half way", "result": None, "error": None,
    }  # fmt: skip
    go.set()
    assert wait(jobs, name)["result"] == 42


def test_an_error_is_a_sentence_and_an_unforeseen_one_tells_nothing_of_itself():
    jobs = Jobs()

    def refused(job, progress):
        raise InvalidParams("This cannot be.")

    def broken(job, progress):
        raise RuntimeError("secret token hf_123")

    assert wait(jobs, jobs.start("me", refused))["error"] == {"message": "This cannot be."}
    told = wait(jobs, jobs.start("me", broken))["error"]["message"]
    assert "hf_123" not in told
    assert "log" in told


def test_jobs_of_another_visitor_are_unknown():
    jobs = Jobs()
    name = jobs.start("me", lambda job, progress: 1)
    for asked in (name, "nothing", None, ["x"]):
        with pytest.raises(InvalidParams):
            jobs.find("you", asked)


def test_a_visitor_cannot_take_all_threads():
    jobs, go = Jobs(), threading.Event()
    for _ in range(AT_ONCE):
        jobs.start("me", lambda job, progress: go.wait(5))
    with pytest.raises(InvalidParams, match="under way"):
        jobs.start("me", lambda job, progress: 1)
    assert wait(jobs, jobs.start("you", lambda job, progress: 1), "you")["result"] == 1
    go.set()


def test_a_job_ends_soon_after_its_page_is_gone(monkeypatch):
    monkeypatch.setattr(jobs_room, "ABANDONED", 0.3)
    jobs, ended = Jobs(), []

    def work(job, progress):
        began = time.monotonic()
        while not job.stop.is_set() and time.monotonic() - began < 20:
            time.sleep(0.01)
        ended.append(time.monotonic() - began)

    name = jobs.start("me", work)
    for _ in range(10):
        jobs.find("me", name)
        time.sleep(0.1)
    assert not ended
    time.sleep(0.6)
    assert len(ended) == 1
