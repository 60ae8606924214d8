"""Runs on lent GPUs: the real ``spaces`` forks, pickles and cuts off; only CUDA and the platform are stand-ins."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from diffatlas.backends.estimate import Work
from diffatlas.backends.paces import Noted
from diffatlas.backends.zerogpu_errors import as_said
from diffatlas.importing import importing
from tests import copied

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zerogpu")
    command = ("-m", "tests.backends.zerogpu_scenes", str(folder))
    told = copied.run(*command, folder=ROOT, environment=os.environ)
    assert (folder / "seen.json").is_file(), told.stderr[-3000:]
    return json.loads((folder / "seen.json").read_text())


def test_the_events_are_those_of_this_machine_bit_for_bit(seen):
    assert seen["cuda_is_told"]  # the package has changed torch in the main process
    assert seen["kinds"] == ["Started", *["Step"] * 5, "Image", "Finished"]
    assert all(seen["same"])
    assert seen["identity"]


def test_a_batch_is_too(seen):
    assert seen["batch"]
    assert all(seen["batch"])


def test_what_a_process_learned_of_the_time_comes_back_and_nothing_else(seen):
    assert seen["before"] is None
    assert seen["after"] > 0
    assert seen["globals"]
    # A guess first; then what it was seen to take.
    assert seen["asked"][1] < seen["asked"][0] <= 20


def test_stop_ends_the_process_with_the_gpu(seen):
    steps, status = seen["stopped"]
    assert status == "stopped"
    assert steps < 300
    assert seen["closed"]


def test_stop_does_not_wait_for_a_gpu(seen):
    assert seen["queued"] == ["Waiting", ["stopped"]]
    assert seen["given_back"]


def test_a_run_that_is_cut_off_keeps_its_steps(seen):
    (code, message), steps, status, stored = seen["cut"]
    assert (code, status) == ("overrun", "failed")
    assert "GPU task aborted" in message
    assert 0 < steps == stored < 999


def test_an_error_of_the_process_is_told_by_its_class(seen):
    code, message = seen["raised"]
    assert code == "backend_failure"
    assert "KeyError" in message
    assert "gone" not in message


@pytest.mark.parametrize(
    ("scene", "code", "words"),
    [
        ("quota", "gpu_refused", "You have exceeded your ZeroGPU quota"),
        ("signed_in", "gpu_refused", "Try again in 0:12:33"),
        ("illegal", "gpu_refused", "larger than the maximum allowed"),
        ("pending", "gpu_refused", "too many ZeroGPU credits"),
        ("nobody", "gpu_refused", "Space app has reached its GPU limit"),
        ("expired", "gpu_refused", "reload the page"),
        ("none_free", "timeout", "No GPU was available"),
        ("queue", "timeout", "No GPU was available after 60s"),
        ("down", "provider_down", "500"),
    ],
)
def test_refusals_are_typed_and_in_the_platforms_words(seen, scene, code, words):
    assert seen[scene][0] == code
    assert words in seen[scene][1]


def test_what_is_too_long_is_refused_before_a_gpu_is_asked_for(seen):
    (code, message), asked = seen["too_long"]
    assert (code, asked) == ("over_bound", 0)
    assert "fewer steps" in message


def test_the_platform_is_told_whose_run_it_is_on_every_thread(seen):
    assert seen["tokens"] == ["visitor.e30.c"] * 3


def test_pictures_are_decoded_on_the_cpu(seen):
    assert seen["decoded"] == [[1, 64, 64, 3], "cpu"]


def test_a_fork_may_import_though_another_thread_was_importing():
    began = threading.Event()

    def hold():
        with importing():
            began.set()
            time.sleep(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    began.wait()
    child = os.fork()
    if child == 0:
        with importing():
            os._exit(7)
    ended = 0
    for _ in range(200):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.05)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    thread.join()
    assert ended, "the fork waits for a thread that is not in it"
    assert os.waitstatus_to_exitcode(status) == 7


def test_what_a_call_took_survives_the_way():
    noted = Noted(
        ("shapes", None, None, None), (64, 64), 1.0, 2, 0.1, Work(1, 2, 3, 4), 0.2, Work(5, 6, 7, 8)
    )
    assert Noted.from_dict(json.loads(json.dumps(noted.to_dict()))) == noted


def test_other_errors_are_not_the_platforms():
    assert as_said(ValueError("no")) is None
    said = as_said(SimpleNamespace(title="ZeroGPU something new", message="Wait"))
    assert said.code == "provider_down"
    assert "Wait" in said.message
