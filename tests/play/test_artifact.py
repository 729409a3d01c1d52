"""The artifact that Galaxy gets: it holds what users need and nothing else, and works alone."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
USERS_NEED = {
    *("CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"),
    *("changelogs", "docs", "examples", "meta", "playbooks", "plugins", "requirements", "roles"),
}
# What a user of the checkout keeps in it, and nobody else may have.
OWN = [
    *("proxmox.env", ".env", "docs/proxmox.env", "pve-root-ca.pem", "docs/id.key", "plan.tfplan"),
    *(f"examples/terraform/{name}" for name in ("terraform.tfvars", "mine.auto.tfvars", "terraform.tfvars.json")),
    *(f"examples/terraform/{name}" for name in ("terraform.tfstate", "terraform.tfstate.backup", ".terraform/x/y")),
]
USERS_MAY_READ = {"CONTRIBUTING.md", "SECURITY.md", "bindep.txt"}


def galaxy(*words, cwd):
    """Run ansible-galaxy, which has to succeed."""
    done = subprocess.run(
        [BIN / "ansible-galaxy", "collection", *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The artifact, built from what git knows and what is new, and from what a user keeps in a checkout.

    Other leftovers of this checkout are no part of the proof.
    """
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("artifact")
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, names):
        if (CHECKOUT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((CHECKOUT / name).read_bytes())
    for name in OWN:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("s3cret")
    galaxy("build", "--output-path", str(out), cwd=source)
    (built,) = out.glob("homelab-patching-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(artifact, tmp_path_factory):
    """A collections path with the artifact and nothing else in it."""
    path = tmp_path_factory.mktemp("collections")
    galaxy("install", str(artifact), "--collections-path", str(path), "--offline", cwd=path)
    return path


def run(installed, *words):
    """Run a command of Ansible's that finds no other collection than the installed one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(
        [BIN / words[0], *words[1:]],
        cwd=installed,
        env=environment | {"ANSIBLE_COLLECTIONS_PATH": str(installed), "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_holds_what_users_need_and_nothing_else(artifact):
    with tarfile.open(artifact) as tar:
        top = {name.split("/")[0] for name in tar.getnames()}
    assert top - USERS_MAY_READ == USERS_NEED


def test_it_takes_nothing_along_that_is_a_users_own(artifact):
    with tarfile.open(artifact) as tar:
        names = tar.getnames()
        texts = [tar.extractfile(member).read() for member in tar.getmembers() if member.isfile()]
    assert [name for name in names if name in OWN] == []
    assert not any(text == b"s3cret" for text in texts)
    assert "examples/terraform/terraform.tfvars.example" in names


def test_it_has_the_hashes_that_the_security_page_names(artifact):
    with tarfile.open(artifact) as tar:
        hashes = tar.extractfile("requirements/control-hashes.txt").read().decode()
        assert sorted(name for name in tar.getnames() if name.startswith("requirements/")) == [
            "requirements/control-hashes.txt",
            "requirements/control.txt",
        ]
    assert "--hash=sha256:" in hashes


def test_every_playbook_is_found_whole(installed):
    names = sorted(path.stem for path in (CHECKOUT / "playbooks").glob("*.yml"))
    assert "patch" in names
    done = run(
        installed, "ansible-playbook", "-i", "web1,", "--syntax-check", *[f"homelab.patching.{name}" for name in names]
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [name for name in names if f"/playbooks/{name}.yml" not in done.stdout] == []


@pytest.mark.parametrize(
    ("kind", "files"), [("module", "modules/*.py"), ("filter", "filter/*.yml"), ("test", "test/*.yml")]
)
def test_every_plugin_has_its_page(installed, kind, files):
    names = [f"homelab.patching.{path.stem}" for path in sorted((CHECKOUT / "plugins").glob(files))]
    done = run(installed, "ansible-doc", "--json", "--type", kind, *names)
    assert done.returncode == 0, done.stderr
    assert sorted(json.loads(done.stdout)) == names


def test_assess_works_from_it(installed):
    """A host that is not there is refused by name: from guard to report, all of it came from the artifact."""
    (installed / "hosts.yml").write_text(
        yaml.safe_dump(
            {
                "all": {
                    "hosts": {"gone": {"ansible_host": "198.18.255.254", "ansible_ssh_timeout": 1}},
                    "vars": {"patching_report_dir": str(installed / "reports")},
                }
            }
        )
    )
    done = run(installed, "ansible-playbook", "-i", "hosts.yml", "-e", "patching_hosts=gone", "homelab.patching.assess")
    assert "gone" in done.stdout and "refused" in done.stdout, done.stdout + done.stderr
