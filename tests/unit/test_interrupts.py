"""Signals that leave a note."""

from __future__ import annotations

import os
import signal

import pytest

from hostwright import interrupts


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_signal_raises_where_it_is_heeded_only(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interrupts.noted():
        interrupts.heed()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            interrupts.heed()
        interrupts.heed()
    assert signal.getsignal(number) is before


def test_a_note_of_before_is_not_for_the_next() -> None:
    with interrupts.noted():
        os.kill(os.getpid(), signal.SIGTERM)
    with interrupts.noted():
        interrupts.heed()
