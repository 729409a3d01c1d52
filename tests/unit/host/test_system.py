"""What a host tells in files of its own."""

from ansible_collections.homelab.patching.plugins.module_utils.host import system


def test_fields_of_a_file(tmp_path):
    path = tmp_path / "os-release"
    path.write_text('# comment\nID=debian\nVERSION_ID="12"\nHOME_URL=https://a/?b=c\nEMPTY=\nnonsense\n')
    fields = system.fields(str(path), "=")
    assert fields == {"ID": "debian", "VERSION_ID": "12", "HOME_URL": "https://a/?b=c"}
    path.write_text("build_name: server\nserial: 20250101\n")
    assert system.fields(str(path), ":") == {"build_name": "server", "serial": "20250101"}
    assert system.fields(str(tmp_path / "none"), ":") == {}
