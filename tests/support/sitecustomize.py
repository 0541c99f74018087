"""For peers of the service that import bluesky in processes of their own: they start as fast as the service's."""

import agent_service  # noqa: F401 - see its `put_off`
