/* What only the browser can do: colours, paste and drop, zoom, the keyboard, the tour, and seeing
   that the app is out of reach. Nothing but the choice of colours, that the
   notice was read, and a random word of this tab is remembered. */

import { followFirst } from "./page/addresses.js";
import "./page/clicks.js";
import { paint } from "./page/colours.js";
import "./page/files.js";
import "./page/keys.js";
import { tendPanel } from "./page/panels.js";
import "./page/reach.js";
import { markStale } from "./page/stale.js";
import { tab } from "./page/tab.js";
import { readOut } from "./page/voice.js";
import { followReport } from "./report/main.js";

export const page = { tab };

function follow() {
  paint();
  tendPanel();
  readOut();
  markStale();
  followFirst();
  followReport();
}

// Gradio sets its own colours once when it starts, and widgets come and go: both are followed.
function start() {
  try {
    if (localStorage.getItem("rarl-notice-read")) document.body.classList.add("notice-read");
  } catch {
    /* private window */
  }
  new MutationObserver(follow).observe(document.body, {
    childList: true,
    subtree: true,
    attributes: true,
    attributeFilter: ["class", "style", "hidden"],
  });
  follow(); // what was there before this module
}
if (document.body) start();
else document.addEventListener("DOMContentLoaded", start);
