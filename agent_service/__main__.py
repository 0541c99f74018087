"""``python -m agent_service`` is the command line."""

from agent_service.cli import main

main()
