"""What machines say is shown as text, and never as anything that a terminal or a browser obeys."""

import re

# Clears the screen, sets the title of the window, turns the direction of text around; and the one-byte form of ESC [.
EVIL = "\x1b[2J\x1b]0;owned\x07 all is well \u202e \x9b1m"
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def spoiled(told):
    """An assessment in which every text is spoiled that a person will read."""
    host = told["host"]
    update = {"name": f"curl{EVIL}", "arch": "", "old": EVIL, "new": EVIL, "security": EVIL, "held_by": ""}
    return {
        "host": {
            **host,
            "os": {**host["os"], "pretty": f"Debian{EVIL}"},
            "pending": [update, {**update, "name": f"vim{EVIL}", "held_by": EVIL}],
            "reboot": {**host["reboot"], "expected": [EVIL]},
            "warnings": [EVIL],
        }
    }


def test_nothing_of_it_reaches_the_terminal_or_a_file_as_it_is(world):
    # Only at its assessment: a task that fails says its own words through Ansible, not through this collection.
    world.add("web1").lie("host_info", lambda told, args: spoiled(told) if "controller_clock" in args else told)
    unfit = [{"cause": f"no room {EVIL}", "remedy": f"make some {EVIL}", "commands": [], "mendable": False}]
    world.add("web2").lie("host_info", lambda told, args: {"host": {**told["host"], "unfit": unfit}})
    world.add("web3").lie("host_info", lambda _told, _args: {"failed": True, "msg": f"it failed {EVIL}"})
    played = world.play("patch")
    assert played.report["hosts"]["web2"]["result"] == "refused"
    assert not HARMFUL.findall(played.output)
    assert r"\x1b[2J" in played.output
    reports = world.folder / "reports"
    files = sorted(path.name for path in reports.iterdir())
    run = played.report["run"]
    assert files == sorted([f"{run}.json", f"{run}.html", "index.html", "history.jsonl", "patching.prom"])
    for path in reports.iterdir():
        assert not HARMFUL.findall(path.read_text()), path.name
    assert r"\x1b[2J" in (reports / f"{run}.html").read_text()
