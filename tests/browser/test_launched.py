"""The app as Python launches it on a pipeline in memory: in a script, and in the frame of a notebook."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.visiting import PATIENCE, fill
from tests.serving import ROOT, served_app

pytestmark = pytest.mark.browser

SCRIPT = """
import sys
sys.path[:0] = [{tests!r}]
import diffatlas
from tests.pipelines import build_sd

diffatlas.launch(build_sd(), name="my fine-tune")
"""
#: A kernel of IPython, as far as it is asked for.
KERNEL = """
import sys, types
names = "IPython", "IPython.core", "IPython.core.getipython", "IPython.display"
modules = dict((name, types.ModuleType(name)) for name in names)
modules["IPython.core.getipython"].get_ipython = lambda: "a kernel"
modules["IPython.display"].HTML = modules["IPython.display"].display = lambda what: what
sys.modules.update(modules)
"""
STAY = "\nimport threading\nthreading.Event().wait()\n"
FRAMES = ".da-frame[data-step]"


def written(folder: Path, text: str) -> Path:
    path = folder / "script.py"
    path.write_text(text.format(tests=str(ROOT / "tests")))
    return path


def launched(folder: Path, text: str):
    search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return served_app(folder, written(folder, text), PYTHONPATH=search)


@pytest.fixture
def window(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    yield page
    context.close()


def test_a_pipeline_in_memory_is_first_in_the_field_and_runs(window, tmp_path):
    with launched(tmp_path, SCRIPT) as url:
        window.goto(url)
        window.wait_for_selector(".da-viewer", state="attached")
        assert window.input_value("#field-model input") == "my fine-tune · in memory"
        assert window.input_value("#field-num_inference_steps input") == "50"
        fill(window, "num_inference_steps", 4)
        window.click("#field-run")
        window.wait_for_function(f"document.querySelectorAll('{FRAMES}').length === 4")
        window.wait_for_selector(".da-layer.da-temporary .da-lock:not([disabled])")
        rows = window.locator(".da-section-image .da-numbers").inner_text()
        assert "my fine-tune" in rows
        assert "StableDiffusionPipeline, in memory" in rows
        # Last: to look at the choices counts as choosing, and brings the model's own steps along.
        window.click("#field-model input")
        options = window.locator("[role=option]").all_inner_texts()
        assert "my fine-tune" in options[0]
        assert len(options) > 1
        assert not window.problems


def test_in_the_frame_of_a_notebook_the_runs_are_found_again(window, tmp_path):
    """Notebooks are at localhost: of 127.0.0.1 in a frame, a browser keeps no cookie there."""
    with launched(tmp_path, KERNEL + SCRIPT + STAY) as url:

        class Notebook(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(f'<iframe src="{url}" width="100%" height="880"></iframe>'.encode())

            def log_message(self, *told):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Notebook)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            window.goto(f"http://localhost:{server.server_port}/")
            frame = window.frame_locator("iframe")
            frame.locator("#field-num_inference_steps input").fill("3")
            frame.locator("#field-run").click()
            frame.locator(".da-layer.da-temporary .da-lock:not([disabled])").wait_for()
            image = frame.locator(".da-picture img")
            assert image.evaluate("async image => { await image.decode(); return image.naturalWidth; }") == 64
            expect(frame.locator(FRAMES)).to_have_count(3, timeout=PATIENCE)
            assert not window.problems
        finally:
            server.shutdown()
