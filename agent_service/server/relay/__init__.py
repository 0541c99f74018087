"""A relay: follows services, and hands their events and reads on to many; it keeps nothing, and moves nothing."""

from agent_service.server.relay.app import create_relay

__all__ = ["create_relay"]
