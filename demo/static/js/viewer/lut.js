/* Raw values to pixels, with the arithmetic of rarl.scans (DICOM PS3.3 C.11.2.1.2.1), so that the
   page shows what Python hands to the model. */

const BLACK = 0xff000000;
const DRAWN = 0xffc4d670; // an overlay's colour, alpha blue green red

const greyOf = (level) => BLACK | (level << 16) | (level << 8) | level;

/**
 * What turns a value into a grey level, by the VOI LUT function that the file names:
 * PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.2 (LINEAR_EXACT) or C.11.2.1.3.1 (SIGMOID).
 */
export function leveller([center, width], kind) {
  if (kind === "SIGMOID") {
    return (value) => {
      const steep = Math.min(700, Math.max(-700, (-4 * (value - center)) / width));
      return Math.floor(255 / (1 + Math.exp(steep)) + 0.5);
    };
  }
  const middle = kind === "LINEAR" ? center - 0.5 : center;
  const half = kind === "LINEAR" ? (width - 1) / 2 : width / 2;
  if (half <= 0) return (value) => (value > middle ? 255 : 0);
  const low = middle - half;
  const scale = 255 / (middle + half - low);
  return (value) => Math.floor(Math.min(255, Math.max(0, (value - low) * scale)) + 0.5);
}

/* One table for all 16-bit values: windowing is then one look-up a pixel. */
let table = null;
let tableOf = "";
function tableFor(window, kind, flip) {
  const key = `${window}|${kind}|${flip}`;
  if (tableOf !== key) {
    table ??= new Uint32Array(65536);
    const level = leveller(window, kind);
    for (let value = -32768; value < 32768; value++) {
      const shade = level(value);
      table[value & 0xffff] = greyOf(flip ? 255 - shade : shade);
    }
    tableOf = key;
  }
  return table;
}

/**
 * Draw a frame into RGBA pixels of its own size.
 * window: [center, width], or null for the file's own picture; flip: low values white.
 */
export function paint(frame, target, window, flip, masks) {
  const { values } = frame;
  const count = frame.rows * frame.columns;
  if (frame.channels === 3) {
    for (let i = 0, at = 0; i < count; i++, at += 3) {
      const colour = BLACK | (values[at + 2] << 16) | (values[at + 1] << 8) | values[at];
      target[i] = flip ? colour ^ 0x00ffffff : colour;
    }
  } else if (window === null && frame.own) {
    for (let i = 0; i < count; i++) target[i] = greyOf(flip ? 255 - frame.own[i] : frame.own[i]);
  } else {
    const used = window ?? frame.window;
    const kind = window ? frame.curve : frame.ownCurve;
    const inverse = flip !== frame.inverse;
    if (frame.type === "int16") {
      const shades = tableFor(used, kind, inverse);
      for (let i = 0; i < count; i++) target[i] = shades[values[i] & 0xffff];
    } else {
      const level = leveller(used, kind);
      for (let i = 0; i < count; i++) {
        const shade = level(values[i]);
        target[i] = greyOf(inverse ? 255 - shade : shade);
      }
    }
  }
  for (const [left, top, right, bottom] of masks) {
    for (let row = Math.max(0, top); row < Math.min(frame.rows, bottom); row++) {
      const start = row * frame.columns;
      target.fill(BLACK, start + Math.max(0, left), start + Math.min(frame.columns, right));
    }
  }
}

/** What the file draws over a frame, as a canvas of the frame's size. */
export function paintBits({ bits, rows, columns }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const target = new Uint32Array(image.data.buffer);
  for (let i = 0; i < target.length; i++) if ((bits[i >> 3] << (i & 7)) & 0x80) target[i] = DRAWN;
  context.putImageData(image, 0, 0);
  return canvas;
}
