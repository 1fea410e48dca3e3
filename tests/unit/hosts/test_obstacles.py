"""What stands in the way on a host is named, with what mends it."""

from __future__ import annotations

import pytest

from hostwright.hosts.obstacles import objection

NOW = 1_700_000_000
FINE = f"release=debian 12\nroom=20971520 /\nroom=1048576 /var\nclock={NOW + 3}\npython=3.11\n"


@pytest.mark.parametrize("text", ["", FINE, FINE.replace("\n", "\r\n"), f"room=65536 /\nclock={NOW - 599}"])
def test_nothing_is_in_the_way(text: str) -> None:
    assert objection("web1", text, NOW + 0.7) == ""


def test_a_full_disk() -> None:
    assert objection("web1", "room=20971520 /\r\nroom=3100 /var\r\n", NOW) == (
        "web1: /var has 3 MiB left, and 64 are needed. "
        "Make room, such as: apt-get clean; journalctl --vacuum-size=100M; du -xh /var | sort -h | tail"
    )
    assert objection("web1", "room=0 /\nroom=0 /srv", NOW).startswith("web1: / has 0 MiB left, /srv has 0 MiB left, ")


@pytest.mark.parametrize(
    ("skew", "said"),
    [
        (-3 * 86400, "3 days behind"),
        (601, "10 minutes ahead of"),
        (7200, "2 hours ahead of"),
        (-1_699_999_999, "19675 days behind"),
    ],
)
def test_a_wrong_clock(skew: int, said: str) -> None:
    assert objection("web1", f"clock={NOW + skew}\n", NOW) == (
        f"web1: its clock is {said} this machine's. Set it: timedatectl set-ntp true, or date --set"
    )


def test_both_at_once() -> None:
    assert objection("web1", "room=0 /\nclock=0\n", NOW).count("; its clock") == 1
