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


def home_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level names that a module imports, wherever the statement stands; relative imports stay at home."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def forbidden_edges(home: str, source: str) -> set[str]:
    names = set(imported(ast.parse(source)))
    forbidden = (names & PROJECT) - ALLOWED[home] - {home}
    if home == "configs":
        forbidden |= names - set(sys.stdlib_module_names) - CONFIGS_THIRD_PARTY - {"configs", "utils"}
    return forbidden


def wing_of(path: Path) -> str:
    """Wing of datasets/ that a file belongs to, or its own name when it lies beside the wings."""
    return path.relative_to(ROOT / "datasets").parts[0].removesuffix(".py")


def imported_wings(path: Path, source: str) -> Iterator[str]:
    """Wings and files of datasets/ that a module of datasets/ imports by relative statements."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [(*base, *node.module.split("."))] if node.module else [(*base, alias.name) for alias in node.names]
            yield from (parts[1] for parts in names)


def is_absolute_at_home(home: str, source: str) -> bool:
    """Whether a library module imports its own top-level folder by its absolute name."""
    return home in LIBRARY and home in set(imported(ast.parse(source)))


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Dotted name of every call, and the call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def loads_unsafely(source: str) -> bool:
    for name, call in calls(source):
        if name == "torch.load":
            safe = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}.get("weights_only")
            if safe != "True":
                return True
        if name in ("pickle.load", "pickle.loads", "Unpickler", "pickle.Unpickler", "eval", "exec"):
            return True
    return False


def test_every_folder_is_found():
    assert {home_of(path) for path in project_files()} >= {*LIBRARY, *ENTRY_POINTS}


@pytest.mark.parametrize("path", project_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_floor_allows(path):
    assert not forbidden_edges(home_of(path), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", project_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_relative_inside_a_folder(path):
    assert not is_absolute_at_home(home_of(path), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "datasets").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT / "datasets"))
)
def test_a_wing_imports_only_what_it_may_know(path):
    wing = wing_of(path)
    assert set(imported_wings(path, path.read_text(encoding="utf-8"))) <= {wing, *ALLOWED_IN_DATASETS[wing]}


@pytest.mark.parametrize("path", project_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_changes_the_import_path_or_needs_the_locks_of_unix(path):
    source = path.read_text(encoding="utf-8")
    assert "sys.path" not in source
    assert "fcntl" not in set(imported(ast.parse(source)))


@pytest.mark.parametrize("path", [path for path in project_files() if path.name == "__init__.py"], ids=str)
def test_init_files_hold_no_code(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_export = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        assert is_docstring or is_export or isinstance(node, ast.ImportFrom), ast.unparse(node)


@pytest.mark.parametrize("path", project_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_load_never_runs_a_pickle(path):
    assert not loads_unsafely(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path", [path for path in project_files() if home_of(path) in LIBRARY], ids=lambda path: str(path.relative_to(ROOT))
)
def test_libraries_do_not_print(path):
    assert "print" not in {name for name, _ in calls(path.read_text(encoding="utf-8"))}


@pytest.mark.parametrize(
    ("home", "source", "edges"),
    [
        ("loss", "import model.encoder", {"model"}),
        ("model", "from datasets import Tracklet", {"datasets"}),
        ("utils", "def late():\n    from configs import get_cfg", {"configs"}),
        ("loss", "from search.find import x", {"search"}),
        ("configs", "import torch, yaml, ast", {"torch"}),
        ("processor", "from train_main import parse_args\nfrom tools import plan", {"train_main", "tools"}),
        ("benchmarks", "import eval_main", {"eval_main"}),
        ("datasets", "from processor.evaluation.features import evaluating", {"processor"}),
        ("model", "from .encoder import build_vit\nimport utils.checkpoint\nimport torch", set()),
    ],
)
def test_the_import_check_sees_forbidden_edges(home, source, edges):
    assert forbidden_edges(home, source) == edges


def test_the_wing_check_sees_where_relative_imports_lead():
    path = ROOT / "datasets/readers/listing.py"
    source = "from ..clips.decoding import x\nfrom .manifest import y\nfrom .. import build\nimport numpy"
    assert set(imported_wings(path, source)) == {"clips", "readers", "build"}
    assert wing_of(path) == "readers"
    assert wing_of(ROOT / "datasets/build.py") == "build"


def test_the_relative_check_sees_absolute_imports_at_home():
    assert is_absolute_at_home("model", "from model.encoder import build_vit")
    assert not is_absolute_at_home("model", "from utils.metrics import UNKNOWN\nfrom .encoder import build_vit")
    assert not is_absolute_at_home("tools", "from tools.x import y")


def test_the_load_check_sees_unsafe_loads():
    assert loads_unsafely("torch.load(path)")
    assert loads_unsafely("torch.load(path, weights_only=False)")
    assert not loads_unsafely("torch.load(path, weights_only=True)")
