"""Types of command-line options, and what becomes of their values."""

import argparse
import codecs
import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)
MAX_WORKERS = 256  # processes that a command starts; a mistyped number could otherwise exhaust the machine's memory


def list_overrides(options: Mapping[str, str | None]) -> list[str]:
    """Return config keys and the values that options of the command line have for them; None leaves a key out."""
    return [word for key, value in options.items() if value is not None for word in (key, value)]


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --config_file and, after all options, the pairs KEY VALUE of a command that reads a configuration."""
    parser.add_argument("--config_file", help="YAML file, as for train_main.py; default: the winner's recipe")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")


def output_file(*suffixes: str, beginning: str = "") -> Callable[[str], Path]:
    """Return an argparse type for files to write: one that exists must be such a file, as it will be replaced.

    It is one if it has the suffix and, but for white space, the beginning, or is empty.
    """
    begins = "".join(beginning.split()).encode()

    def parse(text: str) -> Path:
        path = Path(text)
        is_other = path.exists() and path.suffix not in suffixes
        if begins and path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                start = b"".join(file.read(1000).removeprefix(codecs.BOM_UTF8).split())
            is_other |= not start.startswith(begins)
        if is_other:
            kinds = " or ".join(suffixes)
            raise argparse.ArgumentTypeError(f"{text} exists, and is no {kinds} file that could be replaced")
        return path

    return parse


def at_least(minimum: int, maximum: int = sys.maxsize) -> Callable[[str], int]:
    """Return an argparse type that accepts integers from ``minimum`` to ``maximum``; its error names the option."""
    end = "up" if maximum == sys.maxsize else f"to {maximum}"
    return _number_type(int, minimum, maximum, f"an integer from {minimum} {end}")


def real_number(minimum: float = -sys.float_info.max) -> Callable[[str], float]:
    """Return an argparse type that accepts finite numbers from ``minimum`` up."""
    return _number_type(float, minimum, sys.float_info.max, f"a finite number from {minimum:g} up")


def _number_type(
    kind: Callable[[str], Number], minimum: Number, maximum: Number, expected: str
) -> Callable[[str], Number]:
    def parse(text: str) -> Number:
        with contextlib.suppress(ValueError):
            if minimum <= (value := kind(text)) <= maximum:
                return value
        raise argparse.ArgumentTypeError(f"must be {expected}, got {text!r}")

    return parse
