/* What only the browser can do: colours, paste and drop, zoom, and the keyboard. No request is
   made here, and nothing but the choice of colours is remembered. */
(() => {
  const modes = ["dark", "light", "system"];
  const asLight = window.matchMedia("(prefers-color-scheme: light)");
  const stored = () => {
    try { return localStorage.getItem("rarl-colours") || "dark"; } catch { return "dark"; }
  };

  function paint() {
    const mode = stored();
    const dark = mode === "dark" || (mode === "system" && !asLight.matches);
    if (document.body.classList.contains("dark") !== dark) {
      document.body.classList.toggle("dark", dark);
    }
    document.documentElement.style.background = dark ? "#0c1114" : "#f3f2ee";
    const label = document.querySelector('[data-page-label="theme"]');
    const word = mode[0].toUpperCase() + mode.slice(1);
    if (label && label.textContent !== word) label.textContent = word;
  }

  // --- Files: whatever way they arrive, the viewer sends them on.
  async function filesOf(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
    const found = [];
    const read = (reader) => new Promise((done, fail) => reader.readEntries(done, fail));
    while (entries.length) {
      const entry = entries.shift();
      if (entry.isFile) found.push(await new Promise((done, fail) => entry.file(done, fail)));
      else {
        const reader = entry.createReader();
        // It hands out a hundred at a time.
        for (let some = await read(reader); some.length; some = await read(reader)) entries.push(...some);
      }
    }
    return found;
  }
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  function glow(on) { document.body.classList.toggle("dropping", on); }

  document.addEventListener("dragover", (event) => {
    if (hasFiles(event)) { event.preventDefault(); glow(true); }
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) glow(false); });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    glow(false);
    const beside = Boolean(event.target.closest?.(".viewer-tray"));
    filesOf(event.dataTransfer).then((files) => RarlViewer.open(files, beside));
  }, true);
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files || [];
    if (files.length) { event.preventDefault(); RarlViewer.open(files); }
  });

  // --- The picture of a stored case: zoom, pan, brightness and contrast, for the eye only. The
  // state lives on the picture, so another case starts afresh.
  const fresh = () => ({ scale: 1, x: 0, y: 0, light: 1, contrast: 1 });
  function state(image) {
    if (!image.view || image.viewOf !== image.src) { image.view = fresh(); image.viewOf = image.src; }
    return image.view;
  }
  function apply(image) {
    const view = state(image);
    image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    image.style.filter = `brightness(${view.light}) contrast(${view.contrast})`;
  }
  const stageOf = (event) => event.target.closest?.('[data-page="stage"]');
  function zoom(image, factor, x = 0, y = 0) {
    const view = state(image);
    const scale = Math.min(12, Math.max(1, view.scale * factor));
    const real = scale / view.scale;
    view.x = scale === 1 ? 0 : x - (x - view.x) * real;
    view.y = scale === 1 ? 0 : y - (y - view.y) * real;
    view.scale = scale;
    apply(image);
  }
  document.addEventListener("wheel", (event) => {
    const stage = stageOf(event);
    if (!stage) return;
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(stage.querySelector("img"), event.deltaY < 0 ? 1.15 : 1 / 1.15,
      event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
  }, { passive: false });
  let held = null;
  document.addEventListener("pointerdown", (event) => {
    const stage = stageOf(event);
    if (!stage || event.pointerType === "touch") return;
    held = { image: stage.querySelector("img"), window: event.button === 2 || event.shiftKey };
  });
  document.addEventListener("pointermove", (event) => {
    if (!held) return;
    const view = state(held.image);
    if (held.window) {
      view.light = Math.min(4, Math.max(0.2, view.light - event.movementY / 200));
      view.contrast = Math.min(6, Math.max(0.2, view.contrast + event.movementX / 150));
    } else if (view.scale > 1) {
      view.x += event.movementX;
      view.y += event.movementY;
    }
    apply(held.image);
  });
  document.addEventListener("pointerup", () => { held = null; });
  document.addEventListener("contextmenu", (event) => { if (stageOf(event)) event.preventDefault(); });
  document.addEventListener("dblclick", (event) => {
    const image = stageOf(event)?.querySelector("img");
    if (image) { image.view = fresh(); apply(image); }
  });

  document.addEventListener("keydown", (event) => {
    const image = stageOf(event)?.querySelector("img");
    if (image) {
      const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
      if (event.key === "+" || event.key === "=") zoom(image, 1.25);
      else if (event.key === "-") zoom(image, 0.8);
      else if (event.key === "0") { image.view = fresh(); apply(image); }
      else if (moves[event.key] && state(image).scale > 1) {
        state(image).x += moves[event.key][0];
        state(image).y += moves[event.key][1];
        apply(image);
        event.preventDefault();
      }
    }
    // The panels behave as dialogs: Escape closes them, Tab stays inside.
    const panel = openPanel();
    if (!panel) return;
    if (event.key === "Escape") panel.querySelector("#flag-cancel, [data-page=close]")?.click();
    if (event.key === "Tab") {
      const stops = [...panel.querySelectorAll("button, input, textarea")]
        .filter((one) => !one.disabled && one.offsetParent);
      const [first, last] = [stops[0], stops[stops.length - 1]];
      if (event.shiftKey && document.activeElement === first) { last.focus(); event.preventDefault(); }
      else if (!event.shiftKey && document.activeElement === last) { first.focus(); event.preventDefault(); }
    }
  });

  function openPanel() {
    const inside = document.querySelector("#seen .drawer");
    if (inside) return inside;
    const panel = document.getElementById("flag-panel");
    return panel && panel.getClientRects().length ? panel : null;
  }
  let panelWasOpen = false;
  let opener = null;
  function tendPanel() {
    const panel = openPanel();
    if (panel && !panelWasOpen) {
      if (panel.id === "flag-panel") {
        panel.setAttribute("role", "dialog");
        panel.setAttribute("aria-modal", "true");
        panel.setAttribute("aria-labelledby", "flag-title");
      }
      panel.querySelector("input, button")?.focus({ preventScroll: true });
    } else if (!panel && panelWasOpen && opener) {
      document.querySelector(opener)?.focus({ preventScroll: true });
    }
    panelWasOpen = Boolean(panel);
  }

  document.addEventListener("click", (event) => {
    const flag = event.target.closest(".flag[data-arm]");
    if (flag) opener = `.flag[data-arm="${flag.dataset.arm}"]`;
    if (event.target.closest('[data-do="see"]')) opener = '[data-do="see"]';
    const button = event.target.closest("[data-page]");
    if (button?.dataset.page === "theme") {
      const next = modes[(modes.indexOf(stored()) + 1) % modes.length];
      try { localStorage.setItem("rarl-colours", next); } catch { /* private window */ }
      paint();
    }
    if (button?.dataset.page === "dismiss") document.body.classList.add("notice-read");
  });

  // Gradio sets its own colours once when it starts, and widgets come and go: follow both.
  function follow() {
    paint();
    asLight.addEventListener("change", paint);
    new MutationObserver(paint).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    new MutationObserver(() => { paint(); tendPanel(); })
      .observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["class", "style"] });
  }
  if (document.body) follow();
  else document.addEventListener("DOMContentLoaded", follow);
})();
