/* Answers stand under the question and the view that they belong to. */

import { viewer } from "../viewer/main.js";
import { find } from "./dom.js";
import { sameView } from "./view.js";

/** Dim the board where the question or the viewer has changed, and say what it is about. */
export function markStale() {
  const board = find("#board");
  const about = find("#board .asked-about[data-number]");
  if (!board) return;
  let words = "";
  if (about) {
    const typed = find("#question textarea")?.value.trim() ?? "";
    const shown = viewer.report()?.scans ?? [];
    const views = JSON.parse(about.dataset.views);
    const byToken = new Map(shown.map((one) => [one.token, one]));
    const chips = [...about.querySelectorAll("li")].map((one) => one.textContent.trim()).join("; ");
    const same =
      views.length === shown.length &&
      views.every((view) => sameView(view, byToken.get(view.token)));
    if (!same) {
      const open = views.length === shown.length && views.every((view) => byToken.has(view.token));
      words =
        open && chips
          ? `Asked about ${chips[0].toLowerCase()}${chips.slice(1)}; the viewer now shows something else.`
          : open
            ? "The viewer now shows something else than these answers are about."
            : "These answers are about other pictures than those now open.";
    } else if (typed && typed !== about.dataset.typed) {
      words = "These answers belong to the question above, not to the one now in the box.";
    }
  }
  if (board.classList.contains("stale") !== Boolean(words))
    board.classList.toggle("stale", Boolean(words));
  const line = find("#board .stale-line");
  if (!line) return;
  if (line.hidden === Boolean(words)) line.hidden = !words;
  const span = line.querySelector("span");
  if (span.textContent !== words) span.textContent = words;
}
document.addEventListener("input", (event) => {
  if (event.target.closest?.("#question")) markStale();
});
document.addEventListener("drawn", markStale, true);
