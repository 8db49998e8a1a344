"""Average the results of several runs, such as the ten splits of iLIDS-VID or several seeds."""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger(__name__)

EPILOG = """\
example:
  python -m tools.average_results logs/ilidsvid/*/results/results.json --output results/ilidsvid_mean.json

All files must have rows for the same methods, directions and protocols. The table is in percent and shows the sample
standard deviation over the files in brackets; the output file has fractions of 1.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Average the files, log a table, and write a file if one is named."""
    parser = argparse.ArgumentParser(
        description="Average the results of several runs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", nargs="+", type=Path, help="results.json of every run")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)
    # Imported here, so that --help answers at once: torch takes seconds.
    from processor.report.averages import average, format_means, warn_of_other_settings
    from utils.files import write_text

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        means = average(args.results)
        warn_of_other_settings(args.results)
        if args.output:
            write_text(json.dumps(means, indent=2) + "\n", args.output)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    logger.info("%d runs\n%s", len(args.results), format_means(means))


if __name__ == "__main__":
    main()
