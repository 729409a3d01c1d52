# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab's K3s comes from, how its hosts are configured, and the one image; without machines."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("tomllib", reason="the lab needs Python 3.11")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from lab import checks, containers, k3s
from lab.config import LabError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def releases(tmp_path, monkeypatch):
    """A server with one release, and an empty cache; the folder of the release."""
    folder = tmp_path / "releases" / k3s.VERSION
    folder.mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "releases")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("LAB_K3S_RELEASES", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("K3S_BINARY", raising=False)
    monkeypatch.setattr(k3s, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(k3s, "RUNTIME", "containerd")
    yield folder
    server.shutdown()
    server.server_close()


def publish(folder: Path, data: bytes, listed: bytes) -> None:
    arm = os.uname().machine == "aarch64"
    name, sums = ("k3s-arm64", "sha256sum-arm64.txt") if arm else ("k3s", "sha256sum-amd64.txt")
    (folder / name).write_bytes(data)
    (folder / sums).write_text(f"{'0' * 64}  k3s-airgap.tar\n{hashlib.sha256(listed).hexdigest()}  {name}\n")


def test_the_official_release_is_downloaded_once_and_checked(releases):
    publish(releases, b"the binary", b"the binary")
    kept = k3s.binary()
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (b"the binary", 0o755)
    for each in releases.iterdir():
        each.unlink()
    assert k3s.binary() == kept == k3s.found()


def test_a_release_that_is_not_what_its_list_says_is_not_kept(releases):
    publish(releases, b"something else", b"the binary")
    with pytest.raises(LabError, match=r"is not what sha256sum-.* says .*nothing was kept"):
        k3s.binary()
    assert k3s.found() is None
    assert not [path for path in (releases.parents[1] / "cache").rglob("*") if path.is_file()]


def test_a_release_that_cannot_be_had_says_what_to_do(releases):
    with pytest.raises(LabError, match=r"cannot be had .*K3S_BINARY=/path/k3s"):
        k3s.binary()


def test_a_named_binary_comes_first_and_has_to_be_there(releases, tmp_path, monkeypatch):
    monkeypatch.setenv("K3S_BINARY", str(tmp_path / "none"))
    with pytest.raises(LabError, match="there is no such file"):
        k3s.binary()
    (tmp_path / "mine").touch()
    monkeypatch.setenv("K3S_BINARY", str(tmp_path / "mine"))
    assert k3s.binary() == tmp_path / "mine"


def test_without_containers_only_the_stand_in_is_taken(releases, tmp_path, monkeypatch):
    monkeypatch.setattr(k3s, "RUNTIME", "")
    for name in (f"k3s-{k3s.VERSION}", "k3s-0123456789ab"):
        (tmp_path / "cache" / name).mkdir(parents=True)
        (tmp_path / "cache" / name / "k3s").touch()
    assert k3s.found() == tmp_path / "cache" / "k3s-0123456789ab" / "k3s"


def test_the_first_server_begins_the_cluster_and_the_others_join_it():
    def made(host: str, etcd: bool = True) -> dict:
        return k3s.config(host, "198.18.0.12", ["a", "b"], "198.18.0.11", etcd)

    assert made("a")["cluster-init"] is True and "server" not in made("a")
    assert "cluster-init" not in made("a", etcd=False)
    assert made("b")["server"] == made("w")["server"] == "https://198.18.0.11:6443"
    assert made("w")["node-name"] != "w"
    # An agent does not know a server's options, and K3s does not start with one that it does not know.
    assert set(made("w")) == {"node-ip", "token", "node-name", "server"}


def test_several_servers_want_etcd_and_a_host_is_named_once():
    with pytest.raises(LabError, match="several servers want --datastore etcd"):
        k3s.cluster(["a", "b"], etcd=False)
    with pytest.raises(LabError, match="a: named twice"):
        k3s.cluster(["a"], ["a"], etcd=True)


def test_the_image_is_what_its_own_list_says():
    with tarfile.open(fileobj=io.BytesIO(containers.image(b"\x7fELF"))) as archive:
        files = {name: archive.extractfile(name).read() for name in archive.getnames()}
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == [containers.IMAGE]
    (layer,) = (files[name] for name in manifest["Layers"])
    config = json.loads(files[manifest["Config"]])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as inner:
        assert inner.getmember("bin/busybox").mode == 0o755


@pytest.mark.parametrize(
    ("unified", "distros", "says"),
    [
        (False, ["debian-12"], ""),
        (False, ["debian-12", "debian-13"], "LAB_DISTRO=debian-12"),
        (True, ["debian-13"], ""),
    ],
)
def test_containers_want_cgroups_that_the_hosts_systemd_knows(monkeypatch, unified, distros, says):
    monkeypatch.setattr(checks, "RUNTIME", "containerd")
    monkeypatch.setattr(containers, "unified", lambda: unified)
    if says:
        with pytest.raises(LabError, match=says):
            checks.runtime(distros)
    else:
        checks.runtime(distros)
    monkeypatch.setattr(checks, "RUNTIME", "docker")
    with pytest.raises(LabError, match="LAB_RUNTIME=docker: only containerd is known"):
        checks.runtime(distros)
