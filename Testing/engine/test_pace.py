"""The number of threads follows what the machine has free."""

from __future__ import annotations

import pytest

from semisam.learning.pace import Pace


class Machine:
    """Makes steps: ``paces`` holds steps a second by the number of threads, ``share`` what a thread gets of a core."""

    def __init__(self, most: int, paces: dict[int, float], share: float) -> None:
        self.now = self.used = 0.0
        self.paces, self.share = paces, share
        self.changes: list[tuple[float, int]] = []
        self.pace = Pace(most, self._set, lambda: self.now, lambda: self.used)

    def _set(self, threads: int) -> None:
        self.changes.append((round(self.now), threads))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            step = 1 / self.paces[self.pace.threads]
            self.now += step
            self.used += step * self.pace.threads * self.share
            self.pace.after_step()


def test_an_idle_machine_is_used_whole() -> None:
    machine = Machine(4, {4: 10.0}, share=0.97)
    machine.run(300)
    assert machine.changes == [] and machine.pace.threads == 4


def test_threads_that_hold_each_other_up_become_fewer() -> None:
    machine = Machine(4, {4: 1.0, 2: 2.0, 1: 3.0}, share=0.5)
    machine.run(40)
    assert [threads for _, threads in machine.changes] == [2, 1]
    assert machine.changes[1][0] < 25


def test_one_very_slow_step_is_enough_to_see_it() -> None:
    machine = Machine(2, {2: 1 / 60, 1: 3.0}, share=0.4)
    machine.run(61)
    assert machine.changes == [(60, 1)]


def test_a_slow_machine_that_is_nobody_elses_keeps_its_threads() -> None:
    machine = Machine(2, {2: 0.05, 1: 0.03}, share=0.95)
    machine.run(300)
    assert machine.changes == []


def test_fewer_threads_that_are_no_faster_are_given_up() -> None:
    machine = Machine(2, {2: 3.0, 1: 2.0}, share=0.6)
    machine.run(60)
    assert [threads for _, threads in machine.changes] == [1, 2]
    machine.run(3600)
    assert machine.pace.threads == 2 and len(machine.changes) < 30


def test_when_the_others_are_gone_all_cores_are_used_again() -> None:
    machine = Machine(2, {2: 1.0, 1: 3.0}, share=0.5)
    machine.run(20)
    assert machine.pace.threads == 1
    machine.paces, machine.share = {2: 8.0, 1: 5.0}, 0.98
    machine.run(120)
    assert machine.pace.threads == 2


def test_as_long_as_they_stay_it_is_tried_more_and_more_rarely() -> None:
    machine = Machine(2, {2: 1.0, 1: 3.0}, share=0.9)
    machine.pace._change(1)
    machine.run(3600)
    tries = [when for when, threads in machine.changes if threads == 2]
    gaps = [second - first for first, second in zip(tries, tries[1:], strict=False)]
    assert machine.pace.threads == 1 and len(tries) >= 5
    assert gaps[-1] > 500 and gaps == pytest.approx(sorted(gaps), abs=20)


def test_a_single_core_has_nothing_to_choose() -> None:
    machine = Machine(1, {1: 1.0}, share=0.2)
    machine.run(100)
    assert machine.changes == []
