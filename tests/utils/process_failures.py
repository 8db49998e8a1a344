"""What two processes of tests/utils/test_processes.py do, one of which fails: ``process_failures.py HOW``."""

import os
import signal
import sys
import time
from datetime import timedelta

import torch

from utils import processes
from utils.commands import run_command
from utils.mistake import Mistake

processes.BEAT_SECONDS, processes.NAMED_AFTER, processes.ENDED_AFTER = 0.1, 0.5, 1.5
processes.TIMEOUT = timedelta(seconds=3)


def main():
    how, own = sys.argv[1], processes.start_processes(torch.device("cpu"))
    own.gather_values(0)
    if how == "slow":  # longer than the timeout
        assert own.run_on_main(lambda: time.sleep(4) or "done") == "done"
        return
    if how == "mistake" and own.is_main:
        raise Mistake("a frame is gone")
    if how == "stop" and not own.is_main:
        os.kill(os.getpid(), signal.SIGSTOP)
    if how == "stall" and not own.is_main:
        time.sleep(60)  # alive, but never there
    own.sum_over(torch.zeros(1))


if __name__ == "__main__":
    sys.exit(run_command(main))
