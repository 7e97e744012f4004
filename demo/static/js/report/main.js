/* The report page: what is typed and pressed is sent and stored at once, and the address names the
   report. Nothing of it is kept in the browser. */

import { find } from "../page/dom.js";
import { say } from "../page/voice.js";
import { Drafts } from "./drafts.js";
import { Outbox } from "./outbox.js";

const PAUSE = 1200;
const EVENTS = ["open", "begin", "make", "send"];
const EMPTY = "A sentence needs a text: type it, or delete the sentence.";
const ADDRESS = /^#report(?:\/([0-9a-f]{32}))?$/;

const drafts = new Drafts();
// Section to the key of the sentence that is being added to it.
const added = new Map();
let trigger = null;
let pause = null;
let wanted = null;
let version = null;
let held = null;
let next = null;
let turn = null;

const root = () => find("#report-text .report");
const shown = () => root()?.dataset.report ?? "";
const isOpen = () => Boolean(find("#report-page")?.offsetParent);
const areas = () => [...document.querySelectorAll("#report-text textarea")];
const randomKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");

const outbox = new Outbox((change) => {
  if (change.do !== "open") {
    change.report ??= shown();
    change.version ??= version;
  }
  trigger?.(EVENTS.includes(change.do) ? change.do : "revise", change);
});

// A field for a new sentence has the key that the sentence will have.
function keyOf(area) {
  if (area.dataset.key) return area.dataset.key;
  const section = area.dataset.section;
  if (!added.has(section)) added.set(section, randomKey());
  return added.get(section);
}
function areaOf(key) {
  return areas().find((area) => keyOf(area) === key);
}
const storedOf = (key) => areaOf(key)?.dataset.text ?? "";
const isUnsaved = (area) => drafts.isUnsaved(keyOf(area), area.dataset.text);

// Browsers that cannot do so themselves make a field as high as its text here.
const grows = CSS.supports("field-sizing", "content");
function fit(area) {
  if (grows) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

/** Send what stands in a field; an empty one is left to whoever is typing. */
function write(area, more = {}) {
  const key = keyOf(area);
  const text = drafts.text(key, area.dataset.text);
  if (!text.trim()) return false;
  const { section } = area.closest("section[data-section]").dataset;
  outbox.put({ do: "write", key, section, text, ...more });
  return true;
}
function writeAll() {
  clearTimeout(pause);
  for (const area of areas()) if (isUnsaved(area)) write(area);
}
function writeSoon() {
  clearTimeout(pause);
  pause = setTimeout(writeAll, PAUSE);
}

// Every field shows what was typed into it, else what the report says.
function drawFields() {
  for (const [section, key] of added) {
    if (find(`#report-text li.sentence[data-key="${key}"]`)) added.delete(section);
  }
  for (const area of areas()) {
    const key = keyOf(area);
    const text = drafts.text(key, area.dataset.text);
    if (area.value !== text) area.value = text;
    if (!area.style.height) fit(area);
  }
}

function markUnsaved() {
  find("#report-page")?.toggleAttribute("data-unsaved", areas().some(isUnsaved));
}

function focusOn(list) {
  const target = list.find((one) => one?.getClientRects().length);
  target?.focus();
  if (target?.tagName === "TEXTAREA")
    target.setSelectionRange(target.value.length, target.value.length);
  return Boolean(target);
}
/** The next sentence that nobody has decided on, from a place on, and then from the top. */
function undecidedFrom(key) {
  const sentences = [...document.querySelectorAll("#report-text li.sentence[data-key]")];
  const at = sentences.findIndex((one) => one.dataset.key === key);
  const order = [...sentences.slice(at + 1), ...sentences.slice(0, at + 1)];
  return order.find((one) => one.dataset.state === "proposed");
}
/** The sentence that was worked on last, from which the next one is looked for. */
let visited = "";
document.addEventListener("focusin", (event) => {
  const sentence = event.target.closest?.("#report-text li.sentence[data-key]");
  if (sentence) visited = sentence.dataset.key;
});
function moveFocus({ key, to }) {
  const sentence = find(`#report-text li.sentence[data-key="${key}"]`);
  if (to === "here") {
    focusOn([...(sentence?.querySelectorAll(".tools button") ?? [])]);
    return;
  }
  if (to === "below") {
    const fields = areas();
    const at = fields.findIndex((area) => keyOf(area) === key);
    focusOn([fields[at + 1]]);
    return;
  }
  const open = undecidedFrom(key);
  if (open) focusOn([open.querySelector(to === "text" ? "textarea" : ".tools button")]);
  else focusOn([find("#report-text .report-sign summary"), sentence?.querySelector("button")]);
}

function taken(change, result) {
  if (result !== "done") {
    if (result === "doubt") held = change;
    if (change.do === "write") outbox.refused();
    return;
  }
  version = root()?.dataset.version ?? null;
  const focused = document.activeElement?.closest?.("#report-text textarea");
  if (change.do === "write") {
    drafts.save(change.key, change.text);
    if (!focused || keyOf(focused) !== change.key) drafts.settle();
    if (areas().some(isUnsaved)) writeSoon(); // typed since
  } else if (["keep", "delete", "restore"].includes(change.do)) drafts.drop(change.key);
  else if (change.do === "open") drafts.settle();
  // A copy, an amendment and a report that was begun have addresses of their own.
  if (isOpen() && change.do !== "open" && location.hash !== reportAddress())
    history.pushState(null, "", reportAddress());
  if (change.then) next = { key: change.key, to: change.then };
}

/** See what the server has answered, and keep the fields as they were typed into. */
export function followReport() {
  const lead = find("#report-go [data-address]");
  if (lead && lead.dataset.turn !== turn) {
    turn = lead.dataset.turn;
    history.pushState(null, "", lead.dataset.address);
    window.dispatchEvent(new PopStateEvent("popstate"));
  }
  if (!find("#report-text")) return;
  const note = find("#report-note [data-serial]");
  const drawn = find("#report-text [data-serial]");
  const { current } = outbox;
  if (current && note && Number(note.dataset.serial) === current.serial) {
    const { result } = note.dataset;
    // The note and the report are drawn one after the other.
    if (result !== "done" || Number(drawn?.dataset.serial) === current.serial) {
      taken(outbox.answered(), result);
      outbox.go();
    }
  }
  drawFields();
  markUnsaved();
  if (next && !outbox.busy) {
    const place = next;
    next = null;
    moveFocus(place);
  }
}

/** Show a report, or the list where none is named, as it is now. */
function show(id) {
  if (!trigger) {
    wanted = id;
    return;
  }
  writeAll();
  outbox.put({ do: "open", report: id });
}

/** Open what an address names; returns whether it is one of this page. */
export function followAddress() {
  const named = location.hash.match(ADDRESS);
  if (named) show(named[1] ?? "");
  return Boolean(named);
}

/** The address of this page: that of the report on it. */
export const reportAddress = () => (shown() ? `#report/${shown()}` : "#report");

function act(action, key, then) {
  const area = key && areaOf(key);
  if (action === "edit") focusOn([area]);
  else if (action === "next") moveFocus({ key: visited, to: "button" });
  else if (action === "retype") focusOn([held && areaOf(held.key)]);
  else if (action === "checked") {
    // The words that were shown; what was typed since is looked at like any other.
    const { key: kept, section, text } = held ?? {};
    if (held) outbox.put({ do: "write", key: kept, section, text, checked: true });
    held = null;
  } else if (action === "keep" && area && isUnsaved(area)) {
    if (!write(area, { then })) say(EMPTY);
  } else {
    writeAll();
    outbox.put({ do: action, key, then });
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("#report-page button[data-do]");
  if (!button) return;
  const { do: action, key = "" } = button.dataset;
  const moves = ["keep", "delete"].includes(action) && button.matches(":focus-visible");
  act(action, key, moves ? "button" : undefined);
});
document.addEventListener("change", (event) => {
  const select = event.target.closest?.('#report-text select[data-do="template"]');
  if (!select) return;
  act("template", select.value);
});
document.addEventListener("input", (event) => {
  const area = event.target.closest?.("#report-text textarea");
  if (!area) return;
  drafts.type(keyOf(area), area.value);
  fit(area);
  markUnsaved();
  writeSoon();
});
document.addEventListener("focusout", (event) => {
  const area = event.target.closest?.("#report-text textarea");
  if (!area) return;
  if (!isUnsaved(area)) drafts.drop(keyOf(area));
  else if (!write(area)) {
    if (area.dataset.section) drafts.drop(keyOf(area));
    else say(EMPTY);
  }
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) writeAll();
});
window.addEventListener("beforeunload", (event) => {
  if (!drafts.hasUnsaved(storedOf) && !outbox.busy) return;
  writeAll();
  event.preventDefault();
});

const KEYS = { k: "keep", e: "edit", d: "delete", r: "restore" };
document.addEventListener("keydown", (event) => {
  const sentence = event.target.closest?.("#report-text li.sentence");
  const area = event.target.closest?.("textarea");
  if (!sentence || event.isComposing) return;
  if (area) pressInField(event, sentence, area);
  else if (!event.ctrlKey && !event.metaKey && !event.altKey) {
    const action = KEYS[event.key.toLowerCase()];
    if (!action || !sentence.querySelector(`[data-do="${action}"]`)) return;
    event.preventDefault();
    act(action, sentence.dataset.key, action === "restore" ? "here" : "button");
  }
});
/** Enter goes on below; with Ctrl it keeps the sentence and goes to the next undecided one. */
function pressInField(event, sentence, area) {
  if (event.key === "Escape") sentence.querySelector(".tools button")?.focus();
  if (event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  const decides = event.ctrlKey || event.metaKey;
  const then = decides ? "text" : "below";
  if (isUnsaved(area) && write(area, { then })) return;
  if (decides && sentence.dataset.state === "proposed" && !isUnsaved(area))
    outbox.put({ do: "keep", key: keyOf(area), then });
  else if (area.value.trim() || area.dataset.section) moveFocus({ key: keyOf(area), to: then });
  else say(EMPTY);
}

export const report = {
  /** Whether the server has everything that was typed and pressed. */
  isSettled: () => Boolean(root()) && !outbox.busy && !drafts.hasUnsaved(storedOf),
  /** Take over the page; called by Gradio once it is drawn. */
  mount(send) {
    trigger = send;
    if (wanted !== null) show(wanted);
    wanted = null;
  },
};
