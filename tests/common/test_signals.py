"""Signals that ask for an end wait for a block's end."""

import os
import signal
import time

import pytest

from common.signals import postponed_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_effect_after_the_block_and_only_once(number):
    def leave(*_):
        raise SystemExit(128 + number)

    before, done = signal.signal(number, leave), []
    try:
        with pytest.raises(SystemExit) as left, postponed_signals():
            for _ in range(2):
                os.kill(os.getpid(), number)
                time.sleep(0.01)
                done.append(number)
        assert (left.value.code, len(done)) == (128 + number, 2)
        assert signal.getsignal(number) is leave
    finally:
        signal.signal(number, before)


def test_without_a_signal_nothing_happens():
    before = signal.getsignal(signal.SIGTERM)
    with postponed_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
