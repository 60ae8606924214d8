"""The page as an ASGI application on Modal, and one run from a shell there."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from gradio_client import Client

from diffatlas.backends.modal import ModalBackend
from diffatlas.cli.modal_run import run_once
from diffatlas.library import Library
from diffatlas.operations.trace import use_as_local
from tests.ui.test_api import INPUTS


@contextmanager
def answering(app):
    """Serve an ASGI application; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        # A client of Gradio keeps a connection open.
        server.should_exit = server.force_exit = True
        thread.join()


@pytest.fixture
def variables(monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "runs"))
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    yield monkeypatch
    use_as_local(None)


def test_the_page_answers_and_its_runs_go_to_a_container_with_a_gpu(deployed, container, variables):
    container.ran.clear()
    with answering(deployed.page.local()) as url:
        answer = httpx.get(url)
        assert answer.status_code == 200
        assert "Diffusion Atlas" in answer.text
        assert "frame-ancestors" in answer.headers.get("content-security-policy", "")
        client = Client(url, verbose=False)
        told = list(client.submit(**INPUTS, api_name="/trace"))
        # The same again is in the visitor's library, under what decides a result on those containers.
        list(client.submit(**INPUTS, api_name="/trace"))
    assert len(told[-1]["steps"]) == INPUTS["steps"]
    assert [call.method for call in container.ran] == ["run"]


def test_the_page_with_a_password_lets_nobody_in_without_it(deployed, container, variables):
    variables.setattr(deployed, "chosen", deployed.chosen.model_copy(update={"modal_page": "password"}))
    with pytest.raises(RuntimeError, match="DIFFATLAS_PAGE_PASSWORD"):
        deployed.page.local()
    variables.setenv("DIFFATLAS_PAGE_PASSWORD", "open sesame")
    with answering(deployed.page.local()) as url:
        assert httpx.get(f"{url}/config").status_code == 401
        wrong = httpx.post(f"{url}/login", data={"username": "ada", "password": "sesame"})
        assert wrong.status_code == 400
        right = httpx.post(f"{url}/login", data={"username": "ada", "password": "open sesame"})
        assert httpx.get(f"{url}/config", cookies=right.cookies).status_code == 200


def test_a_run_from_the_shell_is_priced_shown_and_kept_here(deployed, container, variables, capsys, tmp_path):
    variables.setenv("DIFFATLAS_MODE", "personal")
    run_once(ModalBackend(), "a red circle", "shapes", seed=5, steps=4)
    out, err = capsys.readouterr()
    assert "This asks for about" in err
    assert "Modal took" in err
    stored = Library(tmp_path / "runs").open(out.strip())
    assert (stored.status, stored.params.seed, len(stored.step_lines())) == ("complete", 5, 4)
    # The same again is served from here: nothing is asked for, and nothing paid.
    run_once(ModalBackend(), "a red circle", "shapes", seed=5, steps=4)
    out, err = capsys.readouterr()
    assert out.strip() == stored.id
    assert "asks for" not in err
    assert "Modal took" not in err


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"steps": 0}, "error: "), ({"model": "nothing"}, "error: There is no model"), ({}, "add --yes")],
)
def test_what_cannot_be_is_one_line(deployed, container, variables, capsys, asked, words):
    variables.setenv("DIFFATLAS_MODAL_CONFIRM", "0.000001")
    with pytest.raises(SystemExit) as ended:
        run_once(
            ModalBackend(), **{"prompt": "a red circle", "model": "shapes", "seed": 5, "steps": 4} | asked
        )
    assert ended.value.code == 2
    err = capsys.readouterr().err.strip().splitlines()
    assert words in err[-1]
