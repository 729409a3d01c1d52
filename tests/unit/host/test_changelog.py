"""What a changelog says of an update: which CVEs, since when, and when that is not known."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.host import changelog, debs

TEXT = """openssl (3.0.17-1~deb12u3) bookworm-security; urgency=medium

  * CVE-2025-9230 (out-of-bounds read); see also cve-2025-9231.

 -- Sebastian <sebastian@example.org>  Tue, 30 Sep 2025 20:10:00 +0200

openssl (3.0.17-1~deb12u2) bookworm; urgency=medium

  * Import 3.0.17.

 -- Sebastian <sebastian@example.org>  Sat, 19 Jul 2025 23:30:00 -0400

openssl (3.0.16-1~deb12u1) bookworm-security; urgency=high

  * CVE-2024-13176.

 -- Salvatore <carnil@example.org>  Mon, 05 May 2025 10:00:00 +0000
"""
SIGNED = TEXT.replace("openssl (3.0.17-1~deb12u2)", "open (3.0.17-1~deb12u2)").replace(
    "openssl (3.0.17-1~deb12u3)", "open-signed (3.0.17-1~deb12u3)"
)
SHORT = TEXT.partition("openssl (3.0.16")[0].replace("CVE-2025", "C").replace("cve-2025", "c")
UNSTABLE = TEXT.replace(" bookworm; ", " unstable; ").replace("Import", "CVE-2025-1111")
NEW = "3.0.17-1~deb12u3"
# As a stable release takes over a fix of unstable: the version that came first is the higher one.
BACKPORT = """needrestart (3.11-1.1~deb13u2) trixie-security; urgency=high

  * Fix the backport.

 -- Salvatore <carnil@example.org>  Thu, 19 Nov 2026 00:05:06 +0100

needrestart (3.11-1.1~deb13u1) trixie-security; urgency=high

  * Rebuild for trixie-security

 -- Salvatore <carnil@example.org>  Wed, 18 Nov 2026 19:49:28 +0100

needrestart (3.11-1.1) unstable; urgency=high

  * Escape (CVE-2026-4444).

 -- Salvatore <carnil@example.org>  Tue, 17 Nov 2026 22:47:05 +0100

needrestart (3.11-1) unstable; urgency=medium

  * CVE-2024-48990

 -- Patrick <patrick@example.org>  Fri, 06 Jun 2025 12:00:00 +0200
"""
BOTH = ["CVE-2025-9230", "CVE-2025-9231"]


@pytest.mark.parametrize(
    ("text", "source", "old", "new", "cves", "fixed"),
    [
        (TEXT, "openssl", "3.0.16-1~deb12u1", NEW, BOTH, "2025-09-30"),
        # The oldest fix counts, and its day is that of UTC.
        (TEXT, "openssl", "3.0.15-1", NEW, None, "2025-05-05"),
        (TEXT, "openssl", "3.0.16-1~deb12u1", "3.0.17-1~deb12u2", [], "2025-07-20"),
        (TEXT, "openssl", NEW, NEW, None, None),
        # What is newer than what would be installed is none of it.
        (TEXT, "openssl", "3.0.16-1~deb12u1", "3.0.16-1~deb12u1", None, None),
        # Cut short before the installed version, and no CVE so far: unknown, and not none.
        (SHORT, "openssl", "3.0.1", NEW, None, "2025-07-20"),
        # An entry for another release reached this one only with the next entry for it.
        (UNSTABLE, "openssl", "3.0.16-1~deb12u1", NEW, ["CVE-2025-1111", *BOTH], "2025-09-30"),
        (BACKPORT, "needrestart", "3.11-1", "3.11-1.1~deb13u2", ["CVE-2026-4444"], "2026-11-18"),
        (BACKPORT, "needrestart", "3.11-1.1~deb13u1", "3.11-1.1~deb13u2", [], "2026-11-18"),
        # Another source's text, or none.
        (TEXT, "curl", "3.0.16-1~deb12u1", NEW, None, None),
        ("", "openssl", "1", "2", None, None),
        ("\x00 no changelog", "openssl", "1", "2", None, None),
        # A signed kernel has the entries of what it was made from.
        (SIGNED, "open-signed", "3.0.16-1~deb12u1", NEW, BOTH, "2025-09-30"),
        # An entry without its end does not count.
        (TEXT.partition(" -- ")[0], "openssl", "3.0.16-1~deb12u1", NEW, None, None),
        (TEXT.replace("30 Sep 2025", "99 Foo"), "openssl", "3.0.16-1~deb12u1", NEW, BOTH, None),
    ],
)
def test_what_is_between_two_versions(text, source, old, new, cves, fixed):
    told = changelog.fixes(text, source, old, new, debs.compare)
    if old == "3.0.15-1":
        cves = ["CVE-2024-13176", *BOTH]
    assert told == {"cves": cves, "fixed": fixed}


# As long as a changelog that is read at all.
LONG = 4_000_000


@pytest.mark.parametrize(
    "line",
    [
        f"openssl (3.0.18){' ' * LONG}",
        f"openssl (3.0.18) {'a ' * (LONG // 2)}",
        f" -- {'<' * LONG}",
        f" -- <>{' ' * LONG}",
        f" -- <a> {'1 ' * (LONG // 2)}",
        "CVE-2025-" + "1" * LONG + "x",
        "CVE-2025-" * (LONG // 9),
    ],
    ids=lambda line: line[:20],
)
def test_no_line_takes_longer_than_it_is_long(line):
    """With an expression that goes over it again and again this would not end today."""
    text = TEXT.replace("  * CVE-2025", f"{line}\n  * CVE-2025")
    found = list(changelog.entries(text, "openssl"))
    assert found[-1].cves == {"CVE-2024-13176"}
    assert {cve for entry in found for cve in entry.cves} >= {"CVE-2024-13176"}
