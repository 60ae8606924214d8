"""What goes wrong with Modal: one sentence each, typed, with what to do."""

from __future__ import annotations

import json
import sys

import modal
import modal.exception as theirs
import pytest
from grpclib import GRPCError, Status
from modal_proto import api_pb2 as api
from safetensors.numpy import save

from diffatlas import GenerationParams
from diffatlas.backends import open_backend, wire
from diffatlas.backends.modal import ModalBackend
from diffatlas.backends.on_modal import failures, follow, frames, worker
from diffatlas.errors import CapabilityError, InvalidParams, KeyRefused, NotDeployed
from diffatlas.events import Failed, Image, Step, Waiting

RED = GenerationParams(model="shapes", prompt="a red circle", seed=3, num_inference_steps=6)


def outcome(backend, params=RED):
    """The one event that a run ends with before it has begun, and what it waited for."""
    *waits, last = backend.trace(params)
    assert all(isinstance(event, Waiting) for event in waits)
    assert isinstance(last, Failed)
    return last


CASES = [
    (theirs.AuthError("Token missing."), "auth", "modal token new"),
    (theirs.PermissionDeniedError("no"), "auth", "workspace"),
    (theirs.NotFoundError("Lookup failed"), "not_deployed", "modal deploy modal_deploy.py"),
    (
        theirs.ResourceExhaustedError("Function call failed: workspace billing cycle spend limit reached"),
        "payment_required",
        "Usage and billing",
    ),
    (theirs.ResourceExhaustedError("too many"), "rate_limited", "DIFFATLAS_MODAL_CONTAINERS"),
    (
        theirs.FunctionTimeoutError("Task's current input hit its timeout"),
        "timeout",
        "DIFFATLAS_MODAL_TIMEOUT",
    ),
    (theirs.ConnectionError("refused"), "network", "connection"),
    (theirs.ServiceError("gone"), "network", "connection"),
    (theirs.ClientClosed(1), "network", "connection"),
    (OSError("no route"), "network", "connection"),
    (theirs.DeserializationError("no module"), "capability", "again"),
    (theirs.ExecutionError("Could not deserialize remote exception"), "capability", "same versions"),
    (theirs.VersionError("old"), "capability", "same versions"),
    (theirs.InternalFailure("lost"), "provider_down", "modal app logs diffatlas"),
    (theirs.RemoteError("OOM"), "provider_down", "modal app logs diffatlas"),
    (theirs.InternalError("oops"), "provider_down", "status.modal.com"),
    (RuntimeError("odd"), "backend_failure", "RuntimeError (odd)"),
]


@pytest.mark.parametrize(("error", "code", "words"), CASES, ids=lambda case: type(case).__name__)
def test_each_exception_of_the_package_is_one_sentence(error, code, words):
    typed = failures.typed(error, "diffatlas", 1800)
    assert typed.code == code
    assert words in typed.message
    assert typed.message.endswith(".")
    assert "\n" not in typed.message


def test_only_a_lost_container_is_followed_by_another():
    assert [type(error).__name__ for error, _, _ in CASES if failures.died(error)] == [
        "InternalFailure",
        "RemoteError",
    ]


def test_the_package_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "modal", None)
    with pytest.raises(CapabilityError, match=r'pip install "diffatlas\[modal\]"'):
        open_backend("modal")


def test_no_token(fake, far, monkeypatch, tmp_path):
    monkeypatch.delenv("MODAL_TOKEN_ID")
    monkeypatch.delenv("MODAL_TOKEN_SECRET")
    monkeypatch.setattr("modal.config._user_config", {})
    before = modal.client._Client._client_from_env
    modal.client.Client._set_env_client(None)
    try:
        backend = ModalBackend()
        assert outcome(backend).code == "auth"
        with pytest.raises(KeyRefused):
            backend.models()
    finally:
        modal.client._Client._client_from_env = before


def test_the_app_is_not_deployed(fake):
    backend = ModalBackend(app="another")
    assert outcome(backend).code == "not_deployed"
    with pytest.raises(NotDeployed, match="'another'"):
        backend.resolve(RED)


def test_no_credit(fake, far):
    fake.refuses = GRPCError(Status.RESOURCE_EXHAUSTED, "workspace billing cycle spend limit reached")
    assert outcome(far).code == "payment_required"


def test_no_gpu_is_to_be_had(fake, lone, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_MODAL_WAIT", "0.3")
    monkeypatch.setattr(follow, "SLOW", 0.1)
    events = list(ModalBackend(gpu=None).trace(RED))
    assert [type(event) for event in events] == [Waiting, Waiting, Failed]
    assert events[-1].code == "timeout"
    # Nobody waits for it any more, so nobody pays for it.
    assert fake.last.cancelled


def test_a_run_takes_too_long(fake, far, lone):
    def slow(asked, name):
        fake.end(fake.last, api.GenericResult.GENERIC_STATUS_TIMEOUT, words="hit its timeout")

    lone.start(slow)
    assert outcome(far).code == "timeout"


def test_a_connection_that_breaks_is_taken_up_again(fake, far):
    # More often than the package itself tries again.
    fake.unreachable = 6
    events = list(far.trace(RED))
    assert any("lost" in event.message for event in events if isinstance(event, Waiting))
    assert sum(isinstance(event, Step) for event in events) == 6
    assert any(isinstance(event, Image) for event in events)


def test_a_connection_that_stays_away(fake, far, monkeypatch):
    monkeypatch.setattr(follow, "AWAY_SECONDS", 0.1)
    fake.unreachable = 10**6
    try:
        events = list(far.trace(RED))
    finally:
        fake.unreachable = 0
    assert events[-1].code == "network"
    assert any("lost" in event.message for event in events if isinstance(event, Waiting))


def test_versions_that_differ(far, lone, deployed, here, monkeypatch):
    def newer(asked, name):
        item = bytearray(frames.end_of(frames.new_attempt(), 0))
        item[2] += 1
        deployed.answers.put(bytes(item), partition=name)

    lone.start(newer)
    assert "frames of version" in outcome(far).message

    class Queue:
        items = ()

        def put_many(self, items, **kwargs):
            self.items = (*self.items, *items)

    rest = {"version": wire.VERSION + 1, "cells": [{"prompt": "x"}], "capture": {}, "batch": False}
    queue = Queue()
    worker.run(here, queue, save({}, metadata={"request": json.dumps(rest)}), "run")
    joiner = frames.Joiner()
    found = [joiner.take(item) for item in queue.items]
    _, failed = wire.answer_from_bytes(found[0].content)
    assert failed.code == "capability"
    assert found[1].content is None


def test_what_the_package_cannot_bring_over_is_an_error_of_the_run(far, lone):
    def raises(asked, name):
        raise InvalidParams("no", field="seed")

    lone.start(raises)
    failed = outcome(far)
    assert (failed.code, failed.field) == ("invalid_params", "seed")
