/* The tour: one step at a time, beside what it is about. */

import { find, narrow } from "./dom.js";

let step = -1;
/** Show a step; any other number ends the tour. */
export function tour(to) {
  const box = find("#tour .tour");
  if (!box) return;
  const steps = [...box.querySelectorAll("section")];
  step = to >= 0 && to < steps.length ? to : -1;
  box.hidden = step < 0;
  for (const lit of document.querySelectorAll(".lit-by-tour")) lit.classList.remove("lit-by-tour");
  steps.forEach((one, index) => {
    one.hidden = index !== step;
  });
  if (step < 0) {
    find("#question textarea")?.focus({ preventScroll: true });
    return;
  }
  find("[role=tab]")?.click();
  const lit = find(steps[step].dataset.light);
  lit?.classList.add("lit-by-tour");
  lit?.scrollIntoView({ block: narrow.matches ? "start" : "nearest" }); // above the tour's own box
  box.querySelector('[data-page="tour-back"]').disabled = step === 0;
  box.querySelector('[data-page="tour-next"]').textContent =
    step === steps.length - 1 ? "Done" : "Next";
  box.querySelector('[data-page="tour-next"]').focus({ preventScroll: true });
}

export const tourOn = () => tour(step + 1);
export const tourBack = () => tour(step - 1);
