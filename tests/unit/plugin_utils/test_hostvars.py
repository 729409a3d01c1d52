"""What actions are given, read of the hosts, and hand over."""

import pytest
from ansible_collections.homelab.patching.plugins.plugin_utils.hostvars import collect, listed, plain, unregistered


class HostVars:
    """As Ansible's, of which actions read what is not templated."""

    def raw_get(self, host):
        return {"web1": {"record": {"result": "patched"}}}.get(host, {})


class Tagged(str):
    """As a text of Ansible's that knows where it came from."""


def test_one_variable_of_many_hosts():
    hosts = {"hostvars": HostVars()}
    assert collect(hosts, ["web1", "db1"], "record") == {"web1": {"result": "patched"}, "db1": None}


def test_what_is_handed_over_has_no_tags():
    value = plain({"hosts": {"web1": [Tagged("patched"), None, 1.5]}})
    assert value == {"hosts": {"web1": ["patched", None, 1.5]}}
    assert type(value["hosts"]["web1"][0]) is str


def test_a_registered_result_is_handed_on_as_it_was_returned():
    assert unregistered({"result": "lost", "changed": False, "failed": False}) == {"result": "lost"}


@pytest.mark.parametrize("names", ["web1,db1", "web1 db1", "web1, db1", ["web1", "db1"]])
def test_names_may_be_a_list_or_a_text(names):
    assert listed(names) == ["web1", "db1"]
    assert listed(None) == listed("") == listed([]) == []
