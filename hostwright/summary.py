"""What a pipeline shows of a run beside its events: JUnit's XML, and Markdown for a summary page."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as xml
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Events = Sequence[Mapping[str, Any]]
"""The events of one run, from `begin` on; docs/events.md describes them."""

FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML can't hold."""


def title(events: Events) -> str:
    """Such as `deploy of 20260311T141502-3f2c91a`."""
    begin = events[0]
    return f"{begin['kind']} of {begin.get('release') or begin['site']}"


def problem(events: Events) -> str:
    """Why the run failed, and empty where it did not; a run without an end was killed."""
    last = events[-1]
    if last["event"] != "end":
        return "it has no end: fab was killed, or broke"
    return "" if last["result"] == "done" else str(last.get("error") or last["result"])


def junit(events: Events) -> str:
    """One test case for each step of each host, and one for the whole run, which fails with the error's message."""
    steps = [event for event in events if event["event"] == "step" and event.get("status") != "start"]
    failed = problem(events)
    count = {
        "tests": len(steps) + 1,
        "failures": sum(step.get("status") == "failed" for step in steps) + bool(failed),
        "skipped": sum(step.get("status") in ("skipped", "cancelled") for step in steps),
    }
    about = {"name": title(events), "time": _seconds(events[-1]["elapsed"]), **count}
    suite = xml.Element("testsuite", _texts(about))
    for step in steps:
        _case(suite, step["host"], step["step"], step.get("seconds"), step.get("status"), str(step.get("detail", "")))
    site, kind = str(events[0]["site"]), str(events[0]["kind"])
    _case(suite, site, kind, events[-1]["elapsed"], "failed" if failed else "ok", failed)
    suites = xml.Element("testsuites")
    suites.append(suite)
    return xml.tostring(suites, encoding="unicode", xml_declaration=False) + "\n"


def _case(suite: xml.Element, group: Any, name: Any, seconds: Any, status: Any, said: str) -> None:
    case = xml.SubElement(suite, "testcase", _texts({"classname": group, "name": name, "time": _seconds(seconds)}))
    if status == "failed":
        said = _allowed(said or "see the run's own case, or the log of the step")
        xml.SubElement(case, "failure", message=said.split("\n")[0]).text = said
    elif status in ("skipped", "cancelled"):
        xml.SubElement(case, "skipped", message=_allowed(said or str(status)))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _allowed(str(value)) for name, value in values.items()}


def _allowed(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)


def _seconds(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "0"


def markdown(events: Events) -> str:
    """What became of the run, how long the fleet took to each state, and the error where it failed."""
    failed = problem(events)
    begin = events[0]
    result = "failed" if failed else "done"
    lines = [
        f"### {begin['site']}: {title(events)} {result}",
        "",
        f"{', '.join(begin['hosts'])}; {events[-1]['elapsed']:.1f} s",
        "",
    ]
    states = [event for event in events if event["event"] == "state"]
    if states:
        lines += ["| The fleet is | after | |", "| --- | --- | --- |"]
        lines += [f"| {state['state']} | {state['elapsed']:.1f} s | {_cell(state.get('detail'))} |" for state in states]
        lines += [""]
    if failed:
        # A fence that is longer than any in the text.
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", failed))])
        lines += [f"{fence}text", failed, fence, ""]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return re.sub(r"([|<\\`\[])", r"\\\1", " ".join(str(value or "").split()))


def publish(events: Events, junit_file: str, summary_file: str) -> None:
    """Write the run with these events: as XML to the one file, and at the end of the other; empty: not there.

    The run is over, and its result stands: a file that can't be written is a note on standard error.
    """
    for name, text, mode in ((junit_file, junit, "w"), (summary_file, markdown, "a")):
        try:
            if name:
                with Path(name).open(mode, encoding="utf-8") as file:
                    file.write(text(events))
        except OSError as error:
            print(f"note: {name} can't be written: {error.strerror}", file=sys.stderr)
