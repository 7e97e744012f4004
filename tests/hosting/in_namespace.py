"""What runs inside the namespace of `net_watch.py`: every command, and the app with its children.

    python in_namespace.py MODEL DATA FOLDER

Ends with status 0 where everything worked. The last line of output names the processes that the app
started.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[2]
# onnxruntime has sent its first report within 12 seconds of being loaded.
_WATCHED_SECONDS = 13.0


def main() -> None:
    model, data, folder = (Path(word) for word in sys.argv[1:])
    environment = {
        **os.environ,
        "RARL_HOME": str(folder / "home"),
        "RARL_DATA": str(data),
        "RARL_MODEL": str(model),
        "TMPDIR": str(folder),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": "7861",
        "OMP_NUM_THREADS": "1",
    }
    # The product itself has to be silent, without what a site may set.
    for name in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        environment.pop(name, None)
    environment.pop("GRADIO_ANALYTICS_ENABLED", None)
    picture = folder / "colour.png"
    picture.write_bytes(written_on())
    app = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment)
    try:
        address = "http://127.0.0.1:7861"
        while not up(address):
            assert app.poll() is None, "the app did not start"
            time.sleep(0.2)
        client = Client(address, verbose=False)
        about = {"scans": [handle_file(str(picture))], "question": "Which organ is shown?"}
        try:
            client.predict(**about, arm="base", api_name="/ask")
            raise SystemExit("text was burned in, and the app did not ask about it")
        except Exception as error:
            assert "burned into" in str(error), error
        loaded = time.monotonic()
        about["scans"] = [handle_file(str(picture))]
        client.predict(**about, arm="base", checked=True, api_name="/ask")
        children = [one.name() for one in psutil.Process(app.pid).children(recursive=True)]
        base = ["--data", "brain_tumor_mri", "--model", str(model)]
        commands = (
            ["scan", str(picture), "--json"],
            ["evaluate", *base, "--out", str(folder / "run"), "--limit", "2", "--arms", "base",
             "--max-new-tokens", "4"],
            ["train", "sft", *base, "--out", str(folder / "adapter"), "--limit", "4", "--max-steps",
             "1", "--set", "batch=2", "--set", "micro_batch=2"],
        )  # fmt: skip
        # One process for the three: loading torch takes most of the time.
        program = f"from rarl.cli import main; assert not any(map(main, {commands!r}))"
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True)
        time.sleep(max(0.0, loaded + _WATCHED_SECONDS - time.monotonic()))
    finally:
        app.terminate()
        app.wait(30)
    print(json.dumps(children))


def up(address: str) -> bool:
    try:
        return bool(httpx.get(f"{address}/healthz").json()["status"] == "ready")
    except (OSError, httpx.HTTPError):
        return False


def written_on() -> bytes:
    """A colour picture with a name on it."""
    speckle = np.random.default_rng(5).normal(90, 25, (240, 320)).clip(0, 200).astype(np.uint8)
    image = Image.fromarray(np.repeat(speckle[:, :, None], 3, axis=2))
    ImageDraw.Draw(image).text((60, 110), "MILLER, ANNA 4711", (255, 255, 255), font_size=14)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()
