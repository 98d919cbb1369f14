from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from pomona import progress, stopping
from pomona.commands import show
from pomona.commands.search import run_and_show
from pomona.progress import STOPPED_BY_USER
from pomona.stopping import StopRequests, interruptible, stop_requests
from pomona.streams import AnswerLost
from studies import journal
from studies.journal import Journal

from ..studies.settings import settings_for
from ..toys import TOY

SIGNALS = [
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGXCPU,
]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Nothing is left of the handlers. They begin as a terminal's are: under nohup SIGHUP would be ignored."""
    started = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS if number != signal.SIGINT}
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    for number, handler in started.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_request_is_asked_for_the_second_raises_and_the_third_kills(
    number: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clock, killed = Clock(), []
    monkeypatch.setattr(signal, "signal", lambda number, handler: killed.append((number, handler)))
    monkeypatch.setattr(signal, "raise_signal", lambda number: killed.append((number, None)))
    requests = StopRequests(polite=True, clock=clock)
    assert not requests.asked()
    requests.on_signal(number, None)
    assert requests.asked()
    assert "Ctrl-C again" in capfd.readouterr().err
    clock.now = 1.0
    with pytest.raises(KeyboardInterrupt):
        requests.on_signal(number, None)
    assert not killed
    clock.now = 2.0
    requests.on_signal(number, None)
    assert killed == [(number, signal.SIG_DFL), (number, None)]


def test_a_signal_that_comes_twice_is_one_request() -> None:
    """`timeout` sends it to the process and to its group; closing a terminal sends several."""
    requests = StopRequests(polite=True, clock=Clock())
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):
        requests.on_signal(number, None)
    assert requests.count == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_work_that_saves_itself_is_asked_to_stop(number: signal.Signals) -> None:
    with stop_requests() as asked:
        assert not asked()
        signal.raise_signal(number)
        assert asked()


@pytest.mark.parametrize("number", SIGNALS)
def test_other_work_is_interrupted(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requests() as asked:
            signal.raise_signal(signal.SIGHUP)
            assert not asked()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen = []

    def work() -> None:
        with stop_requests() as asked, interruptible():
            seen.append((asked(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, signal.getsignal(signal.SIGINT))]


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_second_request_does_not_tear_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_transaction: bool
) -> None:
    clock = Clock()
    write = journal._write_all

    def interrupted(descriptor: int, data: bytes) -> None:
        signal.raise_signal(signal.SIGINT)
        clock.now += 1
        signal.raise_signal(signal.SIGINT)
        write(descriptor, data)

    monkeypatch.setattr(journal, "_write_all", interrupted)
    monkeypatch.setattr(stopping, "StopRequests", lambda *, polite: StopRequests(polite=polite, clock=clock))
    (tmp_path / "journal.log").touch()
    kept = Journal(tmp_path / "journal.log")
    records = [{"op_code": 0, "name": "a"}, {"op_code": 0, "name": "b"}]

    def append() -> None:
        with stop_requests(), kept.transaction() if in_transaction else nullcontext():
            kept.append_logs(records)

    with pytest.raises(KeyboardInterrupt):
        append()
    assert list(Journal(tmp_path / "journal.log").read_logs(0)) == records
    with kept.transaction():  # nothing is locked, and nothing lost
        pass


@pytest.mark.parametrize(("stopped", "ends"), [(STOPPED_BY_USER, typer.Exit), ("the time is up", AnswerLost)])
def test_a_stop_whose_answer_nobody_can_read_still_ends_as_one(
    monkeypatch: pytest.MonkeyPatch, stopped: str, ends: type[Exception]
) -> None:
    """A terminal that was closed takes no leaderboard."""

    def nowhere(*_arguments: object, **_options: object) -> None:
        raise AnswerLost("gone")

    monkeypatch.setattr(progress, "run_until_stopped", lambda _search: stopped)
    monkeypatch.setattr(show, "print_leaderboard", nowhere)
    prepared = SimpleNamespace(study=SimpleNamespace(name="s", best=lambda: None, settings=settings_for(TOY)))
    with pytest.raises(ends) as raised:
        run_and_show(prepared, as_json=False, storage=None)  # type: ignore[arg-type]
    if isinstance(raised.value, typer.Exit):
        assert raised.value.exit_code == 130
