# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own signed apt repository: packages made on the spot for the awkward cases."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from lab.config import GATEWAY, REPO, REPO_PORT, STATE, LabError
from lab.system import run
from lab.table import Suite, Table

ADDRESS = f"http://{GATEWAY}:{REPO_PORT}"
GNUPG = STATE / "gnupg"
SIGNER = "lab@homelab.invalid"
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")


@contextmanager
def _changing() -> Iterator[None]:
    """One change of the repository at a time."""
    if not REPO.is_dir():
        raise LabError("the lab is not up; start it: tools/lab up")
    with (REPO / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _gpg(*words: str, text: str | None = None) -> str:
    return run("gpg", "--homedir", GNUPG, "--batch", "--quiet", "--no-tty", *words, text=text)


def make_key() -> None:
    """Make the signing key, once per lab."""
    if not (GNUPG / "lab.gpg").exists():
        GNUPG.mkdir(parents=True, mode=0o700)
        _gpg(
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
            "--quick-generate-key",
            SIGNER,
            "ed25519",
            "sign",
            "never",
        )
        _gpg("--output", str(GNUPG / "lab.gpg.new"), "--export", SIGNER)
        (GNUPG / "lab.gpg.new").rename(GNUPG / "lab.gpg")
        stop_agent()


def stop_agent() -> None:
    """gpg leaves an agent running; the lab leaves nothing."""
    run("gpgconf", "--homedir", GNUPG, "--kill", "all")


def _write(path: Path, data: bytes) -> None:
    """Write aside and rename: apt in a host never reads half a file.

    A file is always at least two seconds younger than the one it replaces: http counts in seconds, and a host that
    asks "newer than?" must not be told no after two changes within one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(data)
    if path.exists():
        younger = max(int(aside.stat().st_mtime), int(path.stat().st_mtime) + 2)
        os.utime(aside, (younger, younger))
    aside.rename(path)


def release(suite: Suite, architecture: str, files: Mapping[str, bytes], now: datetime) -> str:
    """The text of a Release file."""
    fields = {
        "Origin": suite.origin,
        "Label": suite.label,
        "Suite": suite.name,
        "Codename": suite.codename or suite.name,
        "Date": now.strftime("%a, %d %b %Y %H:%M:%S +0000"),
        "Architectures": f"{architecture} all",
        "Components": "main",
        "Acquire-By-Hash": "yes",
    }
    sums = "".join(f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n" for name, data in files.items())
    return "".join(f"{key}: {value}\n" for key, value in fields.items()) + "SHA256:\n" + sums


def _suites() -> dict[str, Suite]:
    return {row["name"]: Suite(**row) for row in json.loads((REPO / "suites.json").read_text())}


def _index(suite: Suite) -> None:
    """Make the signed indices of a suite anew."""
    architecture = run("dpkg", "--print-architecture").strip()
    stanzas = sorted((REPO / "pool" / suite.name).glob("*.stanza"))
    packages = "\n".join(stanza.read_text() for stanza in stanzas).encode()
    folder = REPO / "dists" / suite.name
    # apt reads Packages by its hash, so an index that it is just reading stays as it was.
    files = {
        f"main/binary-{architecture}/Packages": packages,
        f"main/binary-{architecture}/Packages.gz": gzip.compress(packages, mtime=0),
    }
    for name, data in files.items():
        _write(folder / name, data)
        _write((folder / name).parent / "by-hash/SHA256" / hashlib.sha256(data).hexdigest(), data)
    text = release(suite, architecture, files, datetime.now(timezone.utc))
    _write(
        folder / "InRelease", _gpg("--local-user", SIGNER, "--digest-algo", "SHA512", "--clearsign", text=text).encode()
    )


def _save_suites(suites: Mapping[str, Suite]) -> None:
    _write(REPO / "suites.json", json.dumps([vars(suite) for suite in suites.values()]).encode())


def _build(
    name: str, version: str, architecture: str, fields: Mapping[str, str], scripts: Mapping[str, str],
    conffiles: Mapping[str, str], files: Mapping[str, str], changelog: str, target: Path,
) -> str:  # fmt: skip
    """Build a .deb; the text of its control file."""
    control = {
        "Package": name,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": f"The lab <{SIGNER}>",
        "Section": "misc",
        "Priority": "optional",
        "Description": "a package of the lab",
        **fields,
    }
    text = "".join(f"{key}: {value}\n" for key, value in control.items())
    with tempfile.TemporaryDirectory(dir=REPO, prefix=".build-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        (root / "DEBIAN").mkdir(mode=0o755)
        (root / "DEBIAN/control").write_text(text)
        for script, body in scripts.items():
            path = root / "DEBIAN" / script
            path.write_text(body if body.startswith("#!") else f"#!/bin/sh\nset -e\n{body.strip()}\n")
            path.chmod(0o755)
        if conffiles:
            (root / "DEBIAN/conffiles").write_text("".join(f"{path}\n" for path in conffiles))
        for place, body in {**files, **conffiles}.items():
            if not place.startswith("/") or ".." in place:
                raise LabError(f"a file of a package needs an absolute path, not {place}")
            inside = root / place.lstrip("/")
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_text(body)
            inside.chmod(0o755 if body.startswith("#!") else 0o644)
        if changelog:
            inside = root / f"usr/share/doc/{name}/changelog.gz"
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.write_bytes(gzip.compress(changelog.lstrip().encode(), mtime=0))
        run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", root, target)
    return text


def _file_version(version: str) -> str:
    """A version as file names of an archive have it: without the epoch."""
    return version.rpartition(":")[2]


def _add(
    suite: str, name: str, version: str, *, architecture: str = "all", fields: Mapping[str, str] | None = None,
    index_fields: Mapping[str, str] | None = None, scripts: Mapping[str, str] | None = None,
    conffiles: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None, changelog: str = "",
    offered: bool = True,
) -> Path:  # fmt: skip
    """Build a package into a suite's pool, with its stanza of the index if it is to be offered."""
    place = f"pool/{suite}/{name}_{_file_version(version)}_{architecture}.deb"
    target = REPO / place
    target.parent.mkdir(parents=True, exist_ok=True)
    wanted = {key: text for key, text in (scripts or {}).items() if text}
    control = _build(name, version, architecture, fields or {}, wanted, conffiles or {}, files or {}, changelog, target)
    stanza = target.with_suffix(".stanza")
    stanza.unlink(missing_ok=True)
    if offered:
        data = target.read_bytes()
        more = "".join(f"{key}: {value}\n" for key, value in (index_fields or {}).items())
        digest = hashlib.sha256(data).hexdigest()
        stanza.write_text(f"{control}{more}Filename: {place}\nSize: {len(data)}\nSHA256: {digest}\n")
    return target


def publish(
    name: str, version: str, *, suite: str = "lab", architecture: str = "all", depends: str = "",
    fields: Mapping[str, str] | None = None, index_fields: Mapping[str, str] | None = None,
    preinst: str = "", postinst: str = "", prerm: str = "", postrm: str = "",
    conffiles: Mapping[str, str] | None = None, files: Mapping[str, str] | None = None, offered: bool = True,
) -> Path:  # fmt: skip
    """Build a package and offer it in a suite; the path of its .deb.

    :param fields: more fields of the control file. :param index_fields: fields of the index alone, such as
        Phased-Update-Percentage. :param offered: False: build it, but keep it out of the index.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
        raise LabError(f"{name!r} is no name of a package (two or more lower case letters, digits, + - .)")
    if not re.fullmatch(r"[0-9][A-Za-z0-9.+:~-]*", version):
        raise LabError(f"{version!r} is no version of a package (it begins with a digit)")
    with _changing():
        known = _suites()
        if suite not in known:
            raise LabError(f"no suite {suite} in the lab's repository; there are: {', '.join(known)}")
        made = _add(
            suite, name, version, architecture=architecture, index_fields=index_fields, offered=offered,
            fields={**({"Depends": depends} if depends else {}), **(fields or {})},
            scripts=dict(zip(SCRIPTS, (preinst, postinst, prerm, postrm), strict=True)),
            conffiles=conffiles, files=files,
        )  # fmt: skip
        _index(known[suite])
        stop_agent()
    return made


def unpublish(name: str, version: str | None = None, *, suite: str | None = None) -> int:
    """Take a package (of all versions and suites, unless named) out of the repository; how many there were."""
    with _changing():
        known = _suites()
        gone = 0
        for each in known.values():
            if suite and each.name != suite:
                continue
            found = list((REPO / "pool" / each.name).glob(f"{name}_{_file_version(version or '*')}_*"))
            gone += sum(path.suffix == ".deb" for path in found)
            for path in found:
                path.unlink()
            if found:
                _index(each)
        stop_agent()
    return gone


def suite(name: str, *, origin: str = "Lab", label: str = "Lab", codename: str = "") -> str:
    """Add a suite, or give one other Release fields; the line for a host's sources.list."""
    with _changing():
        known = _suites()
        known[name] = Suite(name=name, origin=origin, label=label, codename=codename)
        _save_suites(known)
        _index(known[name])
        stop_agent()
    return source(name)


def source(name: str) -> str:
    """The line of sources.list for a suite."""
    return f"deb [signed-by=/etc/apt/keyrings/lab.gpg] {ADDRESS} {name} main"


def defaults(table: Table) -> None:
    """Put the repository back to what hosts.toml says."""
    REPO.mkdir(parents=True, exist_ok=True)
    with _changing():
        for folder in ("pool", "dists"):
            shutil.rmtree(REPO / folder, ignore_errors=True)
        _save_suites({each.name: each for each in table.suites})
        for package in table.packages:
            scripts = {"postinst": package.postinst}
            _add(
                package.suite, package.name, package.version, scripts=scripts, changelog=package.changelog,
                offered=package.offered,
            )  # fmt: skip
        for each in table.suites:
            _index(each)
        stop_agent()


def deb(name: str, version: str) -> Path:
    """The .deb of a package of the repository, offered or not."""
    found = sorted((REPO / "pool").glob(f"*/{name}_{version}_*.deb"))
    if not found:
        raise LabError(f"the lab's repository has no {name} {version}")
    return found[0]


def listing() -> list[str]:
    """What is offered: `suite name version` lines."""
    out = []
    for stanza in sorted((REPO / "pool").glob("*/*.stanza")):
        name, version, _ = stanza.stem.rsplit("_", 2)
        out.append(f"{os.path.basename(stanza.parent)} {name} {version}")
    return out
