"""Panels without a service."""

import pytest

from agent_service.client import Client
from agent_service.errors import InvalidInput
from notebook_widgets.panels.event_feed import Address


def test_an_address_is_a_url_a_client_or_what_has_one():
    with Client("http://127.0.0.1:7", api_key="k") as client:

        class Service:
            pass

        service = Service()
        service.client = client
        assert Address.of(client) == Address.of(service) == Address("http://127.0.0.1:7", "k")
    assert Address.of("http://127.0.0.1:7").url == "http://127.0.0.1:7"
    with pytest.raises(InvalidInput, match="a int leads to no service"):
        Address.of(7)
    with pytest.raises(InvalidInput, match="no address"):
        Address.of("nonsense")
