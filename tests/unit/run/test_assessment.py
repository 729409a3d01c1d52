"""What is known about one host, from what was asked of it."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.run.assessment import assessment

from tests.unit.run.assessments import POLICY, host

GIVEN = "3d5a1f0e-1234-4abc-8000-000000000001"


@pytest.mark.parametrize(
    ("given", "found", "state"),
    [
        (GIVEN, GIVEN, "ok"),
        (GIVEN, GIVEN.upper(), "ok"),
        (GIVEN, "0e1f5a3d-3412-bc4a-8000-000000000001", "ok"),  # firmware of the other byte order
        (GIVEN, "3d5a1f0e-1234-4abc-8000-000000000002", "refused"),
        (GIVEN, "anything else", "refused"),
        (GIVEN, ["no", "text"], "refused"),
        (GIVEN, "", "ok"),  # a container, or a machine without DMI
        (None, GIVEN, "ok"),  # another inventory, or a configuration that was not read
    ],
)
def test_another_machine_at_the_address_is_refused(given, found, state):
    known = assessment(POLICY, {"smbios_uuid": given}, {}, {"host": host(system_uuid=found)})
    assert known["state"] == state
    if state == "refused":
        assert f"Proxmox VE gave this guest {given}" in known["reason"]
