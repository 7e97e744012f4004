/* The scan viewer: one canvas, its tools, and what is told to Python when a question is asked. */
const RarlViewer = (() => {
  "use strict";
  const { Frames } = RarlPicture;
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const capital = (word) => word[0].toUpperCase() + word.slice(1);
  const HANDLE = 9; // CSS pixels around a corner that take hold of it
  const AHEAD = [1, -1, 2, 10, -2, 3, -3, 4, 5, 6]; // page up and down go ten
  const UPLOADS_AT_ONCE = 4;
  const ROLES = [["current", "Current"], ["prior", "Prior"], ["frontal", "Frontal"], ["lateral", "Lateral"]];
  const element = (name, attributes = {}, text = "") => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };

  class Viewer {
    constructor(root, props, trigger, upload, watch) {
      this.root = root.querySelector(".viewer");
      this.props = props;
      this.trigger = trigger;
      this.upload = upload;
      const base = (window.gradio_config?.root ?? "").replace(/\/$/, "");
      this.frames = new Frames(`${base}/scan/frame`);
      this.panes = new Map(); // by token
      this.order = [];
      this.at = 0;
      this.tool = "window";
      this.chosen = null; // index of the box that keys act on
      this.pointers = new Map(); // where each finger or the mouse is held down, in CSS pixels
      this.beside = false; // whether two scans share the stage
      this.linked = true; // whether the other one goes along
      this.stage = this.find(".viewer-stage");
      this.canvas = this.find(".viewer-canvas");
      this.listen();
      new ResizeObserver(() => this.resize()).observe(this.stage);
      watch("value", () => this.take(props.value));
      this.take(props.value);
    }

    find(selector) { return this.root.querySelector(selector); }
    input(name) { return this.find(`[data-input="${name}"]`); }
    get scan() { return this.order[this.at] ?? null; }
    get pane() { return this.panes.get(this.scan?.token) ?? null; }
    get state() { return this.pane?.state ?? null; }
    get frame() { return this.pane?.frame ?? null; }
    get frameCount() { return this.pane.frameCount; }
    /** The scan that was on the stage before; beside the one on it, or a keystroke away. */
    get other() {
      const token = this.order.some((scan) => scan.token === this.last && scan !== this.scan)
        ? this.last : this.order.find((scan) => scan !== this.scan)?.token;
      return this.panes.get(token) ?? null;
    }
    /** What is on the stage, in the order of the tray. */
    get visible() {
      if (!this.scan) return [];
      const shown = this.beside && this.other ? [this.pane, this.other] : [this.pane];
      return this.order.map((scan) => this.panes.get(scan.token)).filter((one) => shown.includes(one));
    }

    // --- What Python says is open ------------------------------------------------------------

    take(spec) {
      this.busy("");
      if (!spec?.scans) return;
      const tokens = spec.scans.map((scan) => scan.token);
      const several = this.order.length > 1;
      for (const scan of spec.scans) {
        if (!this.panes.has(scan.token)) {
          const labels = this.find("template").content.firstElementChild.cloneNode(true);
          this.panes.set(scan.token, new RarlPane(scan, labels));
        }
        this.panes.get(scan.token).scan = scan;
      }
      for (const token of [...this.panes.keys()]) {
        if (!tokens.includes(token)) this.panes.delete(token);
      }
      this.frames.keepOnly(tokens);
      const before = this.scan?.token;
      this.order = spec.scans;
      this.at = Math.max(0, tokens.indexOf(spec.active));
      const same = before === this.scan?.token;
      if (!same) this.last = before;
      this.relink();
      // Who adds a second scan wants to compare.
      if (tokens.length < 2) this.beside = false;
      else if (!several) this.beside = true;
      this.tray();
      this.offer(spec.upload);
      if (!same || !this.frame) this.show();
      else this.arrange();
      if (spec.recall) this.recall(spec.recall);
    }

    /** Everything that a question needs to know of what is on the screen. */
    report() {
      return {
        active: this.scan?.token ?? null,
        scans: this.order.map((scan) => {
          const { state } = this.panes.get(scan.token);
          return {
            token: scan.token, role: state.role, plane: state.plane, frame: state.frame,
            time: state.time, window: state.window, invert: state.invert,
            masks: state.masks[state.plane], region: state.regions[state.plane] ?? null,
            decided: state.decided[state.plane],
          };
        }),
      };
    }

    /** Look again as an earlier question did. Covers stay as they are: none may get lost. */
    recall(views) {
      for (const { token, region, ...view } of views) {
        const state = this.panes.get(token)?.state;
        if (!state) continue;
        Object.assign(state, view, { preset: view.window ? "custom" : "file", zoom: null });
        if (region) state.regions[view.plane] = region;
        else delete state.regions[view.plane];
      }
      this.relink();
      this.show();
    }

    /** Put another of the open scans (or none) on the stage. */
    show() {
      const { scan } = this;
      this.chosen = null;
      this.stage.toggleAttribute("data-empty", !scan);
      for (const name of ["see", "add"]) this.find(`[data-do="${name}"]`).disabled = !scan;
      delete this.stage.dataset.frame;
      this.arrange();
      if (!scan) return;
      this.setTool(scan.color ? "move" : "window");
      const planes = this.input("plane");
      planes.replaceChildren(...scan.planes.map((plane) =>
        element("option", { value: plane }, capital(plane))));
      planes.closest("label").hidden = scan.planes.length < 2;
      const time = this.input("time");
      time.max = scan.times - 1;
      time.closest("label").hidden = scan.times < 2;
      const presets = this.input("preset");
      presets.replaceChildren(
        ...scan.presets.map((preset) => element("option", { value: preset.key }, preset.label)),
        element("option", { value: "custom", hidden: "" }, "Custom window"),
        element("option", { value: "", hidden: "" }, "Colour image"),
      );
      for (const name of ["preset", "level", "width", "level-number", "width-number"]) {
        this.input(name).disabled = scan.color;
      }
      for (const [name, [low, high]] of [["level", scan.levels], ["width", scan.widths]]) {
        // The slider moves through its range evenly for levels, by ratios for widths.
        const slider = this.input(name);
        slider.min = name === "width" ? 0 : low;
        slider.max = name === "width" ? 1000 : high;
        slider.step = name === "width" ? 1 : scan.step;
        this.input(`${name}-number`).step = scan.step;
      }
      this.fetch();
    }

    // --- Frames -------------------------------------------------------------------------------

    /** Show the frame that a pane wants; what arrives late is shown only on its way there. */
    async fetch(pane = this.pane) {
      const place = pane.wanted;
      const kept = this.frames.peek(place);
      if (kept) {
        this.arrived(pane, kept, place);
        return;
      }
      if (pane === this.pane) this.texts();
      if (pane.fetching) return; // the one under way comes back for the newest
      pane.fetching = true;
      try {
        const frame = await this.frames.get(place);
        // A frame passed on the way to another is shown too: it tells that something moves.
        if (pane.state.plane === place.plane) this.arrived(pane, frame, place);
      } catch (error) {
        this.busy(error.message === "404"
          ? "This scan is no longer open here; open it again."
          : "The picture did not arrive; move to it again.", true);
      } finally {
        pane.fetching = false;
      }
      const open = this.panes.get(place.token) === pane;
      if (open && Frames.key(pane.wanted) !== Frames.key(place)) this.fetch(pane);
    }

    arrived(pane, frame, place) {
      const back = pane.place?.plane === place.plane && pane.place.frame > place.frame;
      pane.take(frame, place);
      this.redraw();
      this.prefetch(pane, back ? -1 : 1);
    }

    prefetch(pane, direction) {
      const ticket = (pane.ticket = {});
      const { frame, ...rest } = pane.wanted;
      const next = AHEAD.map((step) => frame + step * direction)
        .filter((one) => one >= 0 && one < pane.frameCount);
      const work = async () => {
        for (const one of next) {
          if (pane.ticket !== ticket) return;
          try { await this.frames.get({ ...rest, frame: one }); } catch { return; }
        }
      };
      // After the picture: what is seen now comes first.
      setTimeout(work, 30);
    }

    /** Bring the other scan along; its own window, boxes and time stay as they are. */
    follow() {
      const { other, pane } = this;
      if (!this.linked || !other) return;
      other.follow(pane, this.apart ?? 0);
      if (this.beside && Frames.key(other.wanted) !== Frames.key(other.place ?? {})) this.fetch(other);
    }

    /** From here on the other one stays as far away as it is now. */
    relink() {
      const { other, pane } = this;
      const same = pane && other && pane.state.plane === other.state.plane;
      this.apart = same ? other.depth - pane.depth : 0;
    }

    // --- Drawing ------------------------------------------------------------------------------

    /** Who stands where on the stage. */
    arrange() {
      const { visible, canvas } = this;
      const share = 100 / visible.length;
      const whole = { left: 0, width: canvas.width, height: canvas.height };
      for (const pane of this.panes.values()) pane.area = whole; // also of those out of sight
      this.find(".viewer-panes").replaceChildren(...visible.map((pane) => pane.labels));
      visible.forEach((pane, index) => {
        const width = Math.floor(canvas.width / visible.length);
        pane.area = { ...whole, left: index * width, width };
        pane.labels.style.cssText = `left:${index * share}%;width:${share}%`;
        pane.labels.toggleAttribute("data-active", visible.length > 1 && pane === this.pane);
        if (pane === this.pane) this.find(".viewer-hold").style.cssText = pane.labels.style.cssText;
        if (!pane.frame) this.fetch(pane);
      });
      for (const [name, on] of [["beside", this.beside], ["link", this.linked]]) {
        const button = this.find(`[data-do="${name}"]`);
        button.hidden = this.order.length < 2;
        button.setAttribute("aria-pressed", String(on));
      }
      const tools = this.root.querySelectorAll(".viewer-tools button:not([hidden])").length;
      const rail = this.find(".viewer-tools");
      this.root.toggleAttribute("data-short", rail.clientHeight < 38 * tools);
      if (visible.length) this.redraw();
      else canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
      this.texts();
    }

    resize() {
      const box = this.stage.getBoundingClientRect();
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [Math.round(box.width * ratio), Math.round(box.height * ratio)];
      if (this.canvas.width !== width || this.canvas.height !== height) {
        [this.canvas.width, this.canvas.height] = [width, height];
        this.arrange();
        if (this.frame) this.draw(); // at once: setting the size has wiped the canvas
      }
    }

    redraw() {
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => {
        this.waiting = false;
        if (this.frame) this.draw();
      });
    }

    geometry() { return this.pane.geometry(); }

    draw() {
      this.follow(); // also where it was this one whose zoom changed
      const context = this.canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.fillStyle = "#000";
      context.fillRect(0, 0, this.canvas.width, this.canvas.height);
      for (const pane of this.visible) if (pane.frame) pane.draw(context);
      this.root.toggleAttribute("data-zoomed", Boolean(this.state.zoom));
      this.overlay();
      this.texts();
      // For programs that look on: what has been drawn, and at how many device pixels a column.
      const { place } = this.pane;
      Object.assign(this.stage.dataset, {
        token: place.token, plane: place.plane, frame: place.frame, time: place.time,
        window: this.shownWindow()?.join(",") ?? "", scale: this.geometry().x,
      });
      this.root.dispatchEvent(new CustomEvent("drawn"));
    }

    shownWindow() { return this.pane?.window() ?? null; }

    overlay() {
      for (const pane of this.visible) {
        if (!pane.frame) continue;
        if (pane === this.pane) pane.boxes(this.tool, this.chosen, this.drawing);
        else pane.boxes(null, null, null);
      }
    }

    texts() {
      const { scan, state, pane } = this;
      const say = (selector, text) => { this.find(selector).textContent = text; };
      const slider = this.find(".viewer-slice");
      this.find('[data-do="overlay"]').hidden = !scan?.overlay;
      if (!scan) {
        slider.hidden = this.find(".viewer-notice").hidden = true;
        for (const name of ["time", "plane"]) this.input(name).closest("label").hidden = true;
        return;
      }
      for (const one of this.visible) {
        const role = ROLES.find(([key]) => key === one.state.role)[1];
        const title = this.beside ? `${role}: ${one.scan.title}` : one.scan.title;
        one.write(title, one === pane ? this.cursor : null);
      }
      slider.hidden = this.frameCount < 2;
      slider.max = this.frameCount - 1;
      slider.value = state.frame;
      slider.setAttribute("aria-valuetext", `Slice ${state.frame + 1} of ${this.frameCount}`);
      this.input("time").value = state.time;
      this.input("plane").value = state.plane;
      const used = this.shownWindow();
      if (used) {
        this.input("level").value = used[0];
        this.input("width").value = this.widthToSlider(used[1]);
        for (const [name, value] of [["level", used[0]], ["width", used[1]]]) {
          const number = this.input(`${name}-number`);
          if (document.activeElement !== number) number.value = pane.number(value);
          this.input(name).setAttribute("aria-valuetext", pane.number(value));
        }
      }
      if (scan.color) for (const name of ["level", "width"]) this.input(`${name}-number`).value = "";
      this.input("preset").value = scan.color ? "" : state.preset;
      for (const name of ["invert", "overlay"]) {
        this.find(`[data-do="${name}"]`).setAttribute("aria-pressed", String(state[name]));
      }
      this.find(".viewer-notice").hidden = state.decided[state.plane];
      const covered = state.masks[state.plane].length > 0;
      const proposed = scan.proposed.length && state.plane === scan.planes[0];
      this.find('[data-do="accept"]').hidden = covered || !proposed;
      say("[data-notice]", covered
        ? "Can a name, a number or a date still be read in the picture?"
        : "Text may be burned into this picture. Cover what names the patient before you ask.");
      say('[data-do="draw"]', covered ? "Draw another cover" : "Draw a cover");
      say('[data-do="clean"]', covered ? "Everything is covered" : "No name in it");
    }

    /** Tell a screen reader, once the hand has come to rest. */
    say(text) {
      clearTimeout(this.saying);
      this.saying = setTimeout(() => { this.find("[data-said]").textContent = text; }, 350);
    }

    busy(text, failed = false) {
      const note = this.find(".viewer-busy");
      note.textContent = text;
      note.hidden = !text;
      note.classList.toggle("failed", failed);
    }

    // --- Changing what is seen ----------------------------------------------------------------

    go(frame, time = this.state.time) {
      if (!this.scan) return;
      const { state } = this;
      frame = clamp(frame, 0, this.frameCount - 1);
      time = clamp(time, 0, this.scan.times - 1);
      if (frame === state.frame && time === state.time) return;
      state.frame = frame;
      state.time = time;
      this.say(`Slice ${frame + 1} of ${this.frameCount}`);
      this.follow();
      this.fetch();
    }

    setPlane(plane) {
      const { state } = this;
      if (!this.scan || plane === state.plane) return;
      state.plane = plane;
      state.frame = Math.floor(this.frameCount / 2);
      state.zoom = null;
      this.chosen = null;
      this.apart = 0;
      this.say(`${plane} plane`);
      this.follow();
      this.fetch();
    }

    setWindow(center, width, preset = "custom") {
      if (!this.scan || this.scan.color) return;
      const { state, scan } = this;
      const narrowest = scan.step < 1 ? scan.step : 1;
      state.window = [clamp(center, -1e9, 1e9), clamp(width, narrowest, 2e9)];
      state.preset = preset;
      this.say(`Level ${Math.round(state.window[0])}, width ${Math.round(state.window[1])}`);
      this.redraw();
    }

    setPreset(key) {
      const preset = this.scan?.presets.find((one) => one.key === key);
      if (!preset || !this.frame) return;
      if (preset.key === "file") {
        this.state.window = null;
        this.state.preset = key;
        this.redraw();
      } else {
        const [center, width] = preset.key === "auto" ? this.frame.auto : preset.window;
        this.setWindow(center, width, key);
      }
      this.say(preset.label);
    }

    widthToSlider(width) {
      const [low, high] = this.scan.widths;
      return (1000 * Math.log(clamp(width, low, high) / low)) / Math.log(high / low);
    }

    sliderToWidth(value) {
      const [low, high] = this.scan.widths;
      const width = low * (high / low) ** (value / 1000);
      return this.scan.step < 1 ? width : Math.round(width);
    }

    zoomTo(scale, point = null) {
      if (!this.frame) return;
      const { x, y, left, top, fit } = this.geometry();
      const real = clamp(scale, Math.min(fit, 1) / 2, Math.max(fit, 1) * 40);
      const { area } = this.pane;
      const middle = [area.left + area.width / 2, area.height / 2];
      const [px, py] = point ?? middle;
      const under = [(px - left) / x, (py - top) / y];
      const aspect = y / x;
      this.state.zoom = {
        scale: real,
        centre: [under[0] - (px - middle[0]) / real, under[1] - (py - middle[1]) / (real * aspect)],
      };
      this.redraw();
    }

    pan(dx, dy) {
      if (!this.frame) return;
      const { x, y } = this.geometry();
      const { frame, state } = this;
      state.zoom ??= { scale: x, centre: [frame.columns / 2, frame.rows / 2] };
      state.zoom.centre = [
        clamp(state.zoom.centre[0] - dx / x, 0, frame.columns),
        clamp(state.zoom.centre[1] - dy / y, 0, frame.rows),
      ];
      this.redraw();
    }

    /** @param chosen whether the reader asked for it; on a touch screen one finger scrolls the page
     *  over a tool that nobody chose, and the window stays as it is. */
    setTool(tool, chosen = false) {
      this.tool = tool;
      this.chosenTool = chosen;
      this.root.dataset.tool = tool;
      this.root.toggleAttribute("data-tool-chosen", chosen);
      for (const button of this.root.querySelectorAll('[data-do="tool"]')) {
        button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
      }
      if (this.frame) this.overlay();
    }

    setLarge(large) {
      this.root.classList.toggle("large", large);
      this.find('[data-do="large"]').setAttribute("aria-pressed", String(large));
      this.resize();
    }

    // --- Boxes: the region of the question, and covers ----------------------------------------

    get editable() { return this.tool === "region" || this.tool === "mask"; }

    boxList() {
      const { state } = this;
      if (this.tool === "mask") return state.masks[state.plane];
      const region = state.regions[state.plane];
      return region ? [region] : [];
    }

    putBox(index, box) {
      const { state, frame } = this;
      const [l, t, r, b] = box;
      const whole = [
        clamp(Math.round(Math.min(l, r)), 0, frame.columns - 1),
        clamp(Math.round(Math.min(t, b)), 0, frame.rows - 1),
        clamp(Math.round(Math.max(l, r)), 1, frame.columns),
        clamp(Math.round(Math.max(t, b)), 1, frame.rows),
      ];
      whole[2] = Math.max(whole[2], whole[0] + 1);
      whole[3] = Math.max(whole[3], whole[1] + 1);
      if (this.tool === "mask") {
        const masks = state.masks[state.plane];
        masks[index ?? masks.length] = whole;
        this.chosen = index ?? masks.length - 1;
      } else {
        state.regions[state.plane] = whole;
        this.chosen = 0;
      }
      this.say(`${this.tool === "mask" ? "Cover" : "Region"} from ${whole[0]}, ${whole[1]} to ${whole[2]}, ${whole[3]}`);
      this.redraw();
    }

    dropBox() {
      const { state } = this;
      if (this.tool === "mask") state.masks[state.plane].splice(this.chosen ?? -1, 1);
      else delete state.regions[state.plane];
      this.chosen = null;
      this.say("Box removed");
      this.redraw();
    }

    placeBox() {
      const { frame } = this;
      if (!frame) return;
      const [w, h] = [frame.columns, frame.rows];
      this.putBox(null, [w * 0.375, h * 0.375, w * 0.625, h * 0.625]);
    }

    nudge(dx, dy, size) {
      const box = this.boxList()[this.chosen ?? -1];
      if (!box) return false;
      const step = Math.max(1, Math.round(this.frame.columns / 100));
      const [mx, my] = [dx * step, dy * step];
      const [l, t, r, b] = box;
      const [w, h] = [r - l, b - t];
      if (size) {
        this.putBox(this.chosen, [l, t, Math.max(l + 1, r + mx), Math.max(t + 1, b + my)]);
      } else {
        const left = clamp(l + mx, 0, this.frame.columns - w);
        const top = clamp(t + my, 0, this.frame.rows - h);
        this.putBox(this.chosen, [left, top, left + w, top + h]);
      }
      return true;
    }

    /** Which box, and which corner of it, lies under a point of the image. */
    hit(point) {
      const { x, y } = this.geometry();
      const ratio = window.devicePixelRatio || 1;
      const [near, far] = [(HANDLE * ratio) / x, (HANDLE * ratio) / y];
      const list = this.boxList();
      for (let index = list.length - 1; index >= 0; index--) {
        const [l, t, r, b] = list[index];
        for (const [cx, cy, ox, oy] of [[l, t, r, b], [r, t, l, b], [l, b, r, t], [r, b, l, t]]) {
          if (Math.abs(point[0] - cx) < near && Math.abs(point[1] - cy) < far) {
            return { index, anchor: [ox, oy] };
          }
        }
        if (point[0] > l && point[0] < r && point[1] > t && point[1] < b) return { index, box: [l, t, r, b] };
      }
      return null;
    }

    // --- Pointer ------------------------------------------------------------------------------

    devicePoint(event) {
      const box = this.canvas.getBoundingClientRect();
      const ratio = window.devicePixelRatio || 1;
      return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    }

    imagePoint(event) {
      const [px, py] = this.devicePoint(event);
      const { x, y, left, top } = this.geometry();
      return [(px - left) / x, (py - top) / y];
    }

    /** The pane under a pointer becomes the one that is worked on. */
    enter(event) {
      const [px] = this.devicePoint(event);
      const under = this.visible.find(({ area }) => px >= area.left && px < area.left + area.width);
      if (under && under !== this.pane) this.activate(this.order.indexOf(under.scan));
    }

    press(event) {
      if (!this.pointers.size) this.enter(event);
      if (!this.frame) return;
      this.busy("");
      this.canvas.focus({ preventScroll: true });
      this.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      event.preventDefault();
      if (this.pointers.size > 1) { // a second finger: nothing is drawn, two fingers zoom
        this.drawing = null;
        this.held = { kind: "pinch" };
        return;
      }
      const kind = event.button === 0 && !event.shiftKey ? this.tool : "move";
      const scrolls = event.pointerType === "touch" && !this.chosenTool && !this.editable
        && !(kind === "move" && this.state.zoom);
      this.held = { kind: scrolls ? "scroll" : kind };
      if (event.button === 0 && this.editable) {
        const point = this.imagePoint(event);
        const hit = this.hit(point);
        this.held = hit?.box
          ? { kind: "shift", start: point, ...hit }
          : { kind: "stretch", anchor: hit?.anchor ?? point, index: hit?.index ?? null };
        if (hit) this.chosen = hit.index;
      }
    }

    drag(event) {
      if (!this.frame) return;
      const [px] = this.devicePoint(event);
      const { area } = this.pane;
      const over = px >= area.left && px < area.left + area.width;
      this.cursor = event.pointerType === "touch" || !over ? null : this.imagePoint(event);
      const { held } = this;
      const before = this.pointers.get(event.pointerId);
      if (!held || !before) {
        this.texts();
        return;
      }
      if (held.kind === "pinch") {
        this.pinch(event);
        return;
      }
      if (held.kind === "scroll") return;
      const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      const ratio = window.devicePixelRatio || 1;
      if (held.kind === "window" && !this.scan.color) {
        const [center, width] = this.shownWindow();
        const reach = Math.max(width, this.scan.step * 50) / 250;
        this.setWindow(center + dy * reach, width + dx * reach);
      } else if (held.kind === "move" || held.kind === "window") {
        this.pan(dx * ratio, dy * ratio);
      } else if (held.kind === "stretch") {
        this.drawing = this.span(held.anchor, this.imagePoint(event));
        this.overlay();
      } else {
        const point = this.imagePoint(event);
        const [l, t, r, b] = held.box;
        const right = clamp(point[0] - held.start[0], -l, this.frame.columns - r);
        const down = clamp(point[1] - held.start[1], -t, this.frame.rows - b);
        this.putBox(held.index, [l + right, t + down, r + right, b + down]);
      }
    }

    /** Two fingers: their distance zooms, their middle moves. */
    pinch(event) {
      const spread = ([one, two]) => Math.hypot(one[0] - two[0], one[1] - two[1]);
      const middle = ([one, two]) => [(one[0] + two[0]) / 2, (one[1] + two[1]) / 2];
      const before = [...this.pointers.values()].slice(0, 2);
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      const after = [...this.pointers.values()].slice(0, 2);
      const [from, to] = [middle(before), middle(after)];
      const ratio = window.devicePixelRatio || 1;
      this.pan((to[0] - from[0]) * ratio, (to[1] - from[1]) * ratio);
      const point = this.devicePoint({ clientX: to[0], clientY: to[1] });
      this.zoomTo(this.geometry().x * (spread(after) / Math.max(spread(before), 1)), point);
    }

    span(one, other) {
      const { columns, rows } = this.frame;
      return [
        clamp(Math.min(one[0], other[0]), 0, columns), clamp(Math.min(one[1], other[1]), 0, rows),
        clamp(Math.max(one[0], other[0]), 0, columns), clamp(Math.max(one[1], other[1]), 0, rows),
      ];
    }

    release(event) {
      this.pointers.delete(event.pointerId);
      const { held, drawing } = this;
      this.held = this.drawing = null;
      // A click without a drag draws nothing.
      if (held?.kind === "stretch" && drawing && drawing[2] - drawing[0] >= 2 && drawing[3] - drawing[1] >= 2) {
        this.putBox(held.index, drawing);
      } else if (this.frame) {
        this.overlay();
      }
    }

    // --- Keys ---------------------------------------------------------------------------------

    key(event) {
      if (event.ctrlKey || event.metaKey || !this.scan || !this.frame) return false;
      const arrows = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
      const arrow = arrows[event.key];
      const { state } = this;
      if (arrow) {
        const [dx, dy] = arrow;
        if (event.altKey) this.pan(-dx * 40, -dy * 40);
        else if (this.editable && this.nudge(dx, dy, event.shiftKey)) return true;
        else if (event.shiftKey && !this.scan.color) {
          const [center, width] = this.shownWindow();
          const step = Math.max(this.scan.step, width / 25);
          this.setWindow(center - dy * step, width + dx * step);
        } else if (dx && this.scan.times > 1) this.go(state.frame, state.time + dx);
        else this.go(state.frame + dx + dy);
        return true;
      }
      if (event.altKey) return false;
      if (/^[1-9]$/.test(event.key)) {
        const preset = this.scan.presets[Number(event.key) - 1];
        if (preset && !this.scan.color) this.setPreset(preset.key);
        return true;
      }
      const steps = { PageUp: state.frame - 10, PageDown: state.frame + 10, Home: 0, End: this.frameCount - 1 };
      if (event.key in steps) { this.go(steps[event.key]); return true; }
      const does = {
        "+": "in", "=": "in", "-": "out", _: "out", 0: "fit", z: "actual", i: "invert", o: "overlay", l: "large", b: "beside",
        j: "link", "?": "keys",
      };
      const tools = { w: "window", m: "move", r: "region", k: "mask" };
      const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (does[name]) this.act(does[name]);
      else if (tools[name]) { this.setTool(tools[name], true); this.say(`${tools[name]} tool`); }
      else if (name === "a" && !this.scan.color) this.setPreset("auto");
      else if (name === "p") {
        const { planes } = this.scan;
        this.setPlane(planes[(planes.indexOf(state.plane) + 1) % planes.length]);
      } else if (name === "n" && this.order.length > 1) this.activate((this.at + 1) % this.order.length);
      else if (name === "Enter" && this.editable) this.placeBox();
      else if ((name === "Delete" || name === "Backspace") && this.editable) this.dropBox();
      else return false;
      return true;
    }

    // --- Buttons ------------------------------------------------------------------------------

    act(what, button = null) {
      const { state } = this;
      if (what === "open" || what === "folder" || what === "add") {
        this.adding = what === "add";
        this.find(what === "folder" ? ".viewer-folder" : ".viewer-files").click();
      } else if (what === "tool") this.setTool(button.dataset.tool, true);
      else if (what === "keys") {
        const keys = this.find(".viewer-keys");
        keys.hidden = !keys.hidden;
        this.find('.viewer-tools [data-do="keys"]').setAttribute("aria-pressed", String(!keys.hidden));
      } else if (what === "large") this.setLarge(!this.root.classList.contains("large"));
      else if (what === "choose" || what === "choose-add") {
        this.busy("Opening");
        const { index } = button.dataset;
        this.trigger("chosen", { name: this.sent.name, index: Number(index), add: what === "choose-add" });
      } else if (what === "see") this.trigger("see", { report: this.report() });
      else if (!this.scan || !this.frame) return;
      else if (what === "invert") { state.invert = !state.invert; this.redraw(); }
      else if (what === "overlay") { state.overlay = !state.overlay; this.redraw(); }
      else if (what === "beside") { this.beside = !this.beside && Boolean(this.other); this.arrange(); }
      else if (what === "link") { this.linked = !this.linked; this.relink(); this.arrange(); }
      else if (what === "drop") this.dropBox();
      else if (what === "in") this.zoomTo(this.geometry().x * 1.25);
      else if (what === "out") this.zoomTo(this.geometry().x / 1.25);
      else if (what === "fit") { state.zoom = null; this.redraw(); }
      else if (what === "actual") this.zoomTo(1);
      else if (what === "accept") {
        // A proposal may have missed something: the reader is asked once more.
        state.masks[state.plane].push(...this.scan.proposed);
        this.setTool("mask"); // a cover that hides anatomy goes by a click and its cross
        this.redraw();
      } else if (what === "draw") { this.setTool("mask"); this.canvas.focus(); }
      else if (what === "clean") {
        state.decided[state.plane] = true;
        if (this.tool === "mask") this.setTool(this.scan.color ? "move" : "window");
        this.redraw();
      }
      else if (what === "activate") this.activate(Number(button.dataset.index));
      else if (what === "remove") this.trigger("removed", { token: button.dataset.token });
    }

    activate(index) {
      if (index === this.at || !this.order[index]) return;
      this.last = this.scan.token;
      this.at = index;
      this.cursor = null;
      this.relink();
      this.tray();
      this.show();
      this.trigger("activated", { token: this.scan.token });
    }

    tray() {
      const several = this.order.length > 1;
      this.root.toggleAttribute("data-several", several);
      const cards = this.order.map((scan, index) => {
        const { state } = this.panes.get(scan.token);
        const card = element("li", index === this.at ? { "data-active": "" } : {});
        const name = ROLES.find(([key]) => key === state.role)?.[1] ?? state.role;
        const look = element("button", {
          type: "button", "data-do": "activate", "data-index": index,
          "aria-pressed": String(index === this.at), "aria-label": `Show ${name}: ${scan.title}`,
        });
        const picture = element("img", { src: scan.thumbnail, alt: "" });
        look.append(picture);
        card.append(look);
        if (several) {
          const role = element("select", { "data-role": scan.token, "aria-label": "What this scan is" });
          for (const [key, label] of ROLES) {
            const option = element("option", { value: key }, label);
            option.selected = key === state.role;
            role.append(option);
          }
          card.append(role);
        }
        card.append(element("button", {
          type: "button", class: "remove", "data-do": "remove", "data-token": scan.token,
          "aria-label": `Remove ${name}: ${scan.title}`, title: "Remove",
        }, "×"));
        return card;
      });
      this.find(".viewer-scans").replaceChildren(...cards);
    }

    /** The series of what was opened last, and the files that are none of them. Only this page knows
     *  the names of files: they are written here and were never sent. */
    offer(upload) {
      if (upload && this.sent?.name !== upload.name) {
        this.sent = { names: [], empty: [], ...this.sending, name: upload.name };
        this.sending = null;
      }
      const series = upload?.series ?? [];
      const room = this.order.length < ROLES.length;
      this.find(".viewer-series").replaceChildren(...series.map(({ title, thumbnail, open }, index) => {
        const card = element("li", open ? { "data-open": "" } : {});
        const look = element("button", {
          type: "button", "data-do": "choose", "data-index": index, "aria-pressed": String(open), title,
        });
        look.append(element("img", { src: thumbnail, alt: "" }), element("span", {}, title));
        card.append(look);
        if (!open && room && this.order.length) {
          card.append(element("button", {
            type: "button", class: "add", "data-do": "choose-add", "data-index": index,
            title: "Open beside", "aria-label": `Open beside: ${title}`,
          }, "+"));
        }
        return card;
      }));
      const named = ({ source, name, kind }) => {
        const sent = this.sent?.names[source];
        const within = sent && name && this.sent.names.length === 1;
        return [within || !sent ? name || (sent ?? `file ${source + 1}`) : sent, kind];
      };
      const left = [
        ...(upload?.left_out ?? []).map(named),
        ...(upload ? this.sent.empty.map((name) => [name, "an empty file"]) : []),
      ];
      const details = this.find(".viewer-left-out");
      details.hidden = !left.length;
      details.querySelector("summary").textContent =
        `Left out: ${left.length} ${left.length > 1 ? "files" : "file"}`;
      details.querySelector("ul").replaceChildren(
        ...left.map(([name, kind]) => element("li", {}, `${name}: ${kind}`)));
      this.find(".viewer-offer").hidden = !series.length && !left.length;
    }

    /** Two scans never carry one name: whoever had it takes the other's. */
    setRole(token, role) {
      const mine = this.panes.get(token).state;
      for (const { state } of this.panes.values()) {
        if (state !== mine && state.role === role) state.role = mine.role;
      }
      mine.role = role;
      this.texts();
      this.tray();
    }

    // --- Files --------------------------------------------------------------------------------

    /** Send files under neutral names, since file names name patients, then tell Python. */
    async open(files, add = false) {
      const chosen = [...files].filter((file) => !/^(\.|Thumbs\.db$|DICOMDIR$)/i.test(file.name));
      const path = (file) => file.webkitRelativePath || file.name;
      const wanted = chosen.filter((file) => file.size)
        // IM2 before IM10: slices without a position or a number are shown in this order.
        .sort((one, two) => path(one).localeCompare(path(two), "en", { numeric: true }));
      if (this.uploading) { this.say("Another scan is being opened; wait for it."); return; }
      const report = (problem) => this.trigger("opened", { paths: [], problem });
      if (!wanted.length) { report(chosen.length ? "empty" : "nothing"); return; }
      this.uploading = true;
      this.sending = {
        names: wanted.map(path), empty: chosen.filter((file) => !file.size).map(path),
      };
      const paths = new Array(wanted.length);
      let next = 0;
      let done = 0;
      const work = async () => {
        while (next < wanted.length) {
          const index = next++;
          const plain = new File([wanted[index]], `scan-${index}`, { type: "application/octet-stream" });
          paths[index] = (await this.upload(plain)).path;
          done++;
          if (wanted.length > 1) this.busy(`Receiving ${done} of ${wanted.length} files`);
        }
      };
      this.busy("Receiving the file");
      try {
        if (wanted.some((file) => file.size > this.props.file_bytes)) throw new RangeError();
        await Promise.all(Array.from({ length: UPLOADS_AT_ONCE }, work));
        this.busy("Opening");
        this.trigger("opened", { paths, add: add && this.order.length > 0 });
      } catch (error) {
        this.busy("");
        this.sending = null;
        report(error instanceof RangeError ? "large" : "lost");
      } finally {
        this.uploading = false;
      }
    }

    // --- Wiring -------------------------------------------------------------------------------

    listen() {
      const { root, canvas } = this;
      root.addEventListener("click", (event) => {
        const button = event.target.closest("[data-do]");
        if (button) this.act(button.dataset.do, button);
      });
      root.addEventListener("change", (event) => {
        const { target } = event;
        if (target.matches("[data-input=files]")) {
          this.open(target.files, this.adding);
          target.value = "";
          this.adding = false;
        } else if (target.dataset.role) this.setRole(target.dataset.role, target.value);
        else if (target.dataset.input === "plane") this.setPlane(target.value);
        else if (target.dataset.input === "preset") this.setPreset(target.value);
        else if (target.dataset.input?.endsWith("-number") && this.frame) {
          const [center, width] = this.shownWindow();
          const value = Number(target.value);
          if (!Number.isFinite(value) || target.value === "") this.texts();
          else if (target.dataset.input === "level-number") this.setWindow(value, width);
          else this.setWindow(center, value);
        }
      });
      root.addEventListener("input", (event) => {
        const name = event.target.dataset.input;
        const value = Number(event.target.value);
        if (!this.frame) return;
        if (name === "frame") this.go(value);
        else if (name === "time") this.go(this.state.frame, value);
        else if (name === "level") this.setWindow(value, this.shownWindow()[1]);
        else if (name === "width") this.setWindow(this.shownWindow()[0], this.sliderToWidth(value));
      });
      root.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
          if (!this.find(".viewer-keys").hidden) this.act("keys");
          else if (root.classList.contains("large")) this.setLarge(false);
          return;
        }
        const typing = event.target.matches("select, input");
        // A slider keeps its arrows, a button its Enter.
        if (typing || (event.key === "Enter" && event.target !== canvas)) return;
        if (this.key(event)) event.preventDefault();
      });
      canvas.addEventListener("pointerdown", (event) => this.press(event));
      canvas.addEventListener("pointermove", (event) => this.drag(event));
      canvas.addEventListener("pointerup", (event) => this.release(event));
      canvas.addEventListener("pointercancel", (event) => this.release(event));
      canvas.addEventListener("pointerleave", () => { this.cursor = null; this.texts(); });
      canvas.addEventListener("contextmenu", (event) => event.preventDefault());
      canvas.addEventListener("dblclick", () => { if (!this.editable) this.act("fit"); });
      let turned = 0;
      canvas.addEventListener("wheel", (event) => {
        this.enter(event);
        if (!this.frame) return;
        event.preventDefault();
        if (event.ctrlKey || this.frameCount < 2) {
          this.zoomTo(this.geometry().x * (event.deltaY < 0 ? 1.15 : 1 / 1.15), this.devicePoint(event));
          return;
        }
        // A mouse wheel sends large steps, a touchpad many small ones.
        turned += event.deltaMode ? event.deltaY * 40 : event.deltaY;
        const steps = Math.trunc(turned / 40);
        if (steps) {
          turned = 0;
          this.go(this.state.frame + Math.sign(steps));
        }
      }, { passive: false });
    }
  }

  let viewer = null;
  return {
    mount(...parts) { viewer = new Viewer(...parts); },
    /** What a question needs; called by Gradio before a handler runs. */
    report: () => viewer?.report() ?? null,
    open: (files, add) => viewer?.open(files, add),
    press: (what) => viewer?.act(what),
    recall: (views) => viewer?.recall(views),
  };
})();
window.RarlViewer = RarlViewer;
