/* The panels that open over the page: a flag, what was seen, the keys, the tour. */

import { find } from "./dom.js";

/** The panel that lies over the page, if any. */
export function openPanel() {
  const inside = find("#seen .drawer, #sheet .sheet:not([hidden])");
  if (inside) return inside;
  const panel = [...document.querySelectorAll(".flag-drawer")].find(
    (one) => one.getClientRects().length,
  );
  if (panel) return panel;
  return find("#tour .tour:not([hidden])");
}
let panelWasOpen = false;
let opener = null;
/** Hand the focus to a panel that has opened, and back where one has closed. */
export function tendPanel() {
  const panel = openPanel();
  if (panel && !panelWasOpen) {
    if (panel.matches(".flag-drawer")) {
      panel.setAttribute("role", "dialog");
      panel.setAttribute("aria-modal", "true");
      panel.setAttribute("aria-labelledby", `${panel.id}-title`);
      // Its choices are drawn anew as it opens: whichever had the focus would lose it.
      panel.setAttribute("tabindex", "-1");
      panel.focus({ preventScroll: true });
    } else if (!panel.matches(".tour"))
      panel.querySelector("button")?.focus({ preventScroll: true });
  } else if (!panel && panelWasOpen && opener) {
    find(opener)?.focus({ preventScroll: true });
  }
  panelWasOpen = Boolean(panel);
  const folded = document.body.classList.contains("reasoning-folded");
  for (const button of document.querySelectorAll("[data-page=fold]")) {
    const open = String(!folded);
    if (button.getAttribute("aria-expanded") !== open) button.setAttribute("aria-expanded", open);
  }
}

/** Panels behave as dialogs: Escape closes them, Tab stays inside. */
export function pressInPanel(panel, event) {
  if (event.key === "Escape")
    panel.querySelector(".flag-cancel, [data-page=close], [data-page=tour-end]")?.click();
  if (event.key === "Tab" && !panel.matches(".tour")) {
    const stops = [...panel.querySelectorAll("button, input, textarea, a[href]")].filter(
      (one) => !one.disabled && one.offsetParent,
    );
    const [first, last] = [stops[0], stops[stops.length - 1]];
    if (event.shiftKey && [first, panel].includes(document.activeElement)) {
      last.focus();
      event.preventDefault();
    } else if (!event.shiftKey && document.activeElement === last) {
      first.focus();
      event.preventDefault();
    }
  }
}

/** Say where the focus goes when the panel that opens next is closed. */
export function returnTo(selector) {
  opener = selector;
}

/** Show or hide the sheet of keys. */
export function showSheet(shown) {
  const sheet = find("#sheet .sheet");
  if (sheet) sheet.hidden = !shown;
}
