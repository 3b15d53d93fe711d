"""Rows of a batch side by side on the cores of a CPU.

Threads that share each operation of a network wait for each other at its end, hundreds of times a call, and all of them
wait whenever another program has the core of one. Threads that have a row each meet once.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

Rows = Callable[..., Tensor]
"""Tensors whose first dimension is the batch, also in dicts, and anything else -> (b, ...)."""


def side_by_side(network: Rows) -> Rows:
    """`network`, each row of whose batch on a CPU is a call of its own; as many at once as torch may use threads, which
    they share. A single row, or a batch elsewhere than on a CPU, is passed on as it is.
    """

    def predict(sample: Tensor, *others: Any, **named: Any) -> Tensor:
        rows, threads = len(sample), torch.get_num_threads()
        if rows == 1 or sample.device.type != "cpu":
            return network(sample, *others, **named)
        calls = [(row((sample, *others), index), row(named, index)) for index in range(rows)]
        at_once = min(rows, threads)
        grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def call(of_row: tuple[tuple[Any, ...], dict[str, Any]]) -> Tensor:
            with torch.inference_mode(inference), torch.set_grad_enabled(grad):  # else they are those of a new thread
                return network(*of_row[0], **of_row[1])

        if at_once == 1:
            return torch.cat([call(each) for each in calls])
        try:
            with ThreadPoolExecutor(at_once, "row", torch.set_num_threads, (threads // at_once,)) as pool:
                return torch.cat(list(pool.map(call, calls)))
        finally:
            torch.set_num_threads(threads)  # torch takes the last that was said, in any thread, for threads to come

    return predict


def row(value: Any, index: int) -> Any:
    """One row of every tensor in `value`."""
    if isinstance(value, Tensor):
        return value[index : index + 1]
    if isinstance(value, dict):
        return {name: row(each, index) for name, each in value.items()}
    if isinstance(value, tuple):
        return tuple(row(each, index) for each in value)
    return value
