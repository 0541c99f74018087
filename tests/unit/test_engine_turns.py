"""Which plans have begun, and which were taken back: never both."""

import threading

from agent_service.plans.sinks.engine_process._turns import TurnFile


def test_a_plan_begins_unless_it_was_taken_back_before(tmp_path) -> None:
    service, child = TurnFile(tmp_path / "turns"), TurnFile(tmp_path / "turns")
    assert child.take(1)
    assert service.last == 1
    assert not service.take_back(1), "it has begun"
    assert service.take_back(2)
    assert not child.take(2)
    assert child.take(3)
    assert service.highest == 3
    service.close()
    service.close()
    assert service.last == 3
    child.close()


def test_a_number_that_was_taken_back_is_not_given_again(tmp_path) -> None:
    turns = TurnFile(tmp_path / "turns")
    assert turns.take_back(9)
    assert (turns.last, turns.highest) == (0, 9)
    turns.close()


def test_of_two_that_meet_never_both_go_on(tmp_path) -> None:
    service, child = TurnFile(tmp_path / "turns"), TurnFile(tmp_path / "turns")
    both = threading.Barrier(2)
    began: list[bool] = []

    def begin() -> None:
        for number in range(1, 2001):
            both.wait()
            began.append(child.take(number))

    thread = threading.Thread(target=begin)
    thread.start()
    taken_back = []
    for number in range(1, 2001):
        both.wait()
        taken_back.append(service.take_back(number))
    thread.join()
    assert not any(one and other for one, other in zip(began, taken_back, strict=True))
    service.close()
    child.close()
