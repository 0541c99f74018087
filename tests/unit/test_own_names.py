"""What a broker knows a service by: its state directory's for good, and no other's."""

import socket

from agent_service.service.compose_sources import own_name


def test_it_stays_when_machine_and_folder_are_called_otherwise(tmp_path, monkeypatch):
    name = own_name(tmp_path / "state" / "sources")
    monkeypatch.setattr(socket, "gethostname", lambda: "another pod")
    assert own_name(tmp_path / "state" / "sources") == name
    (tmp_path / "state").rename(tmp_path / "moved")
    assert own_name(tmp_path / "moved" / "sources") == name
    assert own_name(tmp_path / "state" / "sources") != name, "one of its own, of another machine"


def test_those_of_two_services_on_a_machine_differ(tmp_path):
    assert own_name(tmp_path / "a" / "sources") != own_name(tmp_path / "b" / "sources")
