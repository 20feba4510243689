"""What every test gets: no error is lost, and no test needs root unasked."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import greenlet
import pytest
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase


class LoggedFailures(list[Failure]):
    """The failures that were logged during one test.

    A lost error of a Deferred, or an exception inside `datagramReceived`, ends up
    in Twisted's log and nowhere else, where a plain pytest function would pass.
    """

    def __call__(self, event: LogEvent) -> None:
        """Observe one log event."""
        # "log_failure" is what Logger.failure() says, "failure" the older log.err().
        failure = event.get("log_failure") or event.get("failure")
        if failure is None:
            return
        waiting = greenlet.getcurrent().parent
        if waiting is not None and failure.check(pytest.fail.Exception):
            # pytest-timeout interrupted a test that awaits something for ever.  The
            # reactor has caught that, and would go on; tell pytest, which waits in
            # the greenlet that pytest-twisted started the reactor from.
            waiting.throw(failure.value)
        else:
            self.append(failure)

    def flush(self, *types: type[BaseException]) -> list[Failure]:
        """Take out the failures of these types, which the test expects.

        A Deferred that is dropped with its error logs it when it is collected; call
        `gc.collect()` first if it may be part of a cycle.
        """
        expected = [failure for failure in self if failure.check(*types)]
        self[:] = [failure for failure in self if failure not in expected]
        return expected


@pytest.fixture(autouse=True)
def logged_failures(request: pytest.FixtureRequest) -> Iterator[LoggedFailures]:
    """Fail a test that loses an error, or leaves a timer behind.

    Being automatic it is set up before, and so torn down after, the other fixtures
    of a test: they may still clean up what they have started.
    """
    # Late: pytest-twisted installs the reactor, after this file has been imported.
    from twisted.internet import reactor

    observer = LoggedFailures()
    if isinstance(request.instance, SynchronousTestCase):
        yield observer  # trial's own cases look after themselves
        return

    timers = set(reactor.getDelayedCalls())
    globalLogPublisher.addObserver(observer)
    try:
        yield observer
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observer)
        left = [call for call in reactor.getDelayedCalls() if call not in timers]
        for call in left:
            call.cancel()
    assert not observer, "\n".join(failure.getTraceback() for failure in observer)
    assert not left, f"timers left behind: {left}"


def pytest_collection_finish() -> None:
    """Make the `gc.collect()` after each test cheap.

    Modules and collected tests live until the end; looking through them again after
    every test would take most of the time of a quick one.
    """
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, but never in CI: there it shall fail."""
    if os.environ.get("CI"):
        return
    if not sys.platform.startswith("linux"):
        reason = "network namespaces exist on Linux only"
    elif os.geteuid() != 0:
        reason = "network namespaces need root: run it again with sudo"
    else:
        return
    for item in items:
        if item.get_closest_marker("integration"):
            item.add_marker(pytest.mark.skip(reason=reason))
