"""A server that reads datasets as `dataset_rows` has them read, each in a fork of a process that has imported pyarrow.

Run as ``python forked_reader.py DATASET_READER``, it takes lines of JSON: the arguments of a reader and a named pipe
for its output, which it answers with the reader's number; or such a number, which it answers with its exit code.
`ForkedReader` stands for the process that is started otherwise.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_popen = subprocess.Popen


class Server:
    """The process that forks."""

    def __init__(self, dataset_reader: str) -> None:
        self.closed = False
        self._process = _popen(
            [sys.executable, __file__, dataset_reader],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, question: Any) -> int:
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self.closed = True
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class ForkedReader:
    """What `dataset_rows` uses of a `subprocess.Popen`."""

    def __init__(self, server: Server, command: list[str], **options: Any) -> None:
        self._server, self._code = server, None
        # The interpreter, its option and the program come first.
        with tempfile.TemporaryDirectory() as folder:
            pipe = Path(folder) / "pipe"
            os.mkfifo(pipe)
            self._number = server.ask([command[3:], str(pipe)])
            self.stdout = pipe.open("rb")

    def kill(self) -> None:
        """Let what it still writes fail, so that it ends."""
        self.stdout.close()

    def wait(self) -> int:
        if self._server.closed:
            return 0  # of an import that a test's own end has left in the middle
        if self._code is None:
            self._code = self._server.ask(self._number)
        return self._code


def _serve(dataset_reader: str) -> None:
    import pyarrow.parquet  # noqa: F401

    spec = importlib.util.spec_from_file_location("dataset_reader", dataset_reader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for line in sys.stdin:
        question = json.loads(line)
        if isinstance(question, int):
            answer = os.waitstatus_to_exitcode(os.waitpid(question, 0)[1])
        elif (answer := os.fork()) == 0:
            _become(module.main, *question)
        print(answer, flush=True)


def _become(main: Any, arguments: list[str], pipe: str) -> None:
    code = 1
    try:
        os.dup2(os.open(pipe, os.O_WRONLY), 1)
        code = main(*arguments)
        sys.stdout.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
