"""The RARL interface: `python app.py`, then open the address it prints.

Gradio's own GRADIO_SERVER_NAME, GRADIO_SERVER_PORT and GRADIO_SHARE say where it listens.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from demo.serving.logs import start_logging
from demo.serving.preflight import prepare_start
from rarl.errors import RarlError
from rarl.inference import load_offer, with_modes
from rarl.inference.zerogpu import on_zero_gpu


def main() -> None:
    """Read the arguments, build the page and serve it until the process is told to end."""
    parser = argparse.ArgumentParser(description="Serve the RARL interface.")
    parser.add_argument(
        "--model", help="pocket, a model folder, a name on the Hub or an arms file (RARL_MODEL)"
    )
    parser.add_argument(
        "--endpoint", metavar="URL", help="ask an OpenAI-compatible server instead (RARL_ENDPOINT)"
    )
    parser.add_argument(
        "--mcp", action="store_true", help="serve the programming interface to MCP clients too"
    )
    arguments = parser.parse_args()
    if arguments.mcp and find_spec("mcp") is None:
        parser.error("--mcp needs another package: pip install mcp==2.3.0")
    start_logging()
    try:
        prepare_start()
    except RarlError as error:
        print(error, file=sys.__stderr__)
        sys.exit(2)
    # Here, since they import Gradio, which reads its own settings at once.
    from demo.interface import build, launch, make_parts
    from demo.services.engine_loader import EngineLoader

    loader = EngineLoader(lambda: with_modes(load_offer(arguments.model, arguments.endpoint)))
    try:
        parts = make_parts(loader)
        if on_zero_gpu():
            # It takes over what stands on the GPU when the page starts, as this thread sees it.
            parts.loader.load_here()
        app = build(parts)
    except RarlError as error:  # a setting that cannot be used; nobody has opened anything yet
        print(error, file=sys.__stderr__)
        sys.exit(2)
    launch(app, parts, mcp=arguments.mcp)


if __name__ == "__main__":
    main()
