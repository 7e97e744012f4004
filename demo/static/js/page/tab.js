/* This tab, so that a reload finds what it held. A tab that was duplicated has a word of its own: only a
   page that has ended hands its word on. */

const WORD = "rarl-tab";
const ENDED = "rarl-tab-ended";
/** {tab: its word, again: whether it was here before}; null where the browser stores nothing. */
export function tab() {
  try {
    const again = Boolean(sessionStorage.getItem(ENDED));
    sessionStorage.removeItem(ENDED);
    let word = again ? sessionStorage.getItem(WORD) : null;
    if (!word) {
      word = [...crypto.getRandomValues(new Uint8Array(16))]
        .map((byte) => byte.toString(16).padStart(2, "0"))
        .join("");
      sessionStorage.setItem(WORD, word);
    }
    return { tab: word, again };
  } catch {
    return null;
  }
}

window.addEventListener("pagehide", () => {
  try {
    sessionStorage.setItem(ENDED, "1");
  } catch {
    /* then nothing is kept */
  }
});
window.addEventListener("pageshow", (event) => {
  try {
    if (event.persisted) sessionStorage.removeItem(ENDED);
  } catch {
    /* as above */
  }
});
