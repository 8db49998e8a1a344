"""Which process this is, and what it takes part in; ``tests/processor/test_processes.py`` runs several."""

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed import TCPStore

from utils.processes import ALONE, Processes, may_be_restarted, open_store, read_launch, was_restarted


@pytest.fixture
def launch(monkeypatch):
    """``launch(RANK=1, ...)``: the environment that torchrun makes, with these variables only."""

    return lambda **variables: monkeypatch.setattr("os.environ", {name: str(variables[name]) for name in variables})


@pytest.mark.parametrize(
    ("variables", "expected", "restarted", "restartable"),
    [
        ({}, ALONE, False, False),
        ({"RANK": 5, "WORLD_SIZE": 8, "LOCAL_RANK": 1}, Processes(5, 8, 1), False, False),
        ({"TORCHELASTIC_RESTART_COUNT": 2, "TORCHELASTIC_MAX_RESTARTS": 3}, Processes(0, 1, 0), True, True),
    ],
)
def test_torchruns_environment_says_which_process_this_is(variables, expected, restarted, restartable, launch):
    launch(**variables)
    processes = read_launch()
    assert processes == expected
    assert processes.is_main == processes.is_alone == (variables.get("RANK") != 5)
    assert (was_restarted(), may_be_restarted()) == (restarted, restartable)


@pytest.mark.parametrize("num_items", [0, 1, 7, 12])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_shares_cover_all_items_once_and_are_of_almost_one_size(num_items, world_size):
    items = list(range(num_items))
    shares = [items[Processes(rank, world_size).share(num_items)] for rank in range(world_size)]
    assert sum(shares, []) == items
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert [items[Processes(0, world_size).share(num_items, rank)] for rank in range(world_size)] == shares


def test_alone_every_exchange_returns_what_it_was_given():
    tensors, model = (torch.rand(2, 3), torch.rand(2)), nn.Linear(2, 2)
    assert ALONE.gather_batch(*tensors) == tensors
    assert ALONE.sum_over(tensors[0]) is tensors[0]
    assert ALONE.gather_values("a") == ["a"]
    assert ALONE.run_on_main(lambda: "b") == "b"
    assert ALONE.parallelize(model) is model
    with ALONE.first_on_machine():
        pass


def test_a_restart_does_not_read_what_the_processes_before_it_wrote(launch):
    """Threads stand for the processes. torchrun's store outlives them, and the last ones died at different points."""
    server = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    launch(RANK=0, WORLD_SIZE=3, MASTER_ADDR="localhost", MASTER_PORT=server.port, TORCHELASTIC_USE_AGENT_STORE=True)
    processes = [Processes(rank, 3, rank) for rank in range(3)]
    server.set("name/2", "of a process that died before it got an answer")
    with ThreadPoolExecutor(3) as pool:
        before = list(pool.map(open_store, processes))
        before[1].set("address", "old")
        assert [store.get("address") for store in before] == [b"old"] * 3
        after = list(pool.map(open_store, reversed(processes)))
        assert not any(store.check(["address"]) for store in after)
        after[2].set("address", "new")
        assert [store.get("address") for store in after] == [b"new"] * 3


@pytest.mark.parametrize(
    ("how", "of_first", "of_second"),
    [
        pytest.param("slow", [], [], marks=pytest.mark.slow),  # nobody is hurried while process 0 works
        ("mistake", ["a frame is gone"], ["Process 0 failed: a frame is gone"]),
        (
            "stop",
            ["Process 1 has shown no life for 0 minutes: it is stopped, or its machine is away.\n", "The run ends."],
            None,
        ),
        pytest.param(
            *("stall", ["RuntimeError: ", "Timed out"], ["Process 0 failed: RuntimeError: "]), marks=pytest.mark.slow
        ),
    ],
)
def test_a_process_that_fails_or_stops_ends_the_others_with_its_name(how, of_first, of_second):
    with socket.create_server(("localhost", 0)) as server:
        launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(server.getsockname()[1])}
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, **launch, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("process_failures.py")), how]
    both = [
        subprocess.Popen(
            command, env={**environment, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    try:
        for process, lines in zip(both, (of_first, of_second), strict=True):
            if lines is None:
                continue
            text = process.communicate(timeout=60)[1]
            assert process.returncode == bool(lines), text
            for line in lines:
                assert line in text
            assert ("Traceback" in text) == (how == "stall" and process is both[0]), text
    finally:
        for process in both:
            process.kill()
            process.communicate()
