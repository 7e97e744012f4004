"""What the page's tabs, the programming interface and MCP have in common: one way to do a thing."""
