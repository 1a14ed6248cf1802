"""Who is measured when: in turns, as many as memory holds, and what is emulated once."""

from collections.abc import Iterator
from typing import Any, Self

import pytest

from mobilesam.errors import BundleError
from parity.cost import measure
from parity.cost.measure import MAX_ROUNDS, MIN_ROUNDS, Job, measure_in_turns


class FakeWorker:
    """Stands in for a process: a job says how long it takes, how large it is, when it breaks."""

    log: list[str] = []
    alive = 0
    most_alive = 0

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.name = job, job["name"]
        if job.get("breaks") == "start":
            raise BundleError(f"{self.name} does not start")
        cls = type(self)
        cls.log.append(f"start {self.name} {job['component']}")
        self.facts = {
            "component": job["component"],
            "threads": job["threads"],
            "load_s": 0.1,
            "first_s": 7.0,
            "baseline_memory_mb": 50.0,
            "peak_memory_mb": job.get("mb", 100.0),
            "delegate_partitions": None,
            "representative": job.get("real", True),
        }
        self.pid = 1

    def __enter__(self) -> Self:
        cls = type(self)
        cls.alive += 1
        cls.most_alive = max(cls.most_alive, cls.alive)
        return self

    def __exit__(self, *_: object) -> None:
        type(self).alive -= 1

    def turn(self) -> list[float]:
        type(self).log.append(self.name)
        if self.job.get("breaks") == "turn":
            raise BundleError(f"{self.name} broke off")
        return [self.job.get("s", 1.0)] * 2


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    FakeWorker.log, FakeWorker.alive, FakeWorker.most_alive = [], 0, 0
    monkeypatch.setattr(measure, "Worker", FakeWorker)
    monkeypatch.setattr(measure, "COMPONENTS", ("encoder",))
    monkeypatch.setattr(measure, "free_memory_mb", lambda: float("inf"))
    yield
    assert FakeWorker.alive == 0, "a process was left running"


def job(name: str, **facts: object) -> Job:
    return Job(name, {"name": name, **facts})


def turns() -> str:
    return "".join(entry for entry in FakeWorker.log if not entry.startswith("start"))


def test_each_round_begins_with_another() -> None:
    found = measure_in_turns([job("a"), job("b"), job("c")], 1, budget_s=0).found
    assert turns() == ("abc" + "bca" + "cab") * (MIN_ROUNDS // 3)
    for own in found:
        assert not isinstance(own, BundleError)
        assert own[0].timing.batch == 0 and own[0].timing.rounds_s == [1.0] * MIN_ROUNDS
        assert own[0].timing.runs == 2 * MIN_ROUNDS and own[0].timing.median_s == 1.0


def test_a_slow_round_counts_as_much_as_a_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([[0.1] * 20, [1.0], [1.1], [0.1] * 20, [1.2], [0.9]])
    monkeypatch.setattr(FakeWorker, "turn", lambda _: next(answers))
    (own,) = measure_in_turns([job("a")], 1, budget_s=0).found
    assert not isinstance(own, BundleError)
    assert own[0].timing.median_s == pytest.approx(0.95) and own[0].timing.runs == 44
    assert own[0].timing.p90_s == 1.2


def test_rounds_end_with_the_time_or_at_the_most() -> None:
    measure_in_turns([job("a")], 1, budget_s=3600)
    assert turns() == "a" * MAX_ROUNDS


def test_those_that_memory_does_not_hold_wait_for_the_next_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = 1000.0
    monkeypatch.setattr(measure, "free_memory_mb", lambda: free - 400.0 * FakeWorker.alive)
    jobs = [job(name, mb=400.0) for name in "abcd"]
    found = measure_in_turns(jobs, 1, budget_s=0).found
    # One holds 400 of 1000 MB: the next starts only while twice that is free.
    assert FakeWorker.most_alive == 1
    batches = [own[0].timing.batch for own in found if not isinstance(own, BundleError)]
    assert batches == [0, 1, 2, 3]
    free, FakeWorker.most_alive = 2000.0, 0
    found = measure_in_turns(jobs, 1, budget_s=0).found
    batches = [own[0].timing.batch for own in found if not isinstance(own, BundleError)]
    assert FakeWorker.most_alive == 3 and batches == [0, 0, 0, 3]


def test_what_is_emulated_runs_once_and_takes_no_turns() -> None:
    found = measure_in_turns([job("a"), job("e", real=False), job("b")], 1, budget_s=0).found
    assert "e" not in turns() and FakeWorker.most_alive == 2  # its process does not stay
    emulated = found[1]
    assert not isinstance(emulated, BundleError)
    timing = emulated[0].timing
    assert not emulated[0].representative
    assert (timing.runs, timing.median_s, timing.rounds_s, timing.batch) == (1, 7.0, [], None)


def test_one_that_breaks_leaves_the_others_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "COMPONENTS", ("encoder", "decoder"))
    jobs = [job("a"), job("s", breaks="start"), job("t", breaks="turn"), job("b")]
    found = measure_in_turns(jobs, 1, budget_s=0).found
    assert [isinstance(own, BundleError) for own in found] == [False, True, True, False]
    assert str(found[1]) == "s does not start" and str(found[2]) == "t broke off"
    assert turns().count("t") == 1 and "start t decoder" not in FakeWorker.log
    for own in (found[0], found[3]):
        assert not isinstance(own, BundleError)
        assert [each.component for each in own] == ["encoder", "decoder"]
        assert all(len(each.timing.rounds_s) == MIN_ROUNDS for each in own)


def test_every_step_is_announced() -> None:
    seen: list[str] = []
    measure_in_turns([job("a"), job("b")], 1, budget_s=0, step=seen.append)
    assert seen == ["a", "b", "encoders in turns"]
