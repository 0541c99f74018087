"""A relay: it follows services, and passes their events and answers to many clients; it keeps and moves nothing."""

from agent_service.server.relay.app import MAX_FOLLOWERS, create_relay

__all__ = ["MAX_FOLLOWERS", "create_relay"]
