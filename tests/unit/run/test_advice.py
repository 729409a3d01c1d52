"""Patch or rebuild: a table of cases, and the catalogues of images that can be had."""

from datetime import date

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.run import advice as advising

TODAY = date(2026, 11, 23)
NOBLE = {"id": "ubuntu", "version_id": "24.04"}
NOTHING = {"count": 0, "names": []}


def advise(made="2026-06-01", ends="2029-05-31", published=(), k3s=None, **facts):
    known = {
        "host": {"os": NOBLE, "rebuild": {"end_of_support": ends, **facts}, "k3s": k3s},
        "image": {"name": "noble" if made else "", "date": made},
        "policy": {"rebuild_image_days": 365, "rebuild_support_days": 90},
    }
    return advising.advise(known, known["policy"], published, TODAY)


@pytest.mark.parametrize(
    ("given", "advice", "why"),
    [
        ({}, "patch", []),
        ({"made": "2025-11-23"}, "patch", []),  # 365 days are not yet too many.
        ({"made": "2025-11-22"}, "rebuild when convenient", ["its image is 366 days old"]),
        ({"made": ""}, "patch", ["the age of its image is not known"]),
        ({"ends": "2026-11-22"}, "rebuild", ["its release has no support since 2026-11-22"]),
        (
            {"ends": "2026-11-23"},
            "rebuild when convenient",
            ["the support of its release ends on 2026-11-23, in 0 days"],
        ),
        (
            {"ends": "2027-02-20"},
            "rebuild when convenient",
            ["the support of its release ends on 2027-02-20, in 89 days"],
        ),
        ({"ends": "2027-02-21"}, "patch", []),
        ({"ends": ""}, "patch", ["when the support of its release ends is not known"]),
        (
            {"ends": "2020-01-01", "made": "2020-01-01"},
            "rebuild",
            ["its release has no support since 2020-01-01", "its image is 2518 days old"],
        ),
        (
            {
                "made": "2025-01-01",
                "manual": {"count": 2, "names": ["a", "b"]},
                "volumes": {"count": 1, "names": ["/v"]},
            },
            "rebuild when convenient",
            ["its image is 691 days old", "a rebuild would lose 2 packages installed by hand, 1 volumes"],
        ),
        # A newer image alone is no reason: that was decided.
        (
            {"published": [{"os": "ubuntu", "version": "24.04", "date": "2026-11-01", "name": "noble 20261101"}]},
            "patch",
            ["a newer image is published: noble 20261101 of 2026-11-01"],
        ),
        ({"published": [{"os": "ubuntu", "version": "24.04", "date": "2026-06-01", "name": "n"}]}, "patch", []),
        ({"published": [{"os": "ubuntu", "version": "22.04", "date": "2026-11-01", "name": "n"}]}, "patch", []),
        (
            {"made": "", "published": [{"os": "ubuntu", "version": "24.04", "date": "2026-11-01", "name": "n"}]},
            "patch",
            ["the age of its image is not known"],
        ),
    ],
)
def test_advice(given, advice, why):
    told = advise(**given)
    assert (told["advice"], told["why"]) == (advice, why)


def test_what_a_rebuild_takes_along_and_loses():
    told = advise(k3s={"role": "agent"}, conffiles={"count": 1, "names": ["/etc/motd"]})
    assert told["takes_along"] == ["K3s agent"]
    assert told["loses"] == {"manual": NOTHING, "conffiles": {"count": 1, "names": ["/etc/motd"]}, "volumes": NOTHING}
    assert told["image"] == {"name": "noble", "date": "2026-06-01", "age_days": 175, "newer": ""}


def test_simplestreams():
    streams = {
        "products": {
            "com.ubuntu.cloud:server:24.04:amd64": {
                **{"os": "ubuntu", "version": "24.04", "release": "noble"},
                "versions": {"20261101": {}, "20261120.1": {}, "release": {}},
            }
        }
    }
    assert advising.images(streams) == [
        {"os": "ubuntu", "version": "24.04", "date": "2026-11-01", "name": "noble 20261101"},
        {"os": "ubuntu", "version": "24.04", "date": "2026-11-20", "name": "noble 20261120.1"},
    ]


def test_a_list_of_images():
    image = {"os": "debian", "version": "12", "date": "2026-10-01", "name": "bookworm"}
    assert advising.images({"images": [{**image, "url": "x"}]}) == [image]


@pytest.mark.parametrize(
    ("catalogue", "says"),
    [
        ([], "neither"),
        ({}, "neither"),
        ({"images": [{"os": "debian"}]}, r"images\[0\] needs"),
        ({"images": [{"os": "debian", "version": "12", "date": "soon", "name": "x"}]}, r"images\[0\].*soon"),
    ],
)
def test_what_is_no_catalogue_is_said(catalogue, says):
    with pytest.raises(ValueError, match=says):
        advising.images(catalogue)
