"""The brains we ship; each is an entry point of the group ``agent_service.agents``."""
