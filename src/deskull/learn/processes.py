"""Several processes that train together, and signals that ask them to stop.

Started by torchrun, each process has a rank; alone, a process is a group of one.
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

PATIENCE = timedelta(hours=12)  # the first process may prepare many heads while others wait


@dataclass(frozen=True)
class Group:
    """One process among those that train together.

    Parameters
    ----------
    rank
        Its number, from 0; the first one writes and talks.
    count
        How many there are.
    device
        Where it computes.
    """

    rank: int
    count: int
    device: str

    @property
    def is_first(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all are here."""
        if self.count > 1:
            distributed.barrier()

    def add(self, numbers: Sequence[float]) -> list[float]:
        """Sum each number over the processes."""
        if self.count == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(total)
        return [float(number) for number in total]

    def average_gradients(self, network: nn.Module) -> None:
        """Give every process the mean of all gradients."""
        for parameter in network.parameters() if self.count > 1 else ():
            if parameter.grad is not None:
                distributed.all_reduce(parameter.grad)
                parameter.grad /= self.count

    def average_statistics(self, network: nn.Module) -> None:
        """Give every process the mean of what batch norm keeps of its own share of the batch.

        The mean of the shares' variances leaves out how far the shares' means lie apart, so
        that it is a little below the variance of the whole batch.
        """
        for buffer in network.buffers() if self.count > 1 else ():
            if buffer.is_floating_point():
                distributed.all_reduce(buffer)
                buffer /= self.count

    @contextmanager
    def first(self) -> Iterator[None]:
        """Let the first process go through alone, then all others at once."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()


def count_processes() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def join_processes(device: str) -> Iterator[Group]:
    """Join the processes that torchrun started, and leave them at the end.

    Parameters
    ----------
    device
        As `engine.find_device` gave it; under torchrun each process takes the CUDA device of
        its own number on its machine.
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
        distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        if joins:
            distributed.destroy_process_group()


@dataclass
class Wish:
    """The signals by which someone asked to stop."""

    signals: set[int] = field(default_factory=set)

    @property
    def stop(self) -> bool:
        """Whether there was one."""
        return bool(self.signals)


@contextmanager
def notice_interrupts() -> Iterator[Wish]:
    """Let Ctrl-C, a kind kill and a closing terminal only be noted; a second one interrupts.

    A second one is the same signal again: after Ctrl-C torchrun sends a kind kill of its own.

    What must not be cut in two, such as a step of training, ends before anyone looks. Only
    the main thread may do so; elsewhere nothing changes.
    """
    wish = Wish()

    def note(number: int, frame: Any) -> None:
        if number in wish.signals:
            raise KeyboardInterrupt
        wish.signals.add(number)

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        names = []
    before = {number: signal.getsignal(number) for number in (getattr(signal, n) for n in names)}
    kept = {n: old for n, old in before.items() if old not in (None, signal.SIG_IGN)}
    try:
        for number in kept:
            signal.signal(number, note)
        yield wish
    finally:
        for number, old in kept.items():
            signal.signal(number, old)


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Let torch draw by this seed within, and leave its own generators as they were."""
    where = torch.device(device)
    devices = [where.index or 0] if where.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
