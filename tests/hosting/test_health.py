"""`/healthz` on a disk that fills up: the app still answers, and says that no flag can be kept."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_CODE = """
import json, sys
from pathlib import Path
from starlette.applications import Starlette
from starlette.testclient import TestClient
from demo.services.flagging import Desk
from demo.services.engine_loader import EngineLoader
from demo.serving import health
from rarl.review import open_store
from tests.demo.scripted import ScriptedEngine

health._AGAIN_SECONDS = 0
home = Path(sys.argv[1])
loader = EngineLoader(ScriptedEngine).start()
assert loader.wait(60)
client = TestClient(Starlette(routes=[health.health_route(loader, Desk(open_store(home=home)))]))

def show():
    answer = client.get(health.ADDRESS)
    print(json.dumps([answer.status_code, answer.json()]))

show()
with open(home / "filler", "ab", 0) as filler:
    try:
        while filler.write(bytes(4096)):
            pass
    except OSError:
        pass
show()
(home / "filler").unlink()
show()
"""


def test_a_full_disk_is_degraded_until_there_is_room_again(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=16m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    done = subprocess.run(
        [*words, str(tmp_path), sys.executable, _CODE], capture_output=True, text=True, cwd=ROOT
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no disk can be mounted here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    before, full, after = map(json.loads, done.stdout.splitlines())
    assert before[0] == after[0] == 200
    assert before[1]["status"] == after[1]["status"] == "ready"
    assert full[0] == 503 and full[1]["status"] == "degraded"
    assert full[1]["store"].startswith("The disk of the review store is full")
