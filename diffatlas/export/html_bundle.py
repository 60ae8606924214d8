"""ES modules in one file: each a ``data:`` address in an import map, so that nothing is fetched."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

VIEWER = Path(__file__).parent / "viewer"
#: The app's own modules and style sheets, as data: what draws there draws here.
STATIC = Path(__file__).parents[1] / "ui" / "static"

_IMPORT = re.compile(r'(?<=["\'])\./([\w./-]+\.js)(?=["\'])')


def modules(entry: str) -> dict[str, str]:
    """Return the source of a module of `VIEWER` and of all that it imports, by file name.

    A module is looked for beside the viewer first, then among the app's.
    """
    found: dict[str, str] = {}
    wanted = [entry]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        path = next(folder / name for folder in (VIEWER, STATIC) if (folder / name).is_file())
        found[name] = path.read_text(encoding="utf-8")
        wanted += _imports(found[name])
    return dict(sorted(found.items()))


def import_map(sources: dict[str, str]) -> str:
    """Return the JSON of an import map: ``./name.js`` is imported as ``da/name.js``, a ``data:`` address."""
    addresses = {}
    for name, source in sources.items():
        bare = "\n".join(
            _IMPORT.sub(r"da/\1", line) if _is_import(line) else line for line in source.splitlines()
        )
        encoded = base64.b64encode(bare.encode()).decode()
        addresses[f"da/{name}"] = f"data:text/javascript;base64,{encoded}"
    return json.dumps({"imports": addresses})


def sheets(*names: str) -> str:
    """Return style sheets, one after the other: of the viewer, or of the app."""
    paths = [
        next(folder / name for folder in (VIEWER, STATIC) if (folder / name).is_file()) for name in names
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


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


def _imports(source: str) -> list[str]:
    return [name for line in source.splitlines() if _is_import(line) for name in _IMPORT.findall(line)]


def _is_import(line: str) -> bool:
    return line.startswith(("import ", "export {", "} from "))
