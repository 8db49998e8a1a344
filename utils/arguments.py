"""Types of command-line options, and what becomes of their values."""

import argparse
import math
from collections.abc import Callable, Mapping

MAX_WORKERS = 256  # processes that a command starts; a mistyped number could otherwise exhaust the machine's memory


def list_overrides(options: Mapping[str, str | None]) -> list[str]:
    """Return config keys and the values that options of the command line have for them; None leaves a key out."""
    return [word for key, value in options.items() if value is not None for word in (key, value)]


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --config_file and, after all options, the pairs KEY VALUE of a command that reads a configuration."""
    parser.add_argument("--config_file", help="YAML file, as for train_main.py; default: the winner's recipe")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="any config key and its value")


def at_least(minimum: int, maximum: float = math.inf) -> Callable[[str], int]:
    """Return an argparse type that accepts integers from ``minimum`` to ``maximum``; its error names the option."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be an integer, got {text!r}") from None
        if not minimum <= value <= maximum:
            limit = f"least {minimum}" if value < minimum else f"most {maximum}"
            raise argparse.ArgumentTypeError(f"must be at {limit}, got {value}")
        return value

    return parse


def real_number(minimum: float = -math.inf) -> Callable[[str], float]:
    """Return an argparse type that accepts finite numbers from ``minimum`` up; argparse's error names the option."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None
        if not math.isfinite(value) or value < minimum:
            raise argparse.ArgumentTypeError(f"must be a finite number from {minimum:g} up, got {text}")
        return value

    return parse
