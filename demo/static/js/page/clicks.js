/* What the buttons do that the page draws itself. */

import { viewer } from "../viewer/main.js";
import { nextColours } from "./colours.js";
import { find } from "./dom.js";
import { returnTo, showSheet, tendPanel } from "./panels.js";
import { tour, tourBack, tourOn } from "./tour.js";
import { say } from "./voice.js";

async function copy(button) {
  const address = `${location.origin}${location.pathname}#case-${button.dataset.number}`;
  const facts = find("#seen .facts-json")?.textContent ?? "";
  const text =
    button.dataset.copy === "link" ? address : JSON.stringify(JSON.parse(facts), null, 2);
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch {
    say("The browser does not let this page copy; select the text instead.");
  }
}

document.addEventListener("click", (event) => {
  const back = event.target.closest('[data-event="reopen"]');
  if (back) viewer.recall(JSON.parse(back.dataset.views));
  const flag = event.target.closest(".flag[data-arm]");
  if (flag) returnTo(`.flag[data-arm="${flag.dataset.arm}"]`);
  if (event.target.closest('#case [data-event="correct"]'))
    returnTo('#case [data-event="correct"]');
  if (event.target.closest('[data-do="see"]')) returnTo('[data-do="see"]');
  const doubt = event.target.closest("#after [data-event]");
  if (doubt) returnTo(`#after [data-event="${doubt.dataset.event}"]`);
  const open = find("details.history[open]");
  if (open && (!open.contains(event.target) || event.target.closest("[data-event]")))
    open.open = false;
  const button = event.target.closest("[data-page]");
  const does = button?.dataset.page;
  if (does === "theme") nextColours();
  if (does === "dismiss") {
    document.body.classList.add("notice-read");
    try {
      localStorage.setItem("rarl-notice-read", "yes");
    } catch {
      /* private window */
    }
  }
  if (does === "skip") {
    event.preventDefault();
    find("[role=tab]")?.click();
    setTimeout(() => find("#question textarea")?.focus(), 0);
  }
  if (does === "dismiss-trouble") button.closest(".trouble").remove();
  if (does === "fold") {
    document.body.classList.toggle("reasoning-folded");
    tendPanel();
  }
  if (does === "keys") {
    returnTo('[data-page="keys"]');
    showSheet(true);
  }
  if (does === "close") showSheet(false);
  if (does === "copy") copy(button);
  if (does === "tour") {
    showSheet(false);
    tour(0);
  }
  if (does === "tour-next") tourOn();
  if (does === "tour-back") tourBack();
  if (does === "tour-end") tour(-1);
});
