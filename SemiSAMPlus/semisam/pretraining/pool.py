"""A rolling pool of fresh worlds, made by other processes while the network trains.

World n of a seed is the same whoever makes it and whenever (``synthesis.make_world``), and the trainer alone decides
when the pool moves on. So a run with workers, without workers, or resumed in the middle sees the same volumes.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from types import TracebackType

from semisam.errors import TrainingError
from semisam.pretraining.synthesis import World, make_world

_AHEAD = 24
"""Worlds that a worker may be ahead of the trainer."""


class WorldPool:
    """The newest ``capacity`` worlds of ``seed`` up to the one last asked for. Use it as a context manager.

    ``workers`` is the number of processes that make worlds; with 0 they are made when they are needed.
    """

    def __init__(self, seed: int, size: int, capacity: int, first: int = 0, workers: int = 0) -> None:
        self._seed, self._size, self._capacity = seed, size, capacity
        self._worlds: dict[int, World] = {}
        self._next = max(0, first - capacity)
        self._queues: list[multiprocessing.Queue[World]] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []
        context = multiprocessing.get_context("spawn")
        for number in range(workers):
            channel: multiprocessing.Queue[World] = context.Queue(_AHEAD)
            start = self._next + (number - self._next) % workers
            process = context.Process(target=_produce, args=(channel, seed, size, start, workers), daemon=True)
            process.start()
            self._queues.append(channel)
            self._processes.append(process)

    def __enter__(self) -> WorldPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def advance(self, count: int) -> range:
        """Make sure that all worlds below ``count`` were made; returns the numbers of those still in the pool."""
        while self._next < count:
            self._worlds[self._next] = self._take(self._next)
            self._worlds.pop(self._next - self._capacity, None)
            self._next += 1
        return range(max(0, count - self._capacity), count)

    def __getitem__(self, index: int) -> World:
        return self._worlds[index]

    def _take(self, index: int) -> World:
        if not self._queues:
            return make_world(self._seed, index, self._size)
        number = index % len(self._queues)
        while True:
            try:
                return self._queues[number].get(timeout=5)
            except queue.Empty:
                if not self._processes[number].is_alive():
                    raise TrainingError(
                        "The process that makes training volumes has ended unexpectedly: start pretrain again with "
                        "--resume."
                    ) from None


def _produce(channel: multiprocessing.Queue[World], seed: int, size: int, start: int, step: int) -> None:
    import torch

    torch.set_num_threads(1)
    parent = os.getppid()
    index = start
    while True:
        world = make_world(seed, index, size)
        while True:
            try:
                channel.put(world, timeout=5)
                break
            except queue.Full:
                if os.getppid() != parent:  # the trainer was killed
                    os._exit(1)
        if os.getppid() != parent:
            os._exit(1)
        index += step
