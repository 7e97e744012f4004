"""Reports: the programming interface, and the page."""
