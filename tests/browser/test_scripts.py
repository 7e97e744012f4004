"""Foreign text is executed nowhere: question, file name, DICOM header, model text, comment.

The payloads are of the kinds in OWASP's filter evasion cheat sheet and PortSwigger's cheat sheet:
tags, events, addresses, breaking out of attributes, of text areas, of scripts and of templates.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path

import pydicom
import pytest
from app_process import served
from pydicom.data import get_testdata_file

from tests.hosting.word_server import Handler

pytestmark = pytest.mark.browser

PAYLOADS = (
    "<script>alert(1)</script>",
    "<ScRiPt>alert(1)</sCrIpT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<img src=x onerror=&#97;lert(1)//",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    '" autofocus onfocus=alert(1) x="',
    "' onmouseover=alert(1) x='",
    "<svg onload=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<object data=javascript:alert(1)></object>",
    "<a href=javascript:alert(1)>x</a>",
    "<form action=javascript:alert(1)><input type=submit autofocus></form>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "]]><script>alert(1)</script>",
    "${alert(1)}",
    "{{constructor.constructor('alert(1)')()}}",
    "`${alert(1)}`",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "![x](javascript:alert(1))",
    "[x](javascript:alert(1))",
    "<style>@import 'javascript:alert(1)';</style>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
)
ALL = " ".join(PAYLOADS)
SHORT = PAYLOADS[5]
TEXTS = (
    "BodyPartExamined", "ImageComments", "Laterality", "Manufacturer", "ManufacturerModelName",
    "ProtocolName", "SeriesDescription", "StudyDescription", "ViewPosition",
)  # fmt: skip


def scan() -> bytes:
    """A CT slice whose texts say what they should not."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    for keyword in TEXTS:
        setattr(dataset, keyword, SHORT)
    file = io.BytesIO()
    with pydicom.config.disable_value_validation():
        dataset.save_as(file)
    return file.getvalue()


def test_no_payload_runs_anywhere(tmp_path: Path, open_page: Callable) -> None:  # type: ignore[type-arg]
    class Hostile(Handler):
        words = f"<think>{ALL}</think> <answer>{ALL}</answer>".split(" ")
        models = (
            {"id": PAYLOADS[3], "parent": None},
            *({"id": one} for one in ("sft", "rl", "rarl")),
        )

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        with served(tmp_path / "home", None, RARL_ENDPOINT=url) as (address, _):
            page = open_page(address)
            ran: list[str] = []
            page.on("dialog", lambda dialog: (ran.append(dialog.message), dialog.dismiss()))
            page.click("#notice [data-page=dismiss]")
            page.set_input_files(
                "#viewer .viewer-files",
                {"name": f"{PAYLOADS[5]}.dcm", "mimeType": "", "buffer": scan()},
            )
            page.wait_for_selector("#viewer .viewer-stage[data-frame]")
            page.wait_for_selector("#engine .ready")
            question = ALL[:990]
            page.fill("#question textarea", question)
            page.click("#ask")
            # The header has these words too, so that they might name somebody: they do not.
            page.click("#note [data-event=keep]")
            page.wait_for_function(
                """() => !document.querySelector(".columns[data-running]")
                  && document.querySelectorAll("#board .flag").length === 3"""
            )
            board_text = page.inner_text("#board")
            assert all(payload in board_text for payload in PAYLOADS[:3]), "it is not even shown"
            page.click(".flag[data-arm=rarl]")
            page.fill("#flag-comment textarea", ALL)
            page.click("#flag-category label:has-text('Other')")
            page.click("#flag-severity label:has-text('Could delay')")
            page.click("#flag-save")  # these words were kept once already
            page.wait_for_selector("#note .done")
            for tab in ("Results", "Review"):
                page.click(f"#pages > .tab-wrapper [role=tab]:has-text('{tab}')")
            page.click("#flag-list [data-flag]")
            page.wait_for_selector("#case img")
            page.fill("#filter-text :is(input, textarea)", PAYLOADS[0])
            page.wait_for_selector("#flag-list [data-flag]")
            case = page.inner_text("#case")
            assert PAYLOADS[0] in case and PAYLOADS[-1] in case
            # What hovers, focuses or loads late has its chance.
            for selector in ("#case", "#flag-list"):
                page.hover(selector)
            page.keyboard.press("Tab")
            made = page.evaluate(
                """() => document.querySelectorAll(
                  'img[src="x"], [onerror], [onload], [onfocus], [ontoggle], [onbegin],'
                  + ' iframe, object, [href^="javascript"], [action^="javascript"]').length"""
            )
            assert (made, ran) == (0, [])
    finally:
        server.shutdown()
        server.server_close()
