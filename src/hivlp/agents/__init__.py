"""An index for language models: a server of the Model Context Protocol. `agent_server` makes it."""

from hivlp.agents.server import agent_server

__all__ = ["agent_server"]
