"""Services that page, API and MCP share."""
