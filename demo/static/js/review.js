/* The queue's keyboard, and the time that a reader really spends on a case. Nothing is stored. */

import { marked } from "./marks.js";

// Nobody who touched nothing for this long is still reading.
const IDLE_MS = 60_000;
let place = null;
let spent = 0;
let touched = 0;
const shown = (element) => Boolean(element && element.getClientRects().length);
const case_ = () => document.querySelector("#case .case, #task .case");

for (const kind of ["pointermove", "keydown", "wheel", "scroll"]) {
  document.addEventListener(
    kind,
    () => {
      touched = Date.now();
    },
    { passive: true, capture: true },
  );
}
setInterval(() => {
  const open = case_();
  const here = open?.dataset.place ?? null;
  if (here !== place) {
    place = here;
    spent = 0;
    touched = Date.now();
  }
  const looking = document.visibilityState === "visible" && shown(open);
  if (place && looking && Date.now() - touched < IDLE_MS) spent += 1;
}, 1000);

function press(selector) {
  const button = document.querySelector(selector);
  if (!shown(button)) return false;
  button.click();
  return true;
}
function choose(group, number) {
  const input = document.querySelectorAll(`#${group} input`)[number];
  if (!shown(input?.closest("label"))) return false;
  input.click();
  return true;
}
function step(by) {
  const rows = [...document.querySelectorAll("#flag-list .row")];
  const at = rows.findIndex((row) => row.hasAttribute("aria-current"));
  const row = rows[Math.max(0, at + by)];
  row?.click();
  row?.scrollIntoView({ block: "nearest" });
  return Boolean(row);
}
function act(event) {
  const digit = /^(?:Digit|Numpad)([0-3])$/.exec(event.code);
  if (digit) {
    const group = event.shiftKey ? "verdict-explanation" : "verdict-correctness";
    return choose(group, Number(digit[1]));
  }
  switch (event.key.toLowerCase()) {
    case "n":
      return press("#queue-next");
    case "a":
      return choose("verdict-agrees", 0);
    case "d":
      return choose("verdict-agrees", 1);
    case "s":
      return press("#verdict-save");
    case "j":
      return step(1);
    case "k":
      return step(-1);
    case "c": {
      const box = document.querySelector("#verdict-comment textarea");
      if (!shown(box)) return false;
      box.focus();
      return true;
    }
    default:
      return false;
  }
}
document.addEventListener("keydown", (event) => {
  if (!shown(document.getElementById("queue-page"))) return;
  const correcting = shown(document.getElementById("correction"));
  if (event.ctrlKey && event.key === "Enter") {
    if (press(correcting ? "#correction-save" : "#verdict-save")) event.preventDefault();
    return;
  }
  if (correcting) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest?.(
    "textarea, select, [contenteditable], [role=listbox], input:not([type=radio]):not([type=checkbox])",
  );
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (act(event)) event.preventDefault();
});

// Where the page is one column, what was opened stands below the list it was chosen from.
const narrow = matchMedia("(max-width: 760px)");
let opened = null;
function follow() {
  const found = document.querySelector("#case .case")?.dataset.place ?? null;
  if (found === opened) return;
  opened = found;
  if (found && narrow.matches) document.querySelector("#case").scrollIntoView({ block: "start" });
}

// An export is fetched as soon as its link is there; the next one may reuse the element.
const fetched = new Set();
new MutationObserver(() => {
  follow();
  for (const link of document.querySelectorAll("a.download")) {
    if (fetched.has(link.href)) continue;
    fetched.add(link.href);
    link.click();
    // The address works once: a link that stayed would fail.
    const line = link.closest("[data-sent]");
    if (line) line.textContent = line.dataset.sent;
  }
}).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["href"] });

function ticked() {
  return [...document.querySelectorAll("#flag-list [data-pick]:checked")]
    .map((box) => box.dataset.pick)
    .join(",");
}

export const review = { seconds: () => spent, ticked, marked };
