"""One update of one package."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change, due, full_name


@pytest.mark.parametrize(("name", "package", "arch"), [("curl", "curl", ""), ("libc6:i386", "libc6", "i386")])
def test_a_package_has_one_name_and_an_architecture_only_where_it_is_a_foreign_one(name, package, arch):
    made = change(name, "1", "2")
    assert (made["name"], made["arch"], full_name(made)) == (package, arch, name)


def test_what_is_held_is_not_due():
    curl, held = change("curl", "1", "2"), change("vim", "1", "2", security="2", held_by="held")
    assert due([curl, held]) == [curl]
