"""UMAP in a process of its own: importing and compiling it hold the interpreter's lock, for seconds or half a minute.

The process runs this module and nothing of the program that starts it: `multiprocessing` would run a script without
``if __name__ == "__main__"`` a second time, with all that it begins. Arrays go through its standard input and output,
and it ends when its input does, so also with a program that is killed.
"""

from __future__ import annotations

import io
import os
import queue
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import IO

import numpy as np

#: Of the process: runs come first where the cores are short.
NICE = 15


class UmapProcess:
    """Embeds, one matrix after another. The process is started by the first, and anew where it has ended."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """The number of the process; None before it is started."""
        return None if self._process is None else self._process.pid

    def submit(self, distances: np.ndarray, dimensions: int) -> Future[np.ndarray]:
        """Return what will be the embedding (n, dimensions) of points whose distances (n, n) are given.

        Where it cannot be computed, the future raises RuntimeError with what went wrong.
        """
        future: Future[np.ndarray] = Future()

        def work() -> None:
            try:
                with self._turn:
                    future.set_result(self._ask(distances, dimensions))
            except Exception as error:
                future.set_exception(error)

        # No thread of a pool: the end of the program would wait for those.
        threading.Thread(target=work, name="diffatlas-umap", daemon=True).start()
        return future

    def close(self) -> None:
        """End the process, where there is one; what is being computed raises."""
        self._closed = True
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _ask(self, distances: np.ndarray, dimensions: int) -> np.ndarray:
        if self._closed:
            raise RuntimeError("it was closed")
        if self._process is None or self._process.poll() is not None:
            self._process = _started()
        process = self._process
        try:
            _put(process.stdin, np.array(dimensions))
            _put(process.stdin, distances)
            answer = _take(process.stdout)
        except (OSError, ValueError, EOFError) as error:
            process.kill()
            process.wait()
            raise RuntimeError("its process has ended") from error
        if answer.dtype.kind == "U":
            raise RuntimeError(str(answer))
        return answer


def _started() -> subprocess.Popen[bytes]:
    package = str(Path(__file__).parents[2])
    found = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    # -P: a file of the working folder is none of Python's modules.
    command = [sys.executable, "-P", "-m", "diffatlas.operations.umap_process"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": found}, **pipes)


def _put(stream: IO[bytes], array: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    data = file.getvalue()
    stream.write(len(data).to_bytes(8, "little") + data)
    stream.flush()


def _take(stream: IO[bytes]) -> np.ndarray:
    data = stream.read(int.from_bytes(stream.read(8), "little"))
    if not data:
        raise EOFError
    return np.load(io.BytesIO(data), allow_pickle=False)


def _serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until the questions end; whatever is being computed ends with them."""
    asked: queue.Queue[tuple[int, np.ndarray]] = queue.Queue()

    def read() -> None:
        try:
            while True:
                dimensions = int(_take(questions))
                asked.put((dimensions, _take(questions)))
        except (OSError, ValueError, EOFError):
            os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    from diffatlas.geometry.embedding import umap

    while True:
        dimensions, distances = asked.get()
        try:
            answer = np.asarray(umap(distances, dimensions))
        except Exception as error:
            answer = np.array(str(error) or type(error).__name__)
        _put(answers, answer)


if __name__ == "__main__":
    # Ctrl-C reaches all of a terminal's processes; this one ends with its program.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICE)
    # Whatever a library prints goes beside the answers.
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, own)
