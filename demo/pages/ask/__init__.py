"""The Ask page, its panels and the tools under an answer."""
