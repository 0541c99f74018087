"""A relay: it follows services, and passes their events and answers to many clients; it keeps and moves nothing."""

from agent_service.server.relay.app import create_relay

__all__ = ["create_relay"]
