"""Two sites in one browser: a page of one gets nothing of who is signed in to the other."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from app_process import served

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
# For a browser `localhost` and `127.0.0.1` are two sites, and both may have Secure cookies.
PAGE = """<!DOCTYPE html><title>another site</title>
<form id="form" method="post" enctype="multipart/form-data" target="inside"></form>
<iframe name="inside"></iframe>
<script>
  const app = %s;
  const message = { data: ["", "", "", "", "", "", "", "", 5, 0] };
  const tries = [
    ["/config", {}], ["/gradio_api/info", {}], ["/gradio_api/token", {}], ["/healthz", {}],
    ["/gradio_api/heartbeat/abc", {}],
    ["/gradio_api/call/review_list", { method: "POST", body: JSON.stringify(message),
      headers: { "Content-Type": "application/json" } }],
    ["/gradio_api/call/review_list", { method: "POST", body: JSON.stringify(message),
      headers: { "Content-Type": "text/plain" } }],
    ["/logout", {}], ["/logout", { method: "POST" }],
  ];
  (async () => {
    const got = {};
    for (const [path, options] of tries) {
      try {
        const answer = await fetch(app + path, { credentials: "include", ...options });
        got[path] = (await answer.text()).slice(0, 300);
      } catch { /* the browser kept it from us, as it should */ }
    }
    for (const path of ["/logout", "/gradio_api/upload"]) {
      const form = document.getElementById("form");
      form.action = app + path;
      form.submit();
      await new Promise((done) => setTimeout(done, 300));
    }
    window.got = got;
  })();
</script>"""


def test_another_site_reads_and_changes_nothing(
    tmp_path: Path, browser: Any, model: str | None
) -> None:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "passwords").write_text(f"ada:{hashed}\n")
    (tmp_path / "people.yaml").write_text("people: {ada: admin}\n")
    settings = {
        "RARL_SIGN_IN": f"htpasswd:{tmp_path / 'passwords'}",
        "RARL_PEOPLE": str(tmp_path / "people.yaml"),
    }
    with served(tmp_path / "home", model, **settings) as (address, _):
        site = address.replace("127.0.0.1", "localhost")

        class Evil(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write((PAGE % json.dumps(site)).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        evil = HTTPServer(("127.0.0.1", 0), Evil)
        threading.Thread(target=evil.serve_forever, kwargs={"poll_interval": 0.05}).start()
        context = browser.new_context()
        try:
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.goto(site)
            page.fill("[name=username]", "Ada")
            page.fill("[name=password]", PASSWORD)
            page.click("button[type=submit]")
            page.wait_for_selector("#viewer .viewer-stage")
            for cookie in context.cookies():
                assert cookie["httpOnly"] and cookie["sameSite"] == "Lax", cookie["name"]
            other = context.new_page()
            other.goto(f"http://127.0.0.1:{evil.server_address[1]}/")
            other.wait_for_function("() => window.got")
            assert other.evaluate("() => window.got") == {}
            page.reload()
            page.wait_for_selector("#viewer .viewer-stage")
            page.click("#pages > .tab-wrapper [role=tab]:has-text('Review')")
            page.wait_for_selector("#who:has-text('ada · admin')")
            page.click("#masthead button:has-text('Sign out')")
            page.wait_for_selector("[name=password]")
            page.goto(site)
            page.wait_for_selector("[name=password]")
        finally:
            context.close()
            evil.shutdown()
            evil.server_close()
