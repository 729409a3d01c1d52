"""The Terraform example makes the guests that the inventory expects, and leaves them alone when the image is newer.

What needs the provider fetches it as a user does, from the registry or from TERRAFORM_PROVIDERS, a folder that
`terraform providers mirror` has filled; where neither can be had the test is skipped and says so. What can be proved by
Terraform alone is proved by Terraform alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from datetime import date
from textwrap import dedent

import pytest

from .conftest import CHECKOUT, TOKEN

pytestmark = pytest.mark.terraform
EXAMPLE = CHECKOUT / "examples" / "terraform"
BINARY = os.environ.get("TERRAFORM") or shutil.which("terraform") or shutil.which("tofu")
PROVIDERS = os.environ.get("TERRAFORM_PROVIDERS")
NO_BINARY = "neither terraform nor tofu is installed; install one of them, or name it: TERRAFORM=/path/to/terraform"
NO_PROVIDER = (
    "the provider bpg/proxmox cannot be had ({}); allow the way to the registry, or fill a folder elsewhere with"
    " `terraform providers mirror DIR` and name it: TERRAFORM_PROVIDERS=DIR"
)
# Where the guests of the example are: name -> vmid, groups, address.
GUESTS = {
    "web1": (101, {"proxmox_tag_web"}, "192.168.1.21"),
    "db1": (102, {"proxmox_tag_db"}, None),
    "k3s1": (111, {"proxmox_tag_k3s", "proxmox_tag_k3s_server"}, "192.168.1.31"),
    "k3s2": (112, {"proxmox_tag_k3s", "proxmox_tag_k3s_agent"}, "192.168.1.32"),
}


@pytest.fixture
def terraform(tmp_path):
    """Run the binary in a folder of the test's own, where the settings of whoever runs the tests do not count."""
    if not BINARY:
        pytest.skip(NO_BINARY)
    folder = tmp_path / "terraform"
    folder.mkdir()
    config = tmp_path / "terraformrc"
    mirror = f'provider_installation {{ filesystem_mirror {{ path = "{PROVIDERS}" }} }}\n' if PROVIDERS else ""
    config.write_text("disable_checkpoint = true\n" + mirror)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "PROXMOX_VE_"))}

    def run(*words, text=None, check=True, **env):
        done = subprocess.run(
            [BINARY, *words],
            cwd=folder,
            env={**own, "TF_CLI_CONFIG_FILE": str(config), "TF_IN_AUTOMATION": "1", "HOME": str(tmp_path), **env},
            input=text or "",
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    run.folder = folder
    return run


def settings(folder, *, image="20260910"):
    """The example's own settings, with another image."""
    text = (EXAMPLE / "terraform.tfvars.example").read_text()
    assert "20260910" in text
    (folder / "terraform.tfvars").write_text(text.replace("20260910", image))


def vms(terraform):
    """What the example makes of its settings, asked of Terraform; no provider is needed for that."""
    for name in ("variables.tf", "vms.tf"):
        shutil.copy(EXAMPLE / name, terraform.folder)
    return json.loads(json.loads(terraform("console", text="jsonencode(local.vms)\n").stdout))


def discovered(result):
    """What the inventory found, in the form of `GUESTS`, without the groups that it makes by itself."""
    tags = {"proxmox_tag_web", "proxmox_tag_db", "proxmox_tag_k3s", "proxmox_tag_k3s_server", "proxmox_tag_k3s_agent"}
    return {
        host: (result.vars(host)["proxmox_vmid"], result.groups(host) & tags, result.vars(host).get("ansible_host"))
        for host in result.hosts
    }


def test_the_example_is_formatted(terraform):
    done = terraform("fmt", "-check", "-diff", str(EXAMPLE), check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_inventory_reads_what_the_example_writes(terraform, pve, options, parse):
    """The settings come from Terraform; that the provider posts them unchanged is for the test below to prove."""
    settings(terraform.folder)
    for name, vm in vms(terraform).items():
        assert vm["tags"] == sorted(vm["tags"])
        gateway = f",gw={vm['gateway']}" if vm["gateway"] else ""
        config = {
            "tags": ";".join(vm["tags"]),
            "description": vm["description"],
            "net0": f"virtio=BC:24:11:00:00:{vm['vm_id']:X},bridge=vmbr0",
            "ipconfig0": f"ip={vm['address']}{gateway}",
        }
        pve.add_vm(vm["vm_id"], name, node=vm["node"], config=config)
    result = parse(options)
    assert discovered(result) == GUESTS
    assert result.members("proxmox_image_ubuntu_noble") == sorted(GUESTS)
    assert result.members("proxmox_tag_terraform") == sorted(GUESTS)
    for host in GUESTS:
        assert result.vars(host)["proxmox_image_date"] == date(2026, 9, 10).isoformat()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"k3s-agent"', '"k3s-agnt"', "plain, k3s-server or k3s-agent"),
        ("192.168.1.21/24", "192.168.1.21", "has its prefix"),
        ('"20260910"', '"current"', "the date of the image's folder"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(terraform, old, new, says):
    settings(terraform.folder)
    path = terraform.folder / "terraform.tfvars"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    for name in ("variables.tf", "vms.tf"):
        shutil.copy(EXAMPLE / name, terraform.folder)
    done = terraform("plan", "-input=false", "-no-color", check=False)
    assert done.returncode != 0
    assert says in re.sub(r"[│\s]+", " ", done.stderr)


def test_the_pages_quote_the_example():
    """Every piece of HCL in the pages stands in the example, word for word."""
    files = [re.sub(r"^ +", "", path.read_text(), flags=re.MULTILINE) for path in EXAMPLE.glob("*.tf")]
    pages = [*CHECKOUT.glob("docs/*.md"), EXAMPLE / "README.md", CHECKOUT / "README.md"]
    blocks = [(page.name, block) for page in pages for block in re.findall(r"```hcl\n(.*?)```", page.read_text(), re.S)]
    assert len(blocks) >= 2
    for page, block in blocks:
        wanted = re.sub(r"^ +", "", block, flags=re.MULTILINE)
        assert any(wanted in file for file in files), f"{page} shows what is not in {EXAMPLE}:\n{block}"


# --- With the provider ----------------------------------------------------------------------------------------------

# The first apply makes the disks empty: importing an image by `file_id` is done over ssh on the node, and a fake API
# has no node to log in on. For the plans that follow, a disk from no image and one from an older image are the same:
# `file_id` has changed.
WITHOUT_IMAGE = dedent("""\
    resource "proxmox_virtual_environment_vm" "vm" {
      disk {
        interface    = "scsi0"
        datastore_id = var.datastores.disks
        size         = each.value.disk
        discard      = "on"
        iothread     = true
      }
    }
    """)


@pytest.fixture
def real(terraform, pve):
    """The example with the real provider, talking to fakepve."""
    for path in EXAMPLE.glob("*.tf"):
        shutil.copy(path, terraform.folder)
    settings(terraform.folder)
    done = terraform("init", "-input=false", "-no-color", check=False)
    if done.returncode != 0:
        lines = re.sub(r"[│╷╵\s]+", " ", done.stderr).strip()
        pytest.skip(NO_PROVIDER.format(lines[:160]))
    pve.add_node("pve1")
    pve.add_node("pve2")
    env = {
        "PROXMOX_VE_ENDPOINT": pve.url,
        "PROXMOX_VE_API_TOKEN": f"{TOKEN['user']}!{TOKEN['token_id']}={TOKEN['token_secret']}",
        "PROXMOX_VE_INSECURE": "true",
        # No agent answers here, and no ssh takes the snippet that installs one.
        "TF_VAR_guest_agent": "false",
    }

    def run(*words, check=True):
        return terraform(*words, "-no-color", check=check, **env)

    run.folder = terraform.folder
    return run


def replaced(real):
    """The VMs that a plan would destroy."""
    real("plan", "-input=false", "-out=plan")
    changes = json.loads(real("show", "-json", "plan").stdout)["resource_changes"]
    kind = "proxmox_virtual_environment_vm"
    return {change["index"] for change in changes if change["type"] == kind and "delete" in change["change"]["actions"]}


def test_the_provider_knows_every_setting_of_the_example(real):
    real("validate")


def test_a_newer_image_replaces_no_vm(real, options, parse):
    override = real.folder / "image_override.tf"
    override.write_text(WITHOUT_IMAGE)
    real("apply", "-input=false", "-auto-approve")
    assert discovered(parse(options)) == GUESTS
    override.unlink()

    settings(real.folder, image="20261001")
    assert replaced(real) == set()

    main = real.folder / "main.tf"
    text = main.read_text()
    without = re.sub(r"\n  lifecycle \{.*?\n  \}\n", "\n", text, flags=re.DOTALL)
    assert without != text
    main.write_text(without)
    assert replaced(real) == set(GUESTS)
