/* Frames as the app serves them, and the few that the page keeps in memory. */

const TYPES = {
  uint8: Uint8Array,
  int16: Int16Array,
  int32: Int32Array,
  float32: Float32Array,
};
const KEPT_BYTES = 96e6;
/** The bytes of a response and the facts beside them to a frame. */
function parse(buffer, facts) {
  const count = facts.rows * facts.columns;
  const values = new TYPES[facts.type](buffer, 0, count * facts.channels);
  // Where the file's own presentation is no straight line, its picture comes along.
  const own = facts.picture ? new Uint8Array(buffer, values.byteLength, count) : null;
  const drawn = values.byteLength + (own?.byteLength ?? 0);
  const bits = facts.overlay ? new Uint8Array(buffer, drawn) : null;
  return { ...facts, values, own, bits, bytes: buffer.byteLength };
}

/** Frames by address, the least used let go; one request at a time has the right of way. */
export class Frames {
  constructor(address) {
    this.address = address;
    this.kept = new Map();
    this.bytes = 0;
    this.coming = new Map();
  }

  static key(place) {
    return `${place.token}/${place.plane}/${place.time}/${place.frame}`;
  }

  peek(place) {
    const key = Frames.key(place);
    const frame = this.kept.get(key);
    if (frame) {
      this.kept.delete(key);
      this.kept.set(key, frame);
    }
    return frame;
  }

  async get(place) {
    const key = Frames.key(place);
    const kept = this.peek(place);
    if (kept) return kept;
    if (!this.coming.has(key)) {
      this.coming.set(
        key,
        this.load(place).finally(() => this.coming.delete(key)),
      );
    }
    return this.coming.get(key);
  }

  async load({ token, plane, frame, time }) {
    const query = new URLSearchParams({ plane, frame, time });
    // The token goes in a header: addresses end up in logs and histories.
    const answer = await fetch(`${this.address}?${query}`, {
      headers: { "X-Scan-Token": token },
      cache: "no-store",
      credentials: "same-origin",
    });
    if (!answer.ok) throw new Error(String(answer.status));
    const facts = JSON.parse(answer.headers.get("X-Frame"));
    const loaded = parse(await answer.arrayBuffer(), facts);
    this.kept.set(Frames.key({ token, plane, frame, time }), loaded);
    this.bytes += loaded.bytes;
    for (const [old, other] of this.kept) {
      if (this.bytes <= KEPT_BYTES || this.kept.size <= 2) break;
      this.kept.delete(old);
      this.bytes -= other.bytes;
    }
    return loaded;
  }

  /** Let go of every frame whose token is not among these. */
  keepOnly(tokens) {
    for (const [key, frame] of this.kept) {
      if (!tokens.includes(key.split("/", 1)[0])) {
        this.kept.delete(key);
        this.bytes -= frame.bytes;
      }
    }
  }
}
