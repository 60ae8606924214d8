"""What programs ask of the app: the endpoints for scripts, and the tools for agents (MCP)."""
