# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The changelogs inside packages that apt has downloaded: offline, and before anything is installed.

It runs on the hosts (Python 3.10).
"""

from __future__ import annotations

import gzip
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterable
from functools import cmp_to_key
from pathlib import Path
from urllib.parse import unquote

from ..core.change import split
from . import changelog as changelogs
from . import system

ARCHIVES = Path("/var/cache/apt/archives")
_DOC = "usr/share/doc/"
# Of a changelog, unpacked; the kernel's has 2 MB. What is further back is older than any host.
_MOST_BYTES = 4_000_000
UNKNOWN: dict = {"cves": None, "fixed": None}


def compare(one: str, other: str) -> int:
    """dpkg's comparison of two versions: below 0, 0, or above."""
    for relation, result in (("lt", -1), ("gt", 1)):
        if system.run(["dpkg", "--compare-versions", one, relation, other]).returncode == 0:
            return result
    return 0


def fixes(names: Iterable[str], seconds: float, archives: Path = ARCHIVES) -> dict:
    """What the downloaded updates of some packages fix.

    :param names: full names of binary packages.
    :param seconds: to spend on it; who is not read by then is unknown.
    :param archives: the folder of apt's cache.
    :returns: name -> ``source``, ``cves`` and ``fixed``, see `changelog.fixes`; only those that were downloaded.
    """
    end = time.monotonic() + seconds
    wanted = [deb for deb in (_update(name, archives) for name in names) if deb]
    read: dict = {}
    # The smallest of a source first: they all have the same changelog, if they have one.
    for deb in sorted(wanted, key=lambda each: each["path"].stat().st_size):
        what = deb["source"], deb["old"], deb["new"]
        if read.get(what, UNKNOWN) == UNKNOWN:
            text = changelog(deb["path"], deb["source"], end)
            read[what] = changelogs.fixes(text, deb["source"], deb["old"], deb["new"], compare) if text else UNKNOWN
    return {deb["name"]: {"source": deb["source"], **read[deb["source"], deb["old"], deb["new"]]} for deb in wanted}


def _file(package: str, archives: Path) -> Path | None:
    """The newest version of a package in apt's cache."""
    # apt writes a colon in a version as %3a.
    found = {unquote(path.name.split("_")[1]): path for path in archives.glob(f"{package}_*_*.deb")}
    return found[max(found, key=cmp_to_key(compare))] if found else None


def _update(name: str, archives: Path) -> dict | None:
    """What has to be known of a downloaded update; None where there is none that can be read."""
    path = _file(split(name)[0], archives)
    # One line for each architecture that it is installed for, all of one version.
    old = system.run(["dpkg-query", "-W", "-f", "${source:Version}\\n", name]).stdout.split()
    if not path or not old:
        return None
    told = system.run(["dpkg-deb", "--field", str(path), "Package", "Source", "Version"]).stdout
    fields = dict(line.split(": ", 1) for line in told.splitlines() if ": " in line)
    if "Package" not in fields:
        return None
    # `Source: NAME` or `Source: NAME (VERSION)`; what it does not say is the package's own.
    source, _space, version = (fields.get("Source") or fields["Package"]).partition(" ")
    return {
        "name": name,
        "path": path,
        "source": source,
        "old": old[0],
        "new": version.strip("()") or fields["Version"],
    }


def changelog(deb: Path, source: str, end: float, follow: bool = True) -> str:
    """The changelog of a source package inside a binary one; empty where there is none.

    :param end: when to give up, by the monotonic clock.
    :param follow: whether a link to the documentation of another package leads there, if apt has downloaded it too.
    """
    seconds = end - time.monotonic()
    if seconds <= 0:
        return ""
    folder = _DOC + deb.name.split("_")[0]
    # Native packages and kernels have no `Debian` in the name; elsewhere that is the changelog of upstream.
    wanted = [f"{folder}/changelog.Debian.gz", f"{folder}/changelog.gz"]
    command = ["timeout", f"{seconds:.1f}", "dpkg-deb", "--fsys-tarfile", str(deb)]
    # A client knows no AnsibleModule, and this is read as a stream.
    with subprocess.Popen(  # pylint: disable=ansible-bad-function
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                for member in tar:
                    name = member.name[2:] if member.name.startswith("./") else member.name
                    if name == folder and member.issym() and follow:
                        target = _file(Path(member.linkname).name, deb.parent)
                        return changelog(target, source, end, follow=False) if target else ""
                    if name in wanted and member.isfile():
                        text = (
                            gzip.GzipFile(fileobj=tar.extractfile(member)).read(_MOST_BYTES).decode("utf-8", "replace")
                        )
                        if text.startswith(f"{source} ("):
                            return text
        except (tarfile.TarError, OSError, EOFError, zlib.error):
            return ""
        finally:
            process.kill()
    return ""
