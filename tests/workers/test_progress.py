"""Percent, ETA and the pace of progress events, by a clock of the test's own."""

from workers.messages import Stepped
from workers.progress import ProgressMeter


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_whole_run() -> None:
    clock = Clock()
    meter = ProgressMeter(clock)
    seen = []
    for step in range(1, 21):
        clock.now += 0.5
        seen.append(meter.read(Stepped("denoise", step, 20)))
    seen += [meter.read(Stepped("encode", 0, 0)), meter.read(Stepped("store", 0, 0))]
    percents = [progress.percent for progress in seen]
    assert percents == sorted(percents)
    assert (percents[0], percents[9], percents[19:]) == (4, 47, [95, 96, 98])
    assert [(progress.step, progress.steps) for progress in seen[-3:]] == [(20, 20)] * 3
    assert [progress.eta_seconds for progress in (seen[0], seen[9], seen[18])] == [9.5, 5.0, 0.5]
    assert seen[19].eta_seconds is seen[20].eta_seconds is None
    assert all(progress.tell for progress in seen)


def test_fast_steps_are_told_a_few_times_per_second_and_the_last_one_always() -> None:
    clock = Clock()
    meter = ProgressMeter(clock)
    told = []
    for step in range(1, 101):
        clock.now += 0.01
        if meter.read(Stepped("denoise", step, 100)).tell:
            told.append(step)
    assert told[0] == 1 and told[-1] == 100
    assert 4 <= len(told) <= 6


def test_a_second_pass_over_steps_does_not_go_back() -> None:
    meter = ProgressMeter(Clock())
    meter.read(Stepped("denoise", 10, 10))
    assert meter.read(Stepped("denoise again", 1, 10)).percent == 95
