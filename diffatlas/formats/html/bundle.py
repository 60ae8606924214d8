"""ES modules in one file: each a ``data:`` address in an import map, so that nothing is fetched."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

VIEWER = Path(__file__).parent / "viewer"
#: The app's own modules and style sheets, as data: what draws there draws here.
STATIC = Path(__file__).parents[2] / "ui" / "static"

_IMPORT = re.compile(r'(?<=["\'])\.\.?/[\w./-]+\.js(?=["\'])')
#: How the names of the viewer's own files begin; those of the app are below `STATIC`.
_VIEWER = "viewer/"


def modules(entry: str) -> dict[str, str]:
    """Return the source of a module and of all that it imports, by name: ``viewer/x.js``, or below `STATIC`."""
    found: dict[str, str] = {}
    wanted = [entry]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found[name] = _read(name)
        wanted += _imports(name, found[name])
    return dict(sorted(found.items()))


def import_map(sources: dict[str, str]) -> str:
    """Return the JSON of an import map: a module is imported as ``da/`` and its name, a ``data:`` address."""
    addresses = {}
    for name, source in sources.items():

        def bare(found: re.Match[str], importing: str = name) -> str:
            return f"da/{_named(importing, found[0])}"

        text = "\n".join(
            _IMPORT.sub(bare, line) if _is_import(line) else line for line in source.splitlines()
        )
        encoded = base64.b64encode(text.encode()).decode()
        addresses[f"da/{name}"] = f"data:text/javascript;base64,{encoded}"
    return json.dumps({"imports": addresses})


def sheets(*names: str) -> str:
    """Return style sheets, one after the other, by their names as those of modules."""
    return "\n".join(_read(name) for name in names)


def serif() -> str:
    """Return the serif of the headings as ``@font-face`` rules that hold the font."""
    rules = []
    for weight in (400, 600):
        font = (STATIC / f"vendor/lora/lora-latin-{weight}-normal.woff2").read_bytes()
        source = f"data:font/woff2;base64,{base64.b64encode(font).decode()}"
        rules.append(
            f'@font-face {{ font-family: "Lora"; font-weight: {weight}; src: url("{source}") format("woff2"); }}'
        )
    return "\n".join(rules)


def _path(name: str) -> Path:
    return VIEWER / name.removeprefix(_VIEWER) if name.startswith(_VIEWER) else STATIC / name


def _read(name: str) -> str:
    return _path(name).read_text(encoding="utf-8")


def _named(importing: str, asked: str) -> str:
    """Return the name of what a module imports by a path relative to its file."""
    path = Path(os.path.normpath(_path(importing).parent / asked))
    if path.is_relative_to(VIEWER):
        return _VIEWER + path.relative_to(VIEWER).as_posix()
    return path.relative_to(STATIC).as_posix()


def _imports(name: str, source: str) -> list[str]:
    lines = (line for line in source.splitlines() if _is_import(line))
    return [_named(name, asked) for line in lines for asked in _IMPORT.findall(line)]


def _is_import(line: str) -> bool:
    return line.startswith(("import ", "export {", "} from "))
