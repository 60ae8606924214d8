"""The import rules of DESIGN.md, read from the source of every module."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "diffatlas"

#: What reads files that may hold anything.
READING = {"files", "described", "stored_version"}
BASE = {"errors", "guidance", "inputs", "request", "params", "events", "run", "showing", "stopping"}
#: room -> the rooms of ours that it may import, besides itself.
ALLOWED = {
    "errors": set(),
    "showing": set(),
    "stopping": set(),
    "importing": set(),
    "waiting_threads": set(),
    "space": set(),
    "files": {"errors"},
    "address": {"errors"},
    "hints": set(),
    "described": set(),
    "stored_version": {"errors", "__init__"},
    "schema_words": set(),
    "guidance": {"errors"},
    "inputs": {"errors"},
    "request": {"errors"},
    "params": {"errors", "guidance", "inputs", "request"},
    "events": {"errors", "params"},
    "run": {"errors", "params", "events", "showing"},
    "moved": set(),
    "spelled": set(),
    "names": {"guidance", "params", "request", "spelled"},
    "look": set(),
    "geometry": {"errors", "look"},
    "attention": {"errors", "geometry"},
    "glossary": set(),
    "measured": {"errors", "events", "glossary", "geometry", "params", "run"},
    "settings": {"errors"},
    "registry": {"errors", "hints", "request", "settings", "files"},
    "capture": BASE | {"attention", "geometry", "files", "__init__"},
    "shapes": BASE | {"geometry"},
    "lab2d": {"errors", *READING},
    "library": BASE | {"attention", "geometry", "settings", *READING},
    "steering": BASE | {"geometry", "capture", "importing"},
    "backends": BASE
    | {
        "address",
        "importing",
        "geometry",
        "settings",
        "registry",
        "capture",
        "steering",
        *READING,
        "__init__",
    },
    "operations": BASE
    | {
        "attention",
        "files",
        "geometry",
        "importing",
        "settings",
        "registry",
        "capture",
        "backends",
        "library",
        "shapes",
    },
}
ALLOWED["studies"] = ALLOWED["operations"] | {"measured", "operations"}
_BELOW = {*ALLOWED, "__init__"}
ALLOWED |= {
    "bench": _BELOW,
    "figures": (_BELOW - {"backends", "capture", "operations", "settings", "steering"}) | {"bench"},
    "formats": (_BELOW - {"backends", "operations"}) | {"bench", "figures"},
    "serving": ALLOWED["operations"] | {"operations", "__init__"},
    "ui": _BELOW | {"bench", "formats", "figures", "serving"},
    "cli": _BELOW | {"bench", "formats", "serving", "ui"},
    "__main__": {"cli"},
    # Lazily, for the public names.
    "__init__": {
        "errors",
        "inputs",
        "params",
        "run",
        "capture",
        "backends",
        "library",
        "moved",
        "operations",
        "formats",
        "figures",
        "ui",
    },
}
#: What names a room above its own: a method of the public class `Library`, imported where it is called.
DOORS = {
    ("diffatlas/library/store.py", "bench"),
    ("diffatlas/library/store.py", "formats"),
    ("diffatlas/library/trash.py", "bench"),
}
#: third-party module -> where it may be imported.
ONLY_IN = {
    "gradio": ("diffatlas/ui/",),
    "spaces": ("app.py",),
    "modal": ("modal_deploy.py", "diffatlas/backends/modal.py"),
    "ray": ("diffatlas/backends/ray",),
    "plotly": ("diffatlas/figures/",),
    "uvicorn": ("diffatlas/serving/",),
    "starlette": ("diffatlas/serving/", "diffatlas/ui/"),
}
#: Slow to import: only inside functions, or under TYPE_CHECKING.
LAZY = {"torch", "diffusers", "transformers", "umap", "sklearn", "datasets", "av", "reportlab", "pyarrow"}
#: Rooms of a training script or a page, which nothing else imports at its top.
LAZY_EXEMPT = ("diffatlas/shapes/", "diffatlas/ui/")

FILES = sorted(
    [*PACKAGE.rglob("*.py"), *(p for p in (ROOT / "app.py", ROOT / "modal_deploy.py") if p.exists())]
)


def imports(tree: ast.AST, top_only: bool = False):
    """Yield (module, line); with ``top_only``, only those that run when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                yield (f"{node.module}.{alias.name}", node.lineno)
        elif top_only and not runs_on_import(node):
            continue
        else:
            yield from imports(node, top_only)


def runs_on_import(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" not in ast.unparse(node.test)
    return not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def room_named(module: str) -> str:
    parts = module.split(".")
    name = parts[1] if len(parts) > 1 else "__init__"
    return name if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file() else "__init__"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    where = path.relative_to(ROOT).as_posix()
    wrong = []
    for module, line in imports(tree):
        package = module.split(".")[0]
        if package in ONLY_IN and not where.startswith(ONLY_IN[package]):
            wrong.append(f"{where}:{line} imports {package}")
        if package == "diffatlas" and path.is_relative_to(PACKAGE):
            room, other = room_of(path), room_named(module)
            assert room in ALLOWED, f"say in ALLOWED what {room} may import"
            if other != room and other not in ALLOWED[room] and (where, other) not in DOORS:
                wrong.append(f"{where}:{line} imports {other}")
    if path.is_relative_to(PACKAGE) and not where.startswith(LAZY_EXEMPT):
        for module, line in imports(tree, top_only=True):
            if module.split(".")[0] in LAZY:
                wrong.append(f"{where}:{line} imports {module} at its top")
    assert not wrong


def test_the_rules_bite():
    """A tree that breaks a rule is seen to break it."""
    tree = ast.parse("import gradio\ndef f():\n    import torch\nif TYPE_CHECKING:\n    import diffusers\n")
    assert [m for m, _ in imports(tree)] == ["gradio", "torch", "diffusers"]
    assert [m for m, _ in imports(tree, top_only=True)] == ["gradio"]
    assert room_named("diffatlas.backends.local.LocalBackend") == "backends"
    assert room_named("diffatlas.Capture") == "__init__"
