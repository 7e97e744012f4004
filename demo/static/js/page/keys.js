/* Keys of the page. The viewer has its own, and whoever types is left alone. */

import { find, onAskPage } from "./dom.js";
import { openPanel, pressInPanel, returnTo, showSheet } from "./panels.js";
import { pressOnPicture } from "./picture.js";
import { tour } from "./tour.js";

// Gradio opens a list on any key but Escape, after the key has moved the focus away: a list that
// was left by Tab would stay open over the answers.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.key === "Tab" && event.target.matches?.("[role=combobox]")) event.stopPropagation();
  },
  true,
);

document.addEventListener("keydown", (event) => {
  pressOnPicture(event);
  const panel = openPanel();
  if (!panel) {
    shortcut(event);
    return;
  }
  pressInPanel(panel, event);
});

let flagged = -1;
const keys = {
  "?": () => showSheet(true),
  "/": () => find("#question textarea")?.focus(),
  s: () => find("#viewer canvas")?.focus(),
  a: () => find("#board .arm button")?.focus(),
  h: () => find("#history summary")?.click(),
  f: () => {
    const buttons = document.querySelectorAll("#board .flag");
    if (buttons.length) buttons[(flagged = (flagged + 1) % buttons.length)].click();
  },
  t: () => tour(0),
};
function shortcut(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    const open = find("details.history[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary").focus();
    } else if (find(".columns[data-running]")) find("#stop")?.click();
    return;
  }
  if (event.target.closest("input:not([type=radio]), textarea, select, [contenteditable]")) return;
  if (voteByKey(event)) {
    event.preventDefault();
    return;
  }
  if (event.target.closest("input")) return;
  const name = event.key.toLowerCase();
  if (!onAskPage() && !"?t".includes(name)) return;
  const button = find(`#after [aria-keyshortcuts="${CSS.escape(name.toUpperCase())}"]:enabled`);
  if (!keys[name] && !button) return;
  event.preventDefault();
  if (button) {
    returnTo(`#after [data-event="${button.dataset.event}"]`);
    button.click();
  } else keys[name]();
}

/** A blind vote: the letter of the best answer, T for a tie, G all good, X all bad, Enter votes. */
function voteByKey(event) {
  if (!find('.columns[data-stage="vote"]') || !find("#vote-choice")?.offsetParent) return false;
  if (event.key === "Enter" && find("#vote-choice :checked")) {
    find("#vote")?.click();
    return true;
  }
  const value =
    { t: "tie", g: "all-good", x: "all-bad" }[event.key.toLowerCase()] ?? event.key.toUpperCase();
  const choice = [...document.querySelectorAll("#vote-choice input")].find(
    (one) => one.value === value,
  );
  choice?.click();
  return Boolean(choice);
}
