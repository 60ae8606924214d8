"""``diffatlas serve`` as a process of its own, from its start to Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from diffatlas import GenerationParams
from diffatlas.backends import open_backend

TOKEN = "a-token-of-the-tests-0123456789"


def test_it_serves_until_it_is_interrupted_and_says_little():
    environment = {**os.environ, "DIFFATLAS_TOKEN": TOKEN}
    arguments = [sys.executable, "-m", "diffatlas", "serve", "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment) as process:
        said = process.stderr.readline()
        assert said.startswith("Diffusion Atlas serves runs at http://0.0.0.0:")
        assert said.endswith(": a token is asked for.\n")
        port = said.partition("0.0.0.0:")[2].partition(":")[0]
        remote = open_backend("remote", url=f"http://127.0.0.1:{port}", token=TOKEN)
        events = list(remote.trace(GenerationParams(prompt="a red circle", num_inference_steps=2)))
        assert events[-1].status == "complete"
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(20) == 130
    assert rest == ""
    # What a server's process is started with can be read by everybody on its machine.
    assert not any(TOKEN in argument for argument in arguments)


def test_no_page_is_loaded_for_it():
    code = "import sys, diffatlas.cli.serve, diffatlas.serving.server; print('gradio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
