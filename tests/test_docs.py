"""README, docs, the heads of the configs and the commands' own help: every command parses, and every path, link,
anchor, option and config key that they name exists.

Each checker returns a list of problems, empty where there are none. A last group of tests shows that each can fail.
"""

import argparse
import contextlib
import functools
import io
import itertools
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest
from yacs.config import CfgNode

from configs import get_cfg

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.yml"))
ENTRY_POINTS = ("train_main.py", "eval_main.py")
MODULES = [
    f"{folder}.{path.stem}"
    for folder in ("tools", "benchmarks", "demo")
    for path in sorted((ROOT / folder).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]
# The published commands (DESIGN, 'Names others rely on'); people have them in their scripts.
PUBLISHED_COMMANDS = (
    'python train_main.py --output_dir "logs/all"',
    'python eval_main.py --custom_output_dir "results/case1_aerial_to_ground" --output_dir "logs/all"',
)
# Top-level folders that are in the repository; inline code that starts with one of them is a path.
PACKAGES = "benchmarks configs datasets demo docs loss model processor search solver tests tools utils"
FOLDERS = (".ci", ".github", *PACKAGES.split())
SETUP_COMMANDS = (
    "python -m venv .venv",
    "source .venv/bin/activate",
    "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu",
)

# A command may have been imported before it is run for its parser.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_INLINE_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_PATH = re.compile(rf"(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*")
_COMMAND = re.compile(r"(?:python|make|pip) ")


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    """Commands are typed in the root of the repository."""
    monkeypatch.chdir(ROOT)


# ---- what a document holds


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def shell_blocks(text: str) -> Iterator[str]:
    """Contents of the fenced blocks of shell commands."""
    yield from (body for language, body in _FENCE.findall(text) if language in ("bash", "sh", "shell"))


def prose(text: str) -> str:
    """A document without its fenced blocks and comments."""
    return _COMMENT.sub("", _FENCE.sub("", text))


def inline_code(text: str) -> list[str]:
    """The spans of inline code, each on one line."""
    return [" ".join(span.split()) for span in _INLINE_CODE.findall(prose(text))]


def shell_commands(block: str) -> Iterator[list[str]]:
    """Words of each command of a shell block; a loop's variable takes the loop's first value."""
    variables = {}
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        words = words[: words.index(">")] if ">" in words else words
        if words and words[0] == "for":  # for NAME in VALUE ...; do
            variables[f"${words[1]}"] = words[3]
        elif words and words[0] != "done":
            for name, value in variables.items():
                words = [word.replace(name, value) for word in words]
            yield words


def without_remarks(lines: Sequence[str]) -> str:
    """Commands of which each may be followed by a wide gap and what it does."""
    return "\n".join(re.split(r" {3,}", line.strip())[0] for line in lines)


def config_head(text: str) -> str:
    """The commands in the comment at the head of a YAML file: its indented lines."""
    head = re.match(r"(?:#.*\n)*", text)[0]
    return without_remarks([line[1:] for line in head.splitlines() if re.match(r"#  +", line)])


def help_commands(parser: argparse.ArgumentParser) -> str:
    """The examples in a command's help."""
    text = f"{parser.description or ''}\n{parser.epilog or ''}"
    return without_remarks([line for line in text.splitlines() if re.match(r" +python ", line)])


def anchors_of(text: str) -> set[str]:
    """Anchors of a document's headings, as GitHub forms them where no two are alike."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- the commands' own parsers


class _ParserReachedError(BaseException):
    """Carries a command's parser out of the command; no handler of an entry point catches it."""

    def __init__(self, parser: argparse.ArgumentParser):
        super().__init__()
        self.parser = parser


@functools.cache
def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of ``script.py`` or of a module, taken by running it until it would parse its command line."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _ParserReachedError(parser)

    stops = mock.patch.multiple(argparse.ArgumentParser, parse_args=stop, parse_intermixed_args=stop)
    with stops, mock.patch.object(sys, "argv", [command]):
        try:
            if command.endswith(".py"):
                runpy.run_path(str(ROOT / command), run_name="__main__")
            else:
                runpy.run_module(command, run_name="__main__")
        except _ParserReachedError as reached:
            return reached.parser
    raise AssertionError(f"{command} does not parse its command line")


@functools.cache
def all_options() -> set[str]:
    """Options of all commands."""
    return {option for command in (*ENTRY_POINTS, *MODULES) for option in options_of(parser_of(command))}


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Options of a parser and of its subcommands."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    subparsers = [subparser for group in groups for subparser in group.choices.values()]
    return set(parser._option_string_actions).union(*map(options_of, subparsers))


def test_git_ignores_what_the_documents_commands_write():
    text = "\n".join(map(read, DOCUMENTS))
    option = r"--(?:output|output_dir|custom_output_dir|into|json) +|\S > "
    written = sorted({path.strip("\"'") for path in re.findall(rf"(?:{option})(?!/)([\w.\"'][^\s`|]*)", text)})
    assert {"logs/all", "found", "people.npz", "check.json"} <= set(written)
    command = ["git", "check-ignore", "--stdin"]  # a file, or one in a folder
    done = subprocess.run(
        command, input="\n".join(f"{path}\n{path}/x" for path in written), capture_output=True, text=True, check=False
    )
    if done.returncode == 128:
        pytest.skip("not a clone")
    ignored = {line.removesuffix("/x") for line in done.stdout.splitlines()}
    assert [path for path in written if path not in ignored] == []


# ---- checkers


def check_python(command: str, argv: Sequence[str]) -> list[str]:
    """Parse a command line with the command's own parser, and its overrides with ``get_cfg``."""
    if command not in (*ENTRY_POINTS, *MODULES):
        return [f"no such command: {command}"]
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            parser = parser_of(command)
            intermixed = any(action.dest == "list" for action in parser._actions)  # tools.ablate
            args = (parser.parse_intermixed_args if intermixed else parser.parse_args)(list(argv))
    except SystemExit:
        return [f"{command}: {stderr.getvalue().splitlines()[-1]}"]
    if not hasattr(args, "opts"):
        return []
    return check_overrides(args.opts, getattr(args, "config_file", None))


def check_make(argv: Sequence[str]) -> list[str]:
    """Targets and variables of a ``make`` command stand in the Makefile."""
    names = set(re.findall(r"^([\w-]+)(?::| *[?:]?=)", read(ROOT / "Makefile"), re.MULTILINE))
    return [f"the Makefile has no {name}" for name, _, _ in (word.partition("=") for word in argv) if name not in names]


def check_command(words: Sequence[str]) -> list[str]:
    """Check one command; a command of a kind that nothing here can check is a problem too."""
    if " ".join(words) in SETUP_COMMANDS:
        return []
    match list(words):
        case ["make", *argv]:
            return check_make(argv)
        case ["python" | ".venv/bin/python", "-m", module, *argv]:
            return check_python(module, argv)
        case ["python" | ".venv/bin/python", script, *argv]:
            return check_python(script, argv)
        case ["torchrun", *argv]:
            return check_command(["python", *itertools.dropwhile(lambda word: word.startswith("--"), argv)])
        case ["pip", "install", "-r" | "--requirement", path]:
            return [] if (ROOT / path).is_file() else [f"no such file: {path}"]
        case [assignment, *rest] if re.fullmatch(r"[A-Z_]+=\S*", assignment):
            return check_command(rest)
    return [f"no checker for: {' '.join(words)}"]


def check_block(block: str) -> list[str]:
    """Check all commands of a shell block."""
    return [problem for words in shell_commands(block) for problem in check_command(words)]


def check_path(path: str) -> list[str]:
    """A path, or a pattern with ``*``, leads to something in the repository."""
    found = any(ROOT.glob(path.rstrip("/"))) if "*" in path else (ROOT / path).exists()
    return [] if found else [f"no such path: {path}"]


def is_key(word: str) -> bool:
    """Whether a word is written as a config key: a section of the defaults and a dot."""
    section, dot, _ = word.partition(".")
    return bool(dot) and isinstance(get_cfg().get(section), CfgNode)


def check_key(key: str) -> list[str]:
    """A key, or a section written as ``SECTION.*``, is in the defaults."""
    node = get_cfg()
    for name in key.removesuffix(".*").split("."):
        if name not in node:
            return [f"no such config key: {key}"]
        node = node[name]
    return []


def check_overrides(words: Sequence[str], config_file: str | None = None) -> list[str]:
    """``KEY VALUE`` pairs are accepted by ``get_cfg``."""
    try:
        get_cfg(config_file, list(words))
    except (OSError, TypeError, ValueError) as error:
        return [str(error)]
    return []


def check_option(option: str) -> list[str]:
    """Some command has the option."""
    return [] if option in all_options() else [f"no command has the option {option}"]


def check_span(span: str) -> list[str]:
    """Check a span of inline code by what it looks like; other code is not checked."""
    if _PATH.fullmatch(span):
        return check_path(span)
    if _COMMAND.match(span):
        return check_command(shlex.split(span))
    words = span.split(" ")
    if words[0].startswith("--"):
        return check_option(words[0])
    if is_key(words[0]):
        return check_key(span) if len(words) == 1 else check_overrides(shlex.split(span))
    return []


def check_reference(source: str) -> list[str]:
    """Headings that code and messages name, such as "docs/training.md, 'CLIP weights'", exist word for word."""
    references = re.findall(r"((?:docs/)?\w+\.md), '([^']+)'", source)
    return [
        f"no such heading: {document}, '{heading}'"
        for document, heading in references
        if not (ROOT / document).is_file() or heading not in _HEADING.findall(_FENCE.sub("", read(ROOT / document)))
    ]


def check_link(target: str, document: Path = DOCUMENTS[0]) -> list[str]:
    """A relative link leads to a file of the repository, its fragment to a heading there."""
    if re.match(r"[a-z]+:", target):
        return [] if target.startswith("https://") else [f"not an https link: {target}"]
    path, _, anchor = target.partition("#")
    file = (document.parent / path).resolve() if path else document
    if not (file.exists() and file.is_relative_to(ROOT)):
        return [f"no such file: {target}"]
    if anchor and anchor not in anchors_of(read(file)):
        return [f"no such heading: {target}"]
    return []


# ---- the documents


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_commands_paths_keys_and_options_exist(document):
    text = read(document)
    problems = [problem for block in shell_blocks(text) for problem in check_block(block)]
    assert problems + [problem for span in inline_code(text) for problem in check_span(span)] == []


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_lead_somewhere(document):
    text = _INLINE_CODE.sub("", prose(read(document)))
    assert [problem for target in _LINK.findall(text) for problem in check_link(target, document)] == []


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_commands_at_the_head_of_a_config_parse(path):
    block = config_head(read(path))
    assert block
    assert check_block(block) == []


@pytest.mark.parametrize("command", [*ENTRY_POINTS, *MODULES])
def test_commands_in_the_help_parse(command):
    assert check_block(help_commands(parser_of(command))) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_headings_that_the_code_refers_to_exist(folder):
    sources = [*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.yml")]
    texts = [read(path) for path in sources if path != Path(__file__)]
    assert [problem for text in texts for problem in check_reference(text)] == []


def test_the_readme_holds_the_published_commands_word_for_word():
    lines = [line for block in shell_blocks(read(ROOT / "README.md")) for line in block.splitlines()]
    assert set(PUBLISHED_COMMANDS) <= set(lines)


# ---- each checker can fail


@pytest.mark.parametrize(
    ("check", "text", "problem"),
    [
        (check_block, "make demo SEEED=1", "the Makefile has no SEEED"),
        (check_block, "python -m tools.nothing", "no such command: tools.nothing"),
        (check_block, "python eval_main.py --eval_case case9", "invalid choice: 'case9'"),
        (check_block, "torchrun --nproc_per_node=2 train_main.py SOLVER.SED 1", "Did you mean SOLVER.SEED"),
        (check_block, "rm -r data", "no checker for: rm -r data"),
        (check_span, "tools/*.rs", "no such path"),
        (check_span, "SOLVER.SED", "no such config key"),
        (check_span, "SOLVER.SEED one", "SOLVER.SEED"),
        (check_span, "--sampel 4", "no command has the option --sampel"),
        (check_link, "docs/nowhere.md", "no such file"),
        (check_link, "#no-such-heading", "no such heading"),
        (check_link, "http://example.org", "not an https link"),
        (check_reference, "# download it (see README.md, 'Get CLIP')", "no such heading: README.md, 'Get CLIP'"),
    ],
)
def test_each_checker_can_fail(check, text, problem):
    (found,) = check(text)
    assert problem in found


def test_documents_are_taken_apart_as_a_reader_would():
    text = (
        "# One `two`: three\n\n# Four\n\nSee `a\nb` <!-- `hidden` -->\n\n"
        "1. A step\n\n   ```bash\n   make demo  # twice\n   for split in 3 4; do\n"
        "     python x.py \\\n       SPLIT $split\n   done\n   ```\n"
    )
    assert anchors_of(text) == {"one-two-three", "four"}
    assert inline_code(text) == ["two", "a b"]
    (block,) = shell_blocks(text)
    assert list(shell_commands(block)) == [["make", "demo"], ["python", "x.py", "SPLIT", "3"]]
    assert config_head("# Head.\n#\n#   make demo      (in minutes)\nA: 1\n#   make test\n") == "make demo"
