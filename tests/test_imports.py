"""The house rules of STYLE.md that a machine can check: who imports whom, no print, no unsafe loading."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENTRY_POINTS = ("train_main", "eval_main")
LIBRARY = ("configs", "datasets", "demo", "loss", "model", "processor", "search", "solver", "utils")
COMMANDS = ("tools", "benchmarks")
ALLOWED = {
    "utils": set(),
    "configs": {"utils"},
    "datasets": {"utils"},
    "model": {"utils"},
    "loss": {"utils"},
    "solver": {"utils"},
    "processor": {"configs", "utils", "datasets", "model", "loss", "solver"},
    "search": {"utils", "datasets", "model"},
    "demo": {"configs", "utils", "datasets", "model", "solver"},
    **dict.fromkeys(ENTRY_POINTS, {*LIBRARY}),
    **dict.fromkeys(COMMANDS, {*LIBRARY}),
}
PROJECT = {*ALLOWED, "tests"}
CONFIGS_THIRD_PARTY = {"yacs", "yaml"}
UNSAFE_CALLS = {"pickle.load", "pickle.loads", "Unpickler", "pickle.Unpickler", "eval", "exec"}
# The wings of datasets/, and the files beside them: what each may import from datasets/.
RECORDS = {"tracklet", "attributes", "problems"}
ALLOWED_IN_DATASETS = {
    "tracklet": {"attributes"},
    "attributes": {"problems"},
    "problems": set(),
    "split": RECORDS,
    "readers": {*RECORDS, "split"},
    "clips": {*RECORDS, "readers"},
    "resize": {*RECORDS, "readers", "clips"},
    "build": {*RECORDS, "split", "readers", "clips"},
    "__init__": {"build", "readers", *RECORDS},
    "check": {*RECORDS, "readers", "clips", "build"},
}


def project_files() -> list[Path]:
    folders = [path for name in (*LIBRARY, *COMMANDS) for path in (ROOT / name).rglob("*.py")]
    return sorted([*folders, *(ROOT / f"{name}.py" for name in ENTRY_POINTS)])


def imported_folders(tree: ast.AST) -> Iterator[str]:
    """Top-level names that a module imports, wherever the statement stands; relative imports stay at home."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def imported_wings(package: tuple[str, ...], tree: ast.AST) -> Iterator[str]:
    """Wings and files beside them that a module of a package imports by relative statements."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [(*base, *node.module.split("."))] if node.module else [(*base, alias.name) for alias in node.names]
            yield from (parts[1] for parts in names)


def find_problems(name: str, source: str) -> set[str]:
    """What a module, named by its path in the repository, may not import, call or hold."""
    tree, parts = ast.parse(source), Path(name).parts
    home = parts[0].removesuffix(".py")
    imported = set(imported_folders(tree))
    problems = (imported & PROJECT) - ALLOWED[home] - {home}
    if home == "configs":
        problems |= imported - set(sys.stdlib_module_names) - CONFIGS_THIRD_PARTY - {"configs", "utils"}
    if home in LIBRARY and home in imported:
        problems.add("an absolute import at home")
    if home == "datasets":
        wing = parts[1].removesuffix(".py")
        problems |= set(imported_wings(parts[:-1], tree)) - {wing, *ALLOWED_IN_DATASETS[wing]}
    problems |= imported & {"fcntl"}  # the locks of Unix
    if "sys.path" in source:
        problems.add("sys.path")
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    forbidden = UNSAFE_CALLS | ({"print"} if home in LIBRARY else set())
    problems |= {ast.unparse(call.func) for call in calls} & forbidden
    loads = [ast.unparse(call) for call in calls if ast.unparse(call.func) == "torch.load"]
    problems |= {load for load in loads if "weights_only=True" not in load}
    if parts[-1] == "__init__.py" and home != "tools":  # Python imports it first, where Ctrl-C must not surprise it
        problems |= {ast.unparse(node) for node in tree.body if not is_export(node)}
    return problems


def is_export(node: ast.stmt) -> bool:
    """Whether a statement is what an ``__init__.py`` may hold."""
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    return is_docstring or is_all or isinstance(node, ast.ImportFrom)


@pytest.mark.parametrize("name", [str(path.relative_to(ROOT)) for path in project_files()])
def test_a_module_keeps_the_rules_of_the_house(name):
    assert find_problems(name, (ROOT / name).read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("name", "source", "problems"),
    [
        ("loss/a.py", "import model.encoder", {"model"}),
        ("utils/a.py", "def late():\n    from configs import get_cfg", {"configs"}),
        ("configs/a.py", "import torch, yaml, ast", {"torch"}),
        ("benchmarks/a.py", "import eval_main", {"eval_main"}),
        ("model/a.py", "from .encoder import build_vit\nimport utils.checkpoint\nimport torch", set()),
        ("model/a.py", "from model.encoder import build_vit", {"an absolute import at home"}),
        ("tools/a.py", "from tools.x import y\nprint(y)", set()),
        ("datasets/readers/a.py", "from ..clips.decoding import x\nfrom .manifest import y", {"clips"}),
        ("datasets/__init__.py", "from .build import x\nx = 1", {"x = 1"}),
        ("utils/a.py", "import sys, fcntl\nsys.path.append('x')\nprint(sys)", {"fcntl", "sys.path", "print"}),
        ("utils/a.py", "torch.load(path)\npickle.load(file)", {"torch.load(path)", "pickle.load"}),
    ],
)
def test_the_check_sees_what_breaks_a_rule(name, source, problems):
    assert find_problems(name, source) == problems
