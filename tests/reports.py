"""Reports of runs that never were (for tests, the benchmark, the screenshots), and what a report has to be like."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

SCHEMA = Path(__file__).parents[1] / "docs" / "report.schema.json"
BEGAN = datetime(2026, 11, 23, 2, 0, tzinfo=timezone.utc).timestamp()
RUN = "20261123T020000Z-1f2e"
TODAY = date(2026, 11, 23)

KERNELS = (
    {"release": "6.12.48+deb13-amd64", "version": "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2026-09-20)"},
    {"release": "6.12.57+deb13-amd64", "version": "#1 SMP PREEMPT_DYNAMIC Debian 6.12.57-1 (2026-11-05)"},
)
# Source, its packages, versions before and after, CVEs (None: unknown), days since the fix.
FIXES = [
    (
        "openssl",
        ["openssl", "libssl3t64"],
        "3.5.1-1+deb13u1",
        "3.5.4-1~deb13u2",
        ["CVE-2026-31789", "CVE-2026-31790"],
        19,
    ),
    ("sudo", ["sudo"], "1.9.16p2-3", "1.9.16p2-3+deb13u1", ["CVE-2026-32462"], 33),
    ("libxml2", ["libxml2"], "2.12.7+dfsg-2", "2.12.7+dfsg-2+deb13u2", ["CVE-2026-49794", "CVE-2026-49796"], 12),
    (
        "linux-signed-amd64",
        ["linux-image-amd64"],
        "6.12.48-1",
        "6.12.57-1",
        [f"CVE-2026-{n}" for n in range(40100, 40142)],
        18,
    ),
    ("tzdata", ["tzdata"], "2026b-0+deb13u1", "2026c-0+deb13u1", None, None),
]
# What is told of a security update besides its versions.
EXPOSED = ("closed", "cves", "fixed", "since", "days")
OTHERS = [("base-files", "13.8", "13.8+deb13u1"), ("apt", "3.0.3", "3.0.4"), ("curl", "8.14.1-2", "8.14.1-2+deb13u2")]


def security(closed: bool, fixes: list = FIXES) -> list:
    """The security updates of a host."""
    return [
        {
            **{**change(package, old, new, security=new), "source": source, "closed": closed, "cves": cves},
            **{
                "fixed": days and str(TODAY - timedelta(days=days)),
                "since": str(TODAY - timedelta(days=days or 0)),
            },
            "days": days or 0,
        }
        for source, packages, old, new, cves, days in fixes
        for package in packages
    ]


def change(name: str, old: str, new: str, security: str | None = None, held_by: str = "") -> dict:
    """One update."""
    return {"name": name, "arch": "", "old": old, "new": new, "security": security, "held_by": held_by}


def changes(fixes: list = FIXES) -> list:
    """The updates of a host, those that fix something and others."""
    found = [(package, old, new, new) for _source, packages, old, new, _cves, _days in fixes for package in packages]
    return [change(*each) for each in [*found, *OTHERS]]


def advice(what: str, why: list, age: int = 120) -> dict:
    """An advice on a Debian image of that age."""
    return {
        **{"advice": what, "why": why, "end_of_support": "2028-08-09", "takes_along": ["cloud-init's user data"]},
        "image": {
            **{"name": "debian-13-genericcloud-amd64", "date": str(TODAY - timedelta(days=age)), "age_days": age},
            "newer": "2026-11-10" if age > 14 else "",
        },
        "loses": {
            "manual": {"count": 2, "names": ["htop", "restic"]},
            "conffiles": {"count": 1, "names": ["/etc/ssh/sshd_config"]},
            "volumes": {"count": 0, "names": []},
        },
    }


def playbook(name: str, **variables: str) -> dict:
    """A command for the control node."""
    words = [word for key, value in variables.items() for word in ("-e", f"{key}={value}")]
    return {"where": "control", "host": "", "argv": ["ansible-playbook", f"homelab.patching.{name}", *words]}


def on_host(*argv: str, host: str) -> dict:
    """A command for a host."""
    return {"where": "host", "host": host, "argv": list(argv)}


def troubled(remedy: str, *commands: dict) -> dict:
    """What a report says of a host with a problem."""
    where = {"control": "on the control node", "host": "on a host"}
    typed = [f"{where[each['where']]}: {' '.join(each['argv'])}" for each in commands]
    problem = {"cause": "something is wrong", "remedy": remedy, "commands": list(commands)}
    return {"problems": [problem], "remedy": "; ".join([remedy, *typed])}


def host(result: str, at: float | None = None, steps: tuple = (), **more: object) -> dict:
    """A host of a report; `at` is how many seconds after the run its transaction began."""
    patched = result == "patched"
    return {
        **{"result": result, "reason": "", "wanted": True, "os": "Debian 13", "node": "pve1", "log": []},
        **{"problems": [], "remedy": ""},
        "began": None if at is None else BEGAN + at,
        "steps": [{"name": name, "seconds": seconds} for name, seconds in steps],
        "seconds": dict(steps),
        "installed": changes() if patched else [],
        "boot_id": {"before": "one", "after": "two" if patched else None},
        "kernel": {"before": KERNELS[0], "after": KERNELS[1] if patched else None},
        "security": security(closed=patched),
        "pending": [] if patched else changes(),
        "advice": advice("patch", ["the image is 120 days old; its release is supported for another 620 days"]),
        **more,
    }


def report(hosts: dict, waves: list, took: float, stopped: str = "", clusters: dict | None = None) -> dict:
    """A report of these hosts."""
    red = ("refused", "failed", "lost", "not attempted")
    wrong = [name for name, known in hosts.items() if known["result"] in red or not known["wanted"]]
    results = [known["result"] for known in hosts.values()]
    return {
        **{"schema": 3, "run": RUN, "began": BEGAN, "ended": BEGAN + took, "ok": not wrong, "wrong": wrong},
        "counts": {result: results.count(result) for result in sorted(set(results))},
        **{"waves": waves, "clusters": clusters or {}, "stopped": stopped, "hosts": hosts, "lines": []},
    }


PLAIN = (("claim", 0.4), ("upgrade", 41.2), ("lock", 0.3), ("reboot", 38.5), ("prove", 6.1))
NODE = (
    *(("claim", 0.6), ("gate", 2.2), ("upgrade", 63.0), ("drain", 48.4), ("lock", 0.3), ("reboot", 52.9)),
    *(("prove", 8.8), ("restore", 11.3), ("settle", 34.0)),
)
_REBUILD = ["the image is 690 days old; the policy says 365", "a newer image is published: 2026-11-10"]


STAYED = {"boot_id": {"before": "one", "after": "one"}, "kernel": {"before": KERNELS[1], "after": KERNELS[1]}}


def good() -> dict:
    """A run that went well: five VMs in two waves, then three K3s nodes one by one, one that was off, one held back."""
    old = advice("rebuild when convenient", _REBUILD, 690)
    held = [fix for fix in FIXES if fix[0] == "libxml2"]
    others = [fix for fix in FIXES if fix not in held]
    hosts = {
        "web1": host("patched", 34, PLAIN),
        "web2": host(
            "patched", 36, (("claim", 0.4), ("upgrade", 55.0), ("lock", 0.2), ("reboot", 31.0), ("prove", 5.0))
        ),
        "dns1": host(
            "patched", 33, (("claim", 0.4), ("upgrade", 22.0), ("restart services", 4.0), ("prove", 4.0)), **STAYED
        ),
        "db1": host(
            "patched", 132, (("claim", 0.5), ("upgrade", 96.0), ("lock", 6.0), ("reboot", 71.0), ("prove", 14.0))
        ),
        "git1": host(
            **{"result": "patched", "at": 131, "steps": PLAIN, "advice": old, "installed": changes(others)},
            security=security(closed=True, fixes=others) + security(closed=False, fixes=held),
            pending=[
                change("libxml2", held[0][2], held[0][3], security=held[0][3]),
                change("postgresql-17", "17.6-0+deb13u1", "17.7-0+deb13u1", held_by="held"),
            ],
        ),
        "k3s-agent1": host("patched", 326, NODE, node="pve2"),
        "k3s-agent2": host("patched", 552, NODE, node="pve3"),
        "k3s-server1": host("patched", 779, NODE),
        "nas1": host(
            "reboot pending",
            **{"at": 131, "steps": (("claim", 0.4), ("upgrade", 33.0), ("prove", 5.0))},
            **{"installed": changes(), "security": security(closed=True), "pending": [], "advice": old},
            reason="the running kernel is not the newest that is installed",
            **troubled("reboot it when it suits you", playbook("reboot", patching_hosts="nas1")),
        ),
        "lab1": host("powered off", security=None, pending=None, advice=None, reason="Proxmox VE says stopped"),
    }
    waves = [["dns1", "web1", "web2"], ["db1", "git1", "nas1"], ["k3s-agent1"], ["k3s-agent2"], ["k3s-server1"]]
    return report(hosts, waves, 1006, clusters={"k3s": ["k3s-agent1", "k3s-agent2", "k3s-server1"]})


def stopped() -> dict:
    """A run that stopped in its second wave."""
    hosts = good()["hosts"]
    never = {"reason": "the wave before had a failed host: db1", **troubled("run again"), "advice": None}
    for name in ("k3s-agent1", "k3s-agent2", "k3s-server1"):
        hosts[name] = host("not attempted", **never)
    hosts["db1"] = host(
        "failed",
        **{"at": 132, "steps": (("claim", 0.5), ("upgrade", 88.0)), "installed": changes(FIXES[:1])},
        security=security(closed=True, fixes=FIXES[:1]) + security(closed=False, fixes=FIXES[1:]),
        reason="upgrade: apt-get ended with 100: postgresql-17 could not be configured",
        **troubled(
            "put the packages in order, then run again, which does the rest",
            on_host("dpkg", "--audit", host="db1"),
            on_host("apt-get", "--fix-broken", "install", host="db1"),
        ),
        log=[
            "Setting up postgresql-17 (17.7-0+deb13u1) ...",
            "Job for postgresql@17-main.service failed because the control process exited with error code.",
            "dpkg: error processing package postgresql-17 (--configure):",
            " installed postgresql-17 package post-installation script subprocess returned error exit status 1",
            "E: Sub-process /usr/bin/dpkg returned an error code (1)",
        ],
    )
    hosts["mail1"] = host(
        "refused",
        **{"security": None, "pending": None, "advice": None, "os": ""},
        reason="unreachable: ssh: connect to host 198.18.0.31 port 22: No route to host",
        **troubled("check that ansible -m ping reaches it, then run again"),
    )
    waves = [["dns1", "web1", "web2"], ["db1", "git1", "nas1"], ["k3s-agent1"], ["k3s-agent2"], ["k3s-server1"]]
    clusters = {"k3s": ["k3s-agent1", "k3s-agent2", "k3s-server1"]}
    return report(hosts, waves, 262, "wave 2 of 5 had a failed host: db1", clusters)


def fleet(size: int) -> dict:
    """A big run in waves of ten; one host in the middle failed, and the run was allowed to go on."""
    names = [f"host{number:05}" for number in range(size)]
    hosts = {}
    for number, name in enumerate(names):
        slow = 1 + number % 7 / 3
        steps = tuple((step, round(seconds * slow, 1)) for step, seconds in PLAIN)
        more = {"installed": [change(f"package{each}", "1.0-1", "1.0-2") for each in range(20)]}
        hosts[name] = host("patched", 60 + number // 10 * 300, steps, **more)
    if size > 10:
        wrong = {"reason": "prove: nginx.service has failed since the baseline", **troubled("run again")}
        hosts[names[size // 2]] = host("failed", 60 + size // 2 // 10 * 300, PLAIN, **wrong)
    waves = [names[at : at + 10] for at in range(0, size, 10)]
    return report(hosts, waves, 60 + len(waves) * 300)


def second(made: dict) -> dict:
    """The same run as the second schema told it."""
    hosts = {}
    for name, host in made["hosts"].items():
        kept = {
            field: value
            for field, value in host.items()
            if field not in ("installed", "pending", "security", "problems")
        }
        pending = host["pending"]
        hosts[name] = {
            **kept,
            "packages": [{field: each[field] for field in ("name", "old", "new")} for each in host["installed"]],
            "kept_back": [{"name": each["name"], "why": each["held_by"]} for each in pending or [] if each["held_by"]],
            "pending": pending
            and [
                {**{field: each[field] for field in ("name", "old", "new")}, "security": bool(each["security"])}
                for each in pending
                if not each["held_by"]
            ],
            "security": host["security"]
            and [
                {"package": each["name"], **{field: each[field] for field in ("source", "old", "new", *EXPOSED)}}
                for each in host["security"]
            ],
        }
    return {**made, "schema": 2, "hosts": hosts}


def early(made: dict) -> dict:
    """The same run as the first schema told it."""
    made = second(made)
    known = ("result", "reason", "remedy", "wanted", "packages", "seconds", "boot_id", "kernel", "kept_back", "log")
    hosts = {name: {field: each[field] for field in known} for name, each in made["hosts"].items()}
    fields = ("run", "ok", "wrong", "counts", "lines")
    return {"schema": 1, "hosts": hosts, **{field: made[field] for field in fields}}


HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def hostile() -> dict:
    """A run on a host whose every word is HTML."""
    made = good()
    known = made["hosts"].pop("web1")
    script = "</script><script>document.title='owned'</script>"
    known["installed"][0] |= {"name": script, "new": HOSTILE}
    known["security"][0] |= {"name": script, "source": HOSTILE, "new": script, "cves": [script], "since": HOSTILE}
    known |= {
        "result": "failed",
        "reason": script,
        "log": [script],
        **troubled(script, on_host("dpkg", HOSTILE, host=script)),
    }
    known |= {"os": script, "node": HOSTILE, "advice": advice("rebuild", [HOSTILE, script])}
    known["steps"].append({"name": HOSTILE, "seconds": 30})
    known["pending"] = [change(script, HOSTILE, script), change(HOSTILE, script, script, held_by=script)]
    hosts = {HOSTILE: known, **made["hosts"]}
    waves = [[HOSTILE if name == "web1" else name for name in wave] for wave in made["waves"]]
    return report(hosts, waves, 1006, stopped=script, clusters={script: [HOSTILE]})


def check_report(report: dict) -> None:
    """Make sure that a report is as docs/report.schema.json says; every report that a test sees comes by here."""
    from jsonschema import validate  # noqa: PLC0415 - the benchmarks use this file and have no jsonschema

    validate(report, json.loads(SCHEMA.read_text()))
