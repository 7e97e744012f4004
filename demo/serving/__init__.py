"""What stands between the page and the network: health, headers, limits, logs, and the end."""
