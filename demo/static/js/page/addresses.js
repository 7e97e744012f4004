/* Addresses within the page: #results, #review/charts, #report/ID, and #case-3 for a case of this
   tab. */

import { find } from "./dom.js";
import { say } from "./voice.js";
import { followAddress, reportAddress } from "../report/main.js";

// A link to a case opens it again in the tab that asked it.
function followLink() {
  const number = location.hash.match(/^#case-(\d+)$/)?.[1];
  if (!number) return;
  history.replaceState(null, "", location.pathname + location.search);
  const button = find(`#history [data-event="reopen"][data-number="${number}"]`);
  if (button) button.click();
  else say("This case is not open in this tab any more; ask again.");
}

// Tabs have addresses, so that Back, Forward and a link work.
const BARS = ["#pages > .tab-wrapper", "#review-tabs > .tab-wrapper"];
const tabsOf = (bar) => [...document.querySelectorAll(`${bar} [role=tab]`)];
const nameOf = (tab) => tab.textContent.trim().toLowerCase();
const isOn = (tab) => tab.getAttribute("aria-selected") === "true";
function addressOfTabs() {
  const [page, part] = BARS.map((bar) => tabsOf(bar).find(isOn)).map((tab) =>
    tab ? nameOf(tab) : "",
  );
  if (page === "report") return reportAddress();
  return page === "review" && part ? `#review/${part}` : `#${page || "ask"}`;
}
function followTabs() {
  const names = location.hash.slice(1).split("/");
  const wanted = tabsOf(BARS[0]).find((tab) => nameOf(tab) === (names[0] || "ask"));
  if (!wanted) return;
  if (!isOn(wanted)) wanted.click();
  const part = tabsOf(BARS[1]).find((tab) => nameOf(tab) === names[1]);
  if (part && !isOn(part)) part.click();
}
let following = false;
document.addEventListener("click", (event) => {
  if (following || !event.target.closest?.("[role=tab]")) return;
  setTimeout(() => {
    const now = addressOfTabs();
    if (now !== (location.hash || "#ask")) history.pushState(null, "", now);
    if (event.target.closest(BARS[0])) followAddress();
  }, 0);
});
function navigate() {
  followLink();
  following = true;
  followTabs();
  following = false;
  followAddress();
}
window.addEventListener("popstate", navigate);
let followedFirst = false;

/** Go where the address says, once the tabs are there. */
export function followFirst() {
  if (followedFirst || !tabsOf(BARS[0]).length) return;
  followedFirst = true;
  if (/^#(results|report|review)/.test(location.hash)) navigate();
}
