"""The time of a step by phase."""

from __future__ import annotations

import pytest

from rarl.training import phases as phases_module
from rarl.training.phases import PhaseClock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PhaseClock:
    """A clock whose every look at the time is a second after the last."""
    seconds = iter(range(100))
    monkeypatch.setattr(phases_module, "_now", lambda: float(next(seconds)))
    return PhaseClock()


def test_what_runs_within_a_step_is_taken_from_the_update(clock: PhaseClock) -> None:
    with clock.measure("update"):
        with clock.measure("rollout"):
            pass
        with clock.measure("reward"):
            pass
    clock.count_step()
    assert clock.take() == {"rollout": 1.0, "reward": 1.0, "reference": 0.0, "update": 3.0}


def test_what_runs_between_two_steps_is_no_part_of_either(clock: PhaseClock) -> None:
    notes: list[str] = []
    clock.watch = lambda phase, ended: notes.append(phase)
    for _ in range(3):  # as the trial step and checkpoint selection do
        with clock.measure("rollout"), clock.measure("reference"):
            pass
    assert not notes
    with clock.measure("update"):
        pass
    clock.count_step()
    assert clock.take() == {"rollout": 0.0, "reward": 0.0, "reference": 0.0, "update": 1.0}
    assert clock.take() == {}, "no whole step since"


def test_a_failed_step_leaves_the_clock_ready(clock: PhaseClock) -> None:
    with pytest.raises(RuntimeError), clock.measure("update"):
        raise RuntimeError
    with clock.measure("rollout"):
        pass
    clock.count_step()
    assert clock.take()["rollout"] == 0
