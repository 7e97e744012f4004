/* The controls and labels of the viewer, as its state says. */

import { widthToSlider } from "./geometry.js";
import { ROLES } from "./tray.js";

export function drawTexts(viewer) {
  const { scan, state, pane } = viewer;
  const say = (selector, text) => {
    viewer.find(selector).textContent = text;
  };
  const slider = viewer.find(".viewer-slice");
  viewer.find('[data-do="overlay"]').hidden = !scan?.overlay;
  if (!scan) {
    slider.hidden = viewer.find(".viewer-notice").hidden = true;
    for (const name of ["time", "plane"]) viewer.input(name).closest("label").hidden = true;
    return;
  }
  for (const one of viewer.visible) {
    const role = ROLES.find(([key]) => key === one.state.role)[1];
    const title = viewer.beside ? `${role}: ${one.scan.title}` : one.scan.title;
    one.write(title, one === pane ? viewer.cursor : null);
  }
  slider.hidden = viewer.frameCount < 2;
  slider.max = viewer.frameCount - 1;
  slider.value = state.frame;
  slider.setAttribute("aria-valuetext", `Slice ${state.frame + 1} of ${viewer.frameCount}`);
  viewer.input("time").value = state.time;
  viewer.input("plane").value = state.plane;
  const used = viewer.shownWindow();
  if (used) {
    viewer.input("level").value = used[0];
    viewer.input("width").value = widthToSlider(used[1], scan.widths);
    for (const [name, value] of [
      ["level", used[0]],
      ["width", used[1]],
    ]) {
      const number = viewer.input(`${name}-number`);
      if (document.activeElement !== number) number.value = pane.number(value);
      viewer.input(name).setAttribute("aria-valuetext", pane.number(value));
    }
  }
  if (scan.color) for (const name of ["level", "width"]) viewer.input(`${name}-number`).value = "";
  viewer.input("preset").value = scan.color ? "" : state.preset;
  for (const name of ["invert", "overlay"]) {
    viewer.find(`[data-do="${name}"]`).setAttribute("aria-pressed", String(state[name]));
  }
  viewer.find(".viewer-notice").hidden = state.decided[state.plane];
  const covered = state.masks[state.plane].length > 0;
  const proposed = scan.proposed.length && state.plane === scan.planes[0];
  viewer.find('[data-do="accept"]').hidden = covered || !proposed;
  say(
    "[data-notice]",
    covered
      ? "Can a name, a number or a date still be read in the picture?"
      : "Text may be burned into this picture. Cover what names the patient before you ask.",
  );
  say('[data-do="draw"]', covered ? "Draw another cover" : "Draw a cover");
  say('[data-do="clean"]', covered ? "Everything is covered" : "No name in it");
}
