"""Processes that train together, and the signals that ask them to stop.

Processes started by torchrun have a rank each; a process alone is a group of one. Gradients are
averaged here and not by torch's DistributedDataParallel: it regroups its buckets after the first
step of a call, so that from three processes on sums are rounded differently after a resume, and a
resumed run no longer gives the weights of an uninterrupted one, bit for bit.
"""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, nn

from deskull.errors import InputError

TIMEOUT = timedelta(hours=12)
"""Longest wait for another process: the first one may prepare many heads."""


@dataclass(frozen=True)
class Group:
    """One process among those that train together.

    Parameters
    ----------
    rank
        Number of the process, from 0; the first one writes files and messages.
    count
        Number of processes.
    device
        Torch device on which the process computes.

    Examples
    --------
    >>> alone = Group(rank=0, count=1, device="cpu")
    >>> alone.is_first, alone.add([1, 2.5])
    (True, [1.0, 2.5])
    """

    rank: int
    count: int
    device: str

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait for all processes."""
        if self.count > 1:
            distributed.barrier()

    def add(self, numbers: Sequence[float]) -> list[float]:
        """Sum each number over the processes."""
        if self.count == 1:
            return [float(number) for number in numbers]
        total = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(total)
        return [float(number) for number in total]

    def average_gradients(self, network: nn.Module) -> None:
        """Replace the gradients by their mean over the processes."""
        for parameter in network.parameters() if self.count > 1 else ():
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= self.count

    def average_statistics(self, network: nn.Module) -> None:
        """Replace the statistics of batch norm by their mean over the processes.

        The mean of the variances leaves out how far the means lie apart, so that it is a little
        below the variance of the whole batch.
        """
        for buffer in network.buffers() if self.count > 1 else ():
            if buffer.is_floating_point():
                distributed.all_reduce(buffer)
                buffer /= self.count

    def check_batch(self, size: int) -> None:
        """Check that the processes can share batches of this size equally.

        Raises
        ------
        InputError
            If the size is not a multiple of the number of processes.
        """
        if size % self.count:
            raise InputError(
                f"{self.count} processes cannot share a batch of {size} equally; set "
                "training.batch in the recipe to a multiple."
            )

    @contextmanager
    def first(self) -> Iterator[None]:
        """Let the first process run a block alone, then all others at once."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


def count_processes() -> int:
    """Return the number of processes that torchrun started; 1 without it.

    Examples
    --------
    >>> count_processes()
    1
    """
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def join_processes(device: str) -> Iterator[Group]:
    """Join the processes that torchrun started, and leave them at the end.

    Parameters
    ----------
    device
        Torch device, as from `engine.find_device`; under torchrun each process takes the CUDA
        device of its own number on its machine.

    Examples
    --------
    >>> with join_processes("cpu") as group:
    ...     group.is_first
    True
    """
    if count_processes() == 1:
        yield Group(0, 1, device)
        return
    on_cuda = device.startswith("cuda")
    if on_cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(device)
    joins = not distributed.is_initialized()
    if joins:
        backend = "cpu:gloo,cuda:nccl" if on_cuda else "gloo"
        distributed.init_process_group(backend, timeout=TIMEOUT)
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        if joins:
            distributed.destroy_process_group()


@dataclass
class StopRequest:
    """The signals that requested the process to stop.

    Examples
    --------
    >>> StopRequest().stop, StopRequest({15}).stop
    (False, True)
    """

    signals: set[int] = field(default_factory=set)

    @property
    def stop(self) -> bool:
        """Whether there was any."""
        return bool(self.signals)


@contextmanager
def record_stop_signals() -> Iterator[StopRequest]:
    """Record SIGINT, SIGTERM and SIGHUP instead of stopping; the same signal again interrupts.

    So a training step is completed before the run stops. A different second signal does not
    interrupt: after Ctrl-C torchrun sends SIGTERM by itself. Only the main thread can record
    signals; in other threads nothing changes.

    Examples
    --------
    >>> with record_stop_signals() as request:
    ...     request.stop
    False
    """
    request = StopRequest()

    def record(number: int, frame: Any) -> None:
        if number in request.signals:
            raise KeyboardInterrupt
        request.signals.add(number)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        names = []
    before = {number: signal.getsignal(number) for number in (getattr(signal, n) for n in names)}
    kept = {n: old for n, old in before.items() if old not in (None, signal.SIG_IGN)}
    try:
        for number in kept:
            signal.signal(number, record)
        yield request
    finally:
        for number, old in kept.items():
            signal.signal(number, old)
