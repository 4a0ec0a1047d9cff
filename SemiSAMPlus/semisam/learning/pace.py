"""How many threads a round computes with, while other programs come and go.

Threads that wait for each other are worse than none where the cores are shared: on two cores with four busy programs
beside it, one thread made three times as many steps as two. So the pace is measured, and the faster number is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

# Seconds after which the pace is judged; after which another number of threads is tried again, at first and at most.
_LOOK, _AGAIN, _LONGEST = 5.0, 60.0, 600.0
# Below this share of the processor time that its threads could have had, a round is held up by others.
_HELD_UP = 0.75
# A number of threads is kept when it is faster by this factor.
_WORTH = 1.1


class Pace:
    """Call ``after_step`` after every step; it changes the number of threads of torch.

    most       number of threads on an idle machine
    set_threads, clock, processor   for tests: seconds on the clock, and of the processor that this program has used
    """

    def __init__(
        self,
        most: int,
        set_threads: Callable[[int], None] = torch.set_num_threads,
        clock: Callable[[], float] = time.monotonic,
        processor: Callable[[], float] = time.process_time,
    ) -> None:
        self._most, self._set_threads, self._clock, self._processor = most, set_threads, clock, processor
        self.threads = most
        self._patience = _AGAIN
        self._changed = self._rested = clock()
        self._before: tuple[int, float] | None = None  # threads and steps a second before the present trial
        self._begin()

    def after_step(self) -> None:
        """A step has been made."""
        self._steps += 1
        seconds = self._clock() - self._start
        if self._most == 1 or seconds < _LOOK:
            return
        now = self._clock()
        pace, share = self._steps / seconds, (self._processor() - self._used) / (seconds * self.threads)
        if self._before is not None:
            threads, pace_before = self._before
            self._before = None
            if pace < _WORTH * pace_before:
                self._rested = now + self._patience
                self._patience = min(_LONGEST, 2 * self._patience)
                self._change(threads)
        elif self.threads > 1 and share < _HELD_UP and now >= self._rested:
            self._before = self.threads, pace
            self._change(max(1, self.threads // 2))
        elif self.threads < self._most and now - self._changed > self._patience:
            self._before = self.threads, pace
            self._change(min(self._most, 2 * self.threads))
        self._begin()

    def _change(self, threads: int) -> None:
        self.threads, self._changed = threads, self._clock()
        self._set_threads(threads)

    def _begin(self) -> None:
        self._steps, self._start, self._used = 0, self._clock(), self._processor()
