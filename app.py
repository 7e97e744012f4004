"""The RARL interface: `python app.py`, then open the address it prints.

Gradio's own GRADIO_SERVER_NAME, GRADIO_SERVER_PORT and GRADIO_SHARE say where it listens.
"""

from __future__ import annotations

import logging

from demo.interface import build, launch, make_parts

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio greets itself at start
    parts = make_parts()
    launch(build(parts), parts)
