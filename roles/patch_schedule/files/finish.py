"""Sum up a scheduled run that has ended, thin out its reports, and call the user's command.

systemd starts it by ExecStopPost, also when the run was killed, and says by $SERVICE_RESULT how it ended.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}\.json")
# How much of the output a summary quotes: enough for the cause, and no flood in a chat.
LINES = 40
COMMAND_SECONDS = 60


def reports(folder: Path) -> list[Path]:
    """The reports of runs in a folder, oldest first."""
    return sorted(path for path in folder.glob("*.json") if RUN.fullmatch(path.name))


def report_since(folder: Path, begun: float) -> Path | None:
    """The report that was written since, if there is one."""
    return next((path for path in reversed(reports(folder)) if path.stat().st_mtime >= begun), None)


def of_report(report: dict) -> list[str]:
    """What a report comes to, in lines."""
    counts = ", ".join(f"{count} {result}" for result, count in sorted(report["counts"].items()))
    lines = [f"Run {report['run']}: {counts or 'no hosts'}"]
    for host in report["wrong"]:
        entry = report["hosts"][host]
        then = f" -> {entry['remedy']}" if entry["remedy"] else ""
        lines.append(f"{host}: {entry['result']}: {entry['reason']}{then}")
    return lines


def of_output(output: str) -> list[str]:
    """What made a run without a report fail: its errors, or its last lines where it names none."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("[ERROR]", "ERROR", "fatal:"))]
    return (errors or lines)[-LINES:]


def visible(line: str) -> str:
    """The line with control characters spelled out: it quotes what hosts say. As core/visible.py does it."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in line)


def thin_out(folder: Path, keep: int) -> None:
    """Leave the newest reports; with an old one go its page and its line in the index."""
    gone = reports(folder)[: -keep or None]
    for path in gone:
        path.unlink(missing_ok=True)
        path.with_suffix(".html").unlink(missing_ok=True)
    index = folder / "index.html"
    if gone and index.exists():
        marks = [f'data-run="{path.stem}"' for path in gone]
        lines = index.read_text(encoding="utf-8").splitlines(keepends=True)
        beside = folder / ".index.html.new"
        beside.write_text("".join(line for line in lines if not any(mark in line for mark in marks)), encoding="utf-8")
        beside.replace(index)


def main(words: list[str] | None = None) -> int:
    """As the description of this file says; the exit status of the user's command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", help="the name of the service, without .service")
    parser.add_argument("--reports", type=Path, required=True, help="the folder of the reports")
    parser.add_argument("--keep", type=int, required=True, help="how many of them stay")
    parser.add_argument("--notify", choices=["failure", "always"], default="failure", help="when the command is called")
    parser.add_argument("--command", help="a program that reads the summary")
    given = parser.parse_args(words)

    runtime = Path(os.environ.get("RUNTIME_DIRECTORY", "/nonexistent"))
    output = runtime / "output"
    result = "success" if os.environ.get("SERVICE_RESULT") == "success" else "failure"
    # The folder got its last entry, the output, when the run began.
    report = report_since(given.reports, runtime.stat().st_mtime) if output.exists() else None
    lines = [f"{given.job} on {socket.gethostname()}: {result}"]
    if report:
        lines += of_report(json.loads(report.read_text(encoding="utf-8")))
        lines.append(f"Report: {report}")
    elif result == "failure":
        lines += of_output(output.read_text(encoding="utf-8", errors="replace") if output.exists() else "")
    lines.append(f"All of it: journalctl -u {given.job}")
    summary = "\n".join(map(visible, lines)) + "\n"
    print(summary, end="", flush=True)

    thin_out(given.reports, given.keep)
    if not given.command or (result == "success" and given.notify == "failure"):
        return 0
    about = {"PATCHING_JOB": given.job, "PATCHING_RESULT": result, "PATCHING_REPORT": str(report or "")}
    try:
        done = subprocess.run(
            [given.command], input=summary, text=True, env={**os.environ, **about}, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"The command that is to be called with the summary failed: {error}", file=sys.stderr)
        return 1
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
