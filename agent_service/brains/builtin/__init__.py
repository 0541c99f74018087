"""The brains that are installed with the package; each is an entry point of the group ``agent_service.agents``."""
