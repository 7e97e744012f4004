/* What only the browser can do: colours, paste and drop, zoom, the keyboard, the tour, and seeing
   that the app is out of reach. Nothing but the choice of colours, that the
   notice was read, and a random word of this tab is remembered. */
(() => {
  const modes = ["dark", "light", "system"];
  const narrow = window.matchMedia("(max-width: 760px)");
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
    if (!hasFiles(event)) return;
    event.preventDefault();
    glow(onAskPage());
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) glow(false); });
  // A file dropped on a field that takes files, or on another page, is no scan to open.
  const onAskPage = () => Boolean(find("#ask-page")?.offsetParent);
  const takesScan = (event) => onAskPage() && !event.target.closest?.('[data-testid="file-upload"], .import');
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    glow(false);
    if (!takesScan(event)) {
      if (!onAskPage() && !event.target.closest?.("button, input")) event.preventDefault();
      return;
    }
    event.preventDefault();
    const beside = Boolean(event.target.closest?.(".viewer-tray"));
    filesOf(event.dataTransfer).then((files) => RarlViewer.open(files, beside));
  }, true);
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files || [];
    if (files.length && onAskPage()) { event.preventDefault(); RarlViewer.open(files); }
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

  // Gradio opens a list on any key but Escape, after the key has moved the focus away: a list that
  // was left by Tab would stay open over the answers.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && event.target.matches?.("[role=combobox]")) event.stopPropagation();
  }, true);

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
    if (!panel) { shortcut(event); return; }
    if (event.key === "Escape") panel.querySelector(".flag-cancel, [data-page=close], [data-page=tour-end]")?.click();
    if (event.key === "Tab" && !panel.matches(".tour")) {
      const stops = [...panel.querySelectorAll("button, input, textarea, a[href]")]
        .filter((one) => !one.disabled && one.offsetParent);
      const [first, last] = [stops[0], stops[stops.length - 1]];
      if (event.shiftKey && [first, panel].includes(document.activeElement)) { last.focus(); event.preventDefault(); }
      else if (!event.shiftKey && document.activeElement === last) { first.focus(); event.preventDefault(); }
    }
  });

  // --- Keys of the page. The viewer has its own, and whoever types is left alone.
  const find = (selector) => document.querySelector(selector);
  let flagged = -1;
  const keys = {
    "?": () => showSheet(true),
    "/": () => find("#question textarea")?.focus(),
    s: () => find("#viewer canvas")?.focus(),
    a: () => find("#board .arm button")?.focus(),
    h: () => find("#history summary")?.click(),
    f: () => {
      const buttons = document.querySelectorAll("#board .flag");
      if (buttons.length) buttons[flagged = (flagged + 1) % buttons.length].click();
    },
    t: () => tour(0),
  };
  function shortcut(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      const open = find("details.history[open]");
      if (open) { open.open = false; open.querySelector("summary").focus(); }
      else if (find(".columns[data-running]")) find("#stop")?.click();
      return;
    }
    if (event.target.closest("input:not([type=radio]), textarea, select, [contenteditable]")) return;
    if (voteByKey(event)) { event.preventDefault(); return; }
    if (event.target.closest("input")) return;
    const name = event.key.toLowerCase();
    if (!find("#ask-page")?.offsetParent && !"?t".includes(name)) return;
    const button = find(`#after [aria-keyshortcuts="${CSS.escape(name.toUpperCase())}"]:enabled`);
    if (!keys[name] && !button) return;
    event.preventDefault();
    if (button) { opener = `#after [data-event="${button.dataset.event}"]`; button.click(); }
    else keys[name]();
  }

  /** A blind vote: the letter of the best answer, T for a tie, G all good, X all bad, Enter votes. */
  function voteByKey(event) {
    if (!find('.columns[data-stage="vote"]') || !find("#vote-choice")?.offsetParent) return false;
    if (event.key === "Enter" && find("#vote-choice :checked")) { find("#vote")?.click(); return true; }
    const value = { t: "tie", g: "all-good", x: "all-bad" }[event.key.toLowerCase()] ?? event.key.toUpperCase();
    const choice = [...document.querySelectorAll("#vote-choice input")].find((one) => one.value === value);
    choice?.click();
    return Boolean(choice);
  }

  function showSheet(shown) {
    const sheet = find("#sheet .sheet");
    if (sheet) sheet.hidden = !shown;
  }

  // --- The tour: one step at a time, beside what it is about.
  let step = -1;
  function tour(to) {
    const box = find("#tour .tour");
    if (!box) return;
    const steps = [...box.querySelectorAll("section")];
    step = to >= 0 && to < steps.length ? to : -1;
    box.hidden = step < 0;
    for (const lit of document.querySelectorAll(".lit-by-tour")) lit.classList.remove("lit-by-tour");
    steps.forEach((one, index) => { one.hidden = index !== step; });
    if (step < 0) { find("#question textarea")?.focus({ preventScroll: true }); return; }
    find("[role=tab]")?.click();
    const lit = find(steps[step].dataset.light);
    lit?.classList.add("lit-by-tour");
    lit?.scrollIntoView({ block: narrow.matches ? "start" : "nearest" }); // above the tour's own box
    box.querySelector('[data-page="tour-back"]').disabled = step === 0;
    box.querySelector('[data-page="tour-next"]').textContent = step === steps.length - 1 ? "Done" : "Next";
    box.querySelector('[data-page="tour-next"]').focus({ preventScroll: true });
  }

  // --- Short words from the page itself.
  let quiet = 0;
  function say(words) {
    let box = find("#page-says");
    if (!box) {
      box = document.createElement("p");
      box.id = "page-says";
      box.setAttribute("role", "status");
      document.body.append(box);
    }
    box.textContent = words;
    clearTimeout(quiet);
    quiet = setTimeout(() => { box.textContent = ""; }, 4000);
  }

  // The board is drawn anew while answers grow; its line is read out when its words change.
  let told = "";
  function readOut() {
    const line = find("#board .verdict");
    if (!line || line.textContent === told) return;
    let voice = find("#page-voice");
    if (!voice) {
      voice = document.createElement("p");
      voice.id = "page-voice";
      voice.className = "sr-only";
      voice.setAttribute("role", "status");
      document.body.append(voice);
    }
    told = line.textContent;
    voice.textContent = told;
    // On a phone the answers stand below the scan: what was asked moves up to make room for them.
    const news = find(".columns[data-running]") || line.matches(".trouble");
    if (narrow.matches && news) find("#ask-line")?.scrollIntoView({ block: "start" });
  }

  // --- Answers stand under the question and the view that they belong to. Where the box or the
  // viewer shows something else, the board is dimmed and says what it is about.
  const close_to = (a, b) => Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a), Math.abs(b));
  const sameList = (a, b) => (!a || !b ? !a === !b : a.length === b.length && a.every((one, i) => close_to(one, b[i])));
  function sameView(then, now) {
    return Boolean(now) && then.plane === now.plane && then.frame === now.frame && then.time === now.time
      && then.invert === now.invert && sameList(then.window, now.window) && sameList(then.region, now.region);
  }
  function markStale() {
    const board = find("#board");
    const about = find("#board .asked-about[data-number]");
    if (!board) return;
    let words = "";
    if (about) {
      const typed = find("#question textarea")?.value.trim() ?? "";
      const shown = RarlViewer.report()?.scans ?? [];
      const views = JSON.parse(about.dataset.views);
      const byToken = new Map(shown.map((one) => [one.token, one]));
      const chips = [...about.querySelectorAll("li")].map((one) => one.textContent.trim()).join("; ");
      const same = views.length === shown.length && views.every((view) => sameView(view, byToken.get(view.token)));
      if (!same) {
        const open = views.length === shown.length && views.every((view) => byToken.has(view.token));
        words = open && chips ? `Asked about ${chips[0].toLowerCase()}${chips.slice(1)}; the viewer now shows something else.`
          : open ? "The viewer now shows something else than these answers are about."
            : "These answers are about other pictures than those now open.";
      } else if (typed && typed !== about.dataset.typed) {
        words = "These answers belong to the question above, not to the one now in the box.";
      }
    }
    if (board.classList.contains("stale") !== Boolean(words)) board.classList.toggle("stale", Boolean(words));
    const line = find("#board .stale-line");
    if (!line) return;
    if (line.hidden === Boolean(words)) line.hidden = !words;
    const span = line.querySelector("span");
    if (span.textContent !== words) span.textContent = words;
  }
  document.addEventListener("input", (event) => { if (event.target.closest?.("#question")) markStale(); });
  document.addEventListener("drawn", markStale, true);

  async function copy(button) {
    const address = `${location.origin}${location.pathname}#case-${button.dataset.number}`;
    const facts = find("#seen .facts-json")?.textContent ?? "";
    const text = button.dataset.copy === "link" ? address : JSON.stringify(JSON.parse(facts), null, 2);
    try {
      await navigator.clipboard.writeText(text);
      say("Copied.");
    } catch {
      say("The browser does not let this page copy; select the text instead.");
    }
  }

  // A link to a case opens it again in the tab that asked it.
  function follow_link() {
    const number = location.hash.match(/^#case-(\d+)$/)?.[1];
    if (!number) return;
    history.replaceState(null, "", location.pathname + location.search);
    const button = find(`#history [data-event="reopen"][data-number="${number}"]`);
    if (button) button.click();
    else say("This case is not open in this tab any more; ask again.");
  }

  // --- Tabs have addresses (#results, #review/charts), so that Back, Forward and a link work.
  const BARS = ["#pages > .tab-wrapper", "#review-tabs > .tab-wrapper"];
  const tabsOf = (bar) => [...document.querySelectorAll(`${bar} [role=tab]`)];
  const nameOf = (tab) => tab.textContent.trim().toLowerCase();
  const isOn = (tab) => tab.getAttribute("aria-selected") === "true";
  function addressOfTabs() {
    const [page, part] = BARS.map((bar) => tabsOf(bar).find(isOn)).map((tab) => (tab ? nameOf(tab) : ""));
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
    }, 0);
  });
  function navigate() {
    follow_link();
    following = true;
    followTabs();
    following = false;
  }
  window.addEventListener("popstate", navigate);
  function followFirst() {
    if (!tabsOf(BARS[0]).length) return;
    followedFirst = true;
    if (/^#(results|review)/.test(location.hash)) navigate();
  }
  let followedFirst = false;

  // --- This tab, so that a reload finds what it held. A tab that was duplicated has a word of its own:
  // only a page that has ended hands its word on.
  const WORD = "rarl-tab";
  const ENDED = "rarl-tab-ended";
  window.RarlPage = {
    tab() {
      try {
        const again = Boolean(sessionStorage.getItem(ENDED));
        sessionStorage.removeItem(ENDED);
        let word = again ? sessionStorage.getItem(WORD) : null;
        if (!word) {
          word = [...crypto.getRandomValues(new Uint8Array(16))]
            .map((byte) => byte.toString(16).padStart(2, "0")).join("");
          sessionStorage.setItem(WORD, word);
        }
        return { tab: word, again };
      } catch { return null; }
    },
  };
  window.addEventListener("pagehide", () => {
    try { sessionStorage.setItem(ENDED, "1"); } catch { /* then nothing is kept */ }
  });
  window.addEventListener("pageshow", (event) => {
    try { if (event.persisted) sessionStorage.removeItem(ENDED); } catch { /* as above */ }
  });

  // --- Out of reach: said once, and taken back when it is over.
  const GLANCE = 8000;
  let missed = 0;
  async function glance() {
    if (document.hidden) return;
    try {
      await fetch(`${(window.gradio_config?.root ?? "").replace(/\/$/, "")}/healthz`, { cache: "no-store" });
      missed = 0;
    } catch {
      missed += 1;
    }
    let box = find("#out-of-reach");
    if (missed > 1 && !box) {
      box = document.createElement("p");
      box.id = "out-of-reach";
      box.setAttribute("role", "alert");
      box.textContent = "The app cannot be reached. What you typed stays on this page until it reloads; "
        + "open scans and their answers may be gone then. Flags that were saved are kept.";
      document.body.append(box);
    } else if (!missed) box?.remove();
  }
  setInterval(glance, GLANCE);
  window.addEventListener("offline", () => { missed = 1; glance(); });

  function openPanel() {
    const inside = find("#seen .drawer, #sheet .sheet:not([hidden])");
    if (inside) return inside;
    const panel = [...document.querySelectorAll(".flag-drawer")].find((one) => one.getClientRects().length);
    if (panel) return panel;
    return find("#tour .tour:not([hidden])");
  }
  let panelWasOpen = false;
  let opener = null;
  function tendPanel() {
    const panel = openPanel();
    if (panel && !panelWasOpen) {
      if (panel.matches(".flag-drawer")) {
        panel.setAttribute("role", "dialog");
        panel.setAttribute("aria-modal", "true");
        panel.setAttribute("aria-labelledby", `${panel.id}-title`);
        // Its choices are drawn anew as it opens: whichever had the focus would lose it.
        panel.setAttribute("tabindex", "-1");
        panel.focus({ preventScroll: true });
      } else if (!panel.matches(".tour")) panel.querySelector("button")?.focus({ preventScroll: true });
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

  document.addEventListener("click", (event) => {
    const back = event.target.closest('[data-event="reopen"]');
    if (back) RarlViewer.recall(JSON.parse(back.dataset.views));
    const flag = event.target.closest(".flag[data-arm]");
    if (flag) opener = `.flag[data-arm="${flag.dataset.arm}"]`;
    if (event.target.closest('#case [data-event="correct"]')) opener = '#case [data-event="correct"]';
    if (event.target.closest('[data-do="see"]')) opener = '[data-do="see"]';
    const doubt = event.target.closest("#after [data-event]");
    if (doubt) opener = `#after [data-event="${doubt.dataset.event}"]`;
    const open = find("details.history[open]");
    if (open && (!open.contains(event.target) || event.target.closest("[data-event]"))) open.open = false;
    const button = event.target.closest("[data-page]");
    if (button?.dataset.page === "theme") {
      const next = modes[(modes.indexOf(stored()) + 1) % modes.length];
      try { localStorage.setItem("rarl-colours", next); } catch { /* private window */ }
      paint();
    }
    const does = button?.dataset.page;
    if (does === "dismiss") {
      document.body.classList.add("notice-read");
      try { localStorage.setItem("rarl-notice-read", "yes"); } catch { /* private window */ }
    }
    if (does === "skip") { event.preventDefault(); find("[role=tab]")?.click(); setTimeout(() => find("#question textarea")?.focus(), 0); }
    if (does === "dismiss-trouble") button.closest(".trouble").remove();
    if (does === "fold") { document.body.classList.toggle("reasoning-folded"); tendPanel(); }
    if (does === "keys") { opener = '[data-page="keys"]'; showSheet(true); }
    if (does === "close") showSheet(false);
    if (does === "copy") copy(button);
    if (does === "tour") { showSheet(false); tour(0); }
    if (does === "tour-next") tour(step + 1);
    if (does === "tour-back") tour(step - 1);
    if (does === "tour-end") tour(-1);
  });

  // Gradio sets its own colours once when it starts, and widgets come and go: follow both.
  function follow() {
    paint();
    try {
      if (localStorage.getItem("rarl-notice-read")) document.body.classList.add("notice-read");
    } catch { /* private window */ }
    asLight.addEventListener("change", paint);
    new MutationObserver(paint).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    new MutationObserver(() => { paint(); tendPanel(); readOut(); markStale(); if (!followedFirst) followFirst(); })
      .observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ["class", "style", "hidden"] });
  }
  if (document.body) follow();
  else document.addEventListener("DOMContentLoaded", follow);
})();
