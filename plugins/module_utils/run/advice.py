# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patch or rebuild? An advice with its reasons; a person decides. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from ..core.shapes import Os, Rebuild, Some
from .shapes import Advice, Assessment, Losses, Policy, Published

PATCH, CONVENIENT, REBUILD = "patch", "rebuild when convenient", "rebuild"


def advise(known: Assessment, policy: Policy, published: Iterable[Published], today: date) -> Advice:
    """What to do about one host in the long run.

    :param published: images that can be had, see `images`.
    """
    host, image = known["host"], known["image"]
    facts: Rebuild = host.get("rebuild") or {}
    why, level = [], 0

    ends = facts.get("end_of_support", "")
    left = (date.fromisoformat(ends) - today).days if ends else None
    if left is None:
        why.append("when the support of its release ends is not known")
    elif left < 0:
        level = 2
        why.append(f"its release has no support since {ends}")
    elif left < int(policy["rebuild_support_days"]):
        level = 1
        why.append(f"the support of its release ends on {ends}, in {left} days")

    age = (today - date.fromisoformat(image["date"])).days if image["date"] else None
    if age is None:
        why.append("the age of its image is not known")
    elif age > int(policy["rebuild_image_days"]):
        level = max(level, 1)
        why.append(f"its image is {age} days old")

    newer = _newer(host["os"], image["date"], published)
    if newer:
        why.append(f"a newer image is published: {newer}")
    nothing: Some = {"count": 0, "names": []}
    losses: Losses = {
        "manual": facts.get("manual", nothing),
        "conffiles": facts.get("conffiles", nothing),
        "volumes": facts.get("volumes", nothing),
    }
    k3s = host.get("k3s")
    if level:
        why.append(_told(losses))
    return {
        "advice": (PATCH, CONVENIENT, REBUILD)[level],
        "why": [reason for reason in why if reason],
        "image": {"name": image["name"], "date": image["date"], "age_days": age, "newer": newer},
        "end_of_support": ends,
        "takes_along": [f"K3s {k3s['role']}"] if k3s else [],
        "loses": losses,
    }


def _told(losses: Losses) -> str:
    words = (
        (losses["manual"], "packages installed by hand"),
        (losses["conffiles"], "changed configuration files"),
        (losses["volumes"], "volumes"),
    )
    counted = [f"{some['count']} {what}" for some, what in words if some["count"]]
    return f"a rebuild would lose {', '.join(counted)}" if counted else ""


def _newer(system: Os, made: str, published: Iterable[Published]) -> str:
    """The newest image of this release that is younger than the host's own; empty: none that is known."""
    mine = [image for image in published if (image["os"], image["version"]) == (system["id"], system["version_id"])]
    newest = max(mine, key=lambda image: image["date"], default=None)
    return f"{newest['name']} of {newest['date']}" if newest and made and newest["date"] > made else ""


def images(catalogue: object) -> list[Published]:
    """The images that a catalogue lists, their ``os`` as ID of os-release.

    :param catalogue: what was read: simplestreams, as Ubuntu publishes it (``products`` with ``versions``), or
        ``{"images": [{"os": ..., "version": ..., "date": "YYYY-MM-DD", "name": ...}]}``.
    :raises ValueError: it is neither; says where.
    """
    if not isinstance(catalogue, Mapping) or not ({"products", "images"} & catalogue.keys()):
        raise ValueError("it has neither `products` (simplestreams) nor `images`")
    found: list[Published] = []
    for number, image in enumerate(catalogue.get("images") or []):
        try:
            day = date.fromisoformat(image["date"]).isoformat()
            found.append({"os": image["os"], "version": str(image["version"]), "date": day, "name": image["name"]})
        except (KeyError, TypeError, ValueError) as exc:
            raise ValueError(f"images[{number}] needs os, version, date (YYYY-MM-DD) and name: {exc}") from exc
    for product in (catalogue.get("products") or {}).values():
        for serial in product.get("versions") or {}:
            # A serial is a day, and `.1` behind it for the second image of that day.
            digits = serial.partition(".")[0]
            if len(digits) == 8 and digits.isdigit():
                found.append(
                    {
                        "os": product.get("os", ""),
                        "version": str(product.get("version", "")),
                        "date": f"{digits[:4]}-{digits[4:6]}-{digits[6:]}",
                        "name": f"{product.get('release', '')} {serial}".strip(),
                    }
                )
    return found
