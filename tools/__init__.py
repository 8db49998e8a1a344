"""Commands beside training and evaluation: ``python -m tools.NAME``."""

import sys

if sys.argv[:1] == ["-m"]:  # Python is about to import a command, which takes its time, and Ctrl-C may come
    import signal

    from utils.stopping import end_at_once

    signal.signal(signal.SIGINT, end_at_once)
