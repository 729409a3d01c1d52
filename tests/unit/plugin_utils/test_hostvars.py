"""What actions read of the hosts, and hand over."""

from ansible_collections.homelab.patching.plugins.plugin_utils.hostvars import collect, plain


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
