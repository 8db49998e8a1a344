"""Compare two evaluations of the same queries: is one better, or is the difference chance?"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

EPILOG = """\
example:
  python -m tools.compare_results results/baseline results/winner

Both must hold results.json and queries.csv of eval_main.py, over the same queries. Differences are second minus first,
in percent. p is the probability of a difference at least as large if it were chance which of the two ranks a person's
queries better (sign-flip test over people). The lists are those of the method in the first row.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the two, and log the tables."""
    parser = argparse.ArgumentParser(
        description="Compare two evaluations of the same queries.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("first", type=Path, help="results folder of eval_main.py, or a file in it")
    parser.add_argument("second", type=Path, help="the one that is hoped to be better")
    args = parser.parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from processor.report.comparison import format_changes, format_differences, read_pairs

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        pairs = read_pairs(args.first, args.second)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    tables = (format_differences(pairs), format_changes(pairs, better=True), format_changes(pairs, better=False))
    logger.info("%s", "\n\n".join(tables))


if __name__ == "__main__":
    main()
