"""Rows of a batch, each in a call of its own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from model.side_by_side import side_by_side


class Network:
    """Notes how it is called; rows do not depend on one another."""

    def __init__(self):
        self.rows: list[int] = []
        self.threads: set[str] = set()
        self.may_use: set[int] = set()
        self.modes: set[tuple[bool, bool]] = set()

    def __call__(self, sample, timesteps, *, states, added, shared):
        self.rows.append(len(sample))
        self.threads.add(threading.current_thread().name)
        self.may_use.add(torch.get_num_threads())
        self.modes.add((torch.is_grad_enabled(), torch.is_inference_mode_enabled()))
        assert shared == "a word"
        assert len(sample) == len(timesteps) == len(states) == len(added["ids"])
        return sample * timesteps[:, None] + states.sum(1, keepdim=True) + added["ids"]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def batch(rows):
    return (torch.randn(rows, 5), torch.rand(rows)), {
        "states": torch.randn(rows, 3),
        "added": {"ids": torch.randn(rows, 1)},
        "shared": "a word",
    }


@pytest.mark.parametrize(("rows", "cores", "at_once"), [(2, 2, 2), (3, 2, 2), (2, 8, 2), (4, 3, 3), (3, 1, 1)])
def test_each_row_is_a_call_and_they_share_the_threads(rows, cores, at_once, threads):
    threads(cores)
    network = Network()
    positional, named = batch(rows)

    predicted = side_by_side(network)(*positional, **named)

    assert torch.equal(predicted, Network()(*positional, **named))
    assert network.rows == [1] * rows
    assert len(network.threads) <= at_once
    assert network.may_use == {cores // at_once}
    assert torch.get_num_threads() == cores
    with ThreadPoolExecutor(1) as other:
        assert other.submit(torch.get_num_threads).result() == cores


def test_rows_run_at_the_same_time(threads):
    threads(2)
    meeting = threading.Barrier(2, timeout=30)

    def network(sample):
        meeting.wait()
        return sample

    assert side_by_side(network)(torch.arange(2.0)).tolist() == [0, 1]


def test_one_row_has_all_threads(threads):
    threads(2)
    network = Network()
    positional, named = batch(1)

    side_by_side(network)(*positional, **named)

    assert network.threads == {threading.current_thread().name}
    assert network.may_use == {2}


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_gradients_are_kept_or_not_as_around_the_call(mode, threads):
    threads(2)
    network = Network()
    positional, named = batch(2)
    with mode():
        inside = (torch.is_grad_enabled(), torch.is_inference_mode_enabled())
        side_by_side(network)(*positional, **named)

    assert network.modes == {inside}


def test_what_a_call_raises_is_raised(threads):
    threads(2)

    def network(sample):
        raise ValueError(f"row {int(sample)}")

    with pytest.raises(ValueError, match="row 0"):
        side_by_side(network)(torch.arange(2.0))
    assert torch.get_num_threads() == 2
