"""What axe-core says of a page."""

from __future__ import annotations

import json
from typing import Any

from axe_playwright_python.sync_playwright import Axe


def faults(page: Any) -> str:
    """Serious and critical violations of axe-core, with where they are."""
    # Colours on their way from one theme to the other are nobody's contrast.
    page.wait_for_function(
        "document.getAnimations().every(one => one.playState !== 'running' ||"
        " one.effect.getComputedTiming().iterations === Infinity)"
    )
    found = Axe().run(page).response["violations"]
    return json.dumps(
        [
            [rule["id"], [node["html"][:200] for node in rule["nodes"]]]
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ],
        indent=1,
    )
