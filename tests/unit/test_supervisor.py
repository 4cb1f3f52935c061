"""Restart delays and the identity of processes; the supervisor itself is tested by killing things."""

import os
import subprocess
import sys

import pytest

from knarr.supervisor import Child, forget_oldest, is_running, restart_delay_s, start_time_of


@pytest.mark.parametrize(("failures", "delay"), [(0, 0.0), (1, 0.1), (2, 0.2), (5, 1.6), (50, 5.0)])
def test_restart_delay_doubles_to_its_bound(failures: int, delay: float) -> None:
    assert restart_delay_s(failures) == pytest.approx(delay)


def test_a_long_life_forgives_earlier_failures() -> None:
    child = Child("server", ("true",), pid=7, started=100.0, quick_failures=4)
    child.ended(now=111.0)
    assert (child.pid, child.quick_failures, child.due) == (0, 0, 111.0)


def test_a_short_life_is_held_back() -> None:
    child = Child("server", ("true",), pid=7, started=100.0, quick_failures=1)
    child.ended(now=100.5)
    assert child.quick_failures == 2
    assert child.due == pytest.approx(100.7)


def test_a_process_is_known_by_pid_and_start_time() -> None:
    start = start_time_of(os.getpid())
    assert is_running(os.getpid(), start)
    assert not is_running(os.getpid(), str(int(start) + 1))


def test_a_zombie_does_not_run() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    )
    start = start_time_of(process.pid)
    assert is_running(process.pid, start)
    assert process.stdin is not None
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid, start)
    process.wait()
    assert not is_running(process.pid, start)


def test_exit_records_are_bounded(tmp_path):
    for index in range(10):
        path = tmp_path / f"{index}-1"
        path.write_text("0\n")
        os.utime(path, ns=(index, index))
    assert forget_oldest(tmp_path, 4) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["6-1", "7-1", "8-1", "9-1"]
    assert forget_oldest(tmp_path, 4) == 4
