/* What is typed into the sentences of a report, until the server has it. */

/** Texts by the key of their sentence. */
export class Drafts {
  #typed = new Map();
  #saved = new Map();

  /** Note what stands in a field. */
  type(key, text) {
    this.#typed.set(key, text);
  }

  /** Note that the server has a text. The draft stays: its field may still be typed into. */
  save(key, text) {
    this.#saved.set(key, text);
  }

  /** What was typed, or the text of the report where nothing was. */
  text(key, stored) {
    return this.#typed.get(key) ?? stored;
  }

  /** Whether the server lacks what was typed, where the report says `stored`. */
  isUnsaved(key, stored) {
    return this.#typed.has(key) && this.#typed.get(key) !== (this.#saved.get(key) ?? stored);
  }

  /** Whether the server lacks anything; `storedOf` gives a sentence's text in the report. */
  hasUnsaved(storedOf) {
    return [...this.#typed.keys()].some((key) => this.isUnsaved(key, storedOf(key)));
  }

  /** Let go of a draft: its field shows the report again. */
  drop(key) {
    this.#typed.delete(key);
    this.#saved.delete(key);
  }

  /** Let go of the drafts that the server has. */
  settle() {
    for (const [key, text] of [...this.#typed]) if (this.#saved.get(key) === text) this.drop(key);
  }
}
