/* What the viewer's buttons do; keys press them too. */

export function act(viewer, what, button = null) {
  const { state } = viewer;
  if (what === "open" || what === "folder" || what === "add") {
    viewer.adding = what === "add";
    viewer.find(what === "folder" ? ".viewer-folder" : ".viewer-files").click();
  } else if (what === "tool") viewer.setTool(button.dataset.tool, true);
  else if (what === "keys") {
    const keys = viewer.find(".viewer-keys");
    keys.hidden = !keys.hidden;
    viewer
      .find('.viewer-tools [data-do="keys"]')
      .setAttribute("aria-pressed", String(!keys.hidden));
  } else if (what === "large") viewer.setLarge(!viewer.root.classList.contains("large"));
  else if (what === "choose" || what === "choose-add") {
    viewer.busy("Opening");
    const { index } = button.dataset;
    viewer.trigger("chosen", {
      name: viewer.sent.name,
      index: Number(index),
      add: what === "choose-add",
    });
  } else if (what === "see") viewer.trigger("see", { report: viewer.report() });
  else if (!viewer.scan || !viewer.frame) return;
  else if (what === "measure") {
    const { measuring } = viewer;
    const off = viewer.scan.color ? "move" : "window";
    viewer.setTool(measuring.on ? off : measuring.last, !measuring.on);
  } else if (what === "undo") viewer.measuring.undo();
  else if (what === "redo") viewer.measuring.redo();
  else if (what === "unmeasure") viewer.measuring.drop();
  else if (what === "choose-drawing") viewer.measuring.choose(button.dataset.key);
  else if (what === "ask-drawing") viewer.measuring.ask(button.dataset.key);
  else if (what === "drop-drawing") viewer.measuring.drop(button.dataset.key);
  else if (what === "invert") {
    state.invert = !state.invert;
    viewer.redraw();
  } else if (what === "overlay") {
    state.overlay = !state.overlay;
    viewer.redraw();
  } else if (what === "beside") {
    viewer.beside = !viewer.beside && Boolean(viewer.other);
    viewer.arrange();
  } else if (what === "link") {
    viewer.linked = !viewer.linked;
    viewer.relink();
    viewer.arrange();
  } else if (what === "drop") viewer.dropBox();
  else if (what === "in") viewer.zoomTo(viewer.geometry().x * 1.25);
  else if (what === "out") viewer.zoomTo(viewer.geometry().x / 1.25);
  else if (what === "fit") {
    state.zoom = null;
    viewer.redraw();
  } else if (what === "actual") viewer.zoomTo(1);
  else if (what === "accept") {
    // A proposal may have missed something: the reader is asked once more.
    state.masks[state.plane].push(...viewer.scan.proposed);
    viewer.setTool("mask"); // a cover that hides anatomy goes by a click and its cross
    viewer.redraw();
  } else if (what === "draw") {
    viewer.setTool("mask");
    viewer.canvas.focus();
  } else if (what === "clean") {
    state.decided[state.plane] = true;
    if (viewer.tool === "mask") viewer.setTool(viewer.scan.color ? "move" : "window");
    viewer.redraw();
  } else if (what === "activate") viewer.activate(Number(button.dataset.index));
  else if (what === "remove") viewer.trigger("removed", { token: button.dataset.token });
}
