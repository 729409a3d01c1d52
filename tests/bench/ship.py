"""How much each module sends to a machine: PYTHONPATH=.build/collections python -m tests.bench.ship [MODULE...]"""

from __future__ import annotations

import base64
import re
import sys
import zipfile
from io import BytesIO

from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, module_loader
from ansible.template import Templar

from tests.support import CHECKOUT

OURS = "ansible_collections/homelab/patching/"


def shipped(name: str) -> tuple[int, dict[str, int]]:
    """Bytes of the file that Ansible sends for a module, and what of ours is in it: path -> bytes."""
    found = module_loader.find_plugin_with_context(f"homelab.patching.{name}")
    built = modify_module(
        module_name=found.resolved_fqcn,
        module_path=found.plugin_resolved_path,
        module_args={},
        templar=Templar(DataLoader()),
        task_vars={"ansible_python_interpreter": "/usr/bin/python3"},
        module_compression="ZIP_DEFLATED",
    ).b_module_data
    # The zip is the longest text in it.
    packed = max(re.findall(rb"[A-Za-z0-9+/=]{1000,}", built), key=len)
    with zipfile.ZipFile(BytesIO(base64.b64decode(packed))) as archive:
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    return len(built), {path.removeprefix(OURS): size for path, size in sizes.items() if path.startswith(OURS) and size}


def main(names: list[str]) -> None:
    """A line for each module; for those that are named, what is in them."""
    init_plugin_loader()
    # Those with an action of their own stay on the control node.
    modules = {path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py")}
    modules -= {path.stem for path in (CHECKOUT / "plugins" / "action").glob("*.py")}
    print(f"{'module':<28}{'sent':>9}{'our source':>14}")
    for name in names or sorted(modules):
        sent, ours = shipped(name)
        print(f"{name:<28}{sent / 1000:>6.0f} KB{sum(ours.values()) / 1000:>11.0f} KB")
        for path, size in sorted(ours.items(), key=lambda each: -each[1]) if names else ():
            print(f"{'':<37}{size / 1000:>11.1f} KB  {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
