"""The real app in a process of its own, and where to find a Chromium: for the browser tests and the benchmarks."""

from __future__ import annotations

import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests import copied

ROOT = Path(__file__).parents[1]
#: Software WebGL.
CHROMIUM_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return named or next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def served_app(folder: Path, script: Path = ROOT / "app.py", **variables: str) -> Iterator[str]:
    """Start ``script`` on a free port, its library and cache in ``folder``; yield its address once it answers.

    variables: more of its environment.

    Raises RuntimeError with the app's log where it ends before it answers; and at the end where an answer to a page was
    none of its type, which an app of the tests looks at (``DIFFATLAS_CHECK_ANSWERS``).
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_TEMP_DIR": str(folder / "cache"),
        "DIFFATLAS_LIBRARY": str(folder / "runs"),
        "DIFFATLAS_HOSTED_LEDGER": str(folder / "hosted.sqlite"),
        "HF_HUB_OFFLINE": "1",
        **variables,
    }
    log = folder / "log.txt"
    log.write_text("")
    process = copied.start(str(script), folder=folder, environment=environment, out=log)
    url = f"http://127.0.0.1:{port}/"
    try:
        if not _answers(url, process):
            raise RuntimeError(f"The app did not start:\n{log.read_text()}")
        yield url
    finally:
        process.terminate()
        process.join(30)
    wrong = [line for line in log.read_text().splitlines(keepends=True) if "wire.call.Mismatch" in line]
    if wrong:
        raise RuntimeError(f"The app answered its pages other than the wire says:\n{''.join(wrong)}")


def _answers(url: str, process: BaseProcess) -> bool:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except urllib.error.HTTPError:
            # It asks for a password first.
            return True
        except OSError:
            if process.exitcode is not None:
                return False
            time.sleep(0.2)
    return False
