"""Files of apt's, made up."""

from __future__ import annotations

from ansible_collections.homelab.patching.plugins.module_utils.daily import conf as uu

ORIGINS = "Unattended-Upgrade::Origins-Pattern"
OWN = uu.OWN_FILE


def read(*files: tuple[str, str]) -> list:
    """The settings of several files, given as (path, text)."""
    return [setting for path, text in files for setting in uu.parse_conf(text, path)]
