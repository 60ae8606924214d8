"""``python app.py`` where it cannot start."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests import copied
from tests.serving import ROOT


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {
            **os.environ,
            "DIFFATLAS_LIBRARY": str(tmp_path / "library"),
            "GRADIO_TEMP_DIR": str(tmp_path / "cache"),
            "GRADIO_SERVER_PORT": port,
            "GRADIO_NUM_PORTS": "1",
        }
        done = copied.run(str(ROOT / "app.py"), folder=tmp_path, environment=environment)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"error: The app cannot listen on 127.0.0.1: Cannot find empty port in range: {port}-"
    )
