"""`python -m rarl COMMAND`: each command is one module with `add_parser` and `run`."""
