/* Where pixels of a scan lie on the canvas. Pure functions: scale in device pixels of a column,
   points of the image as [column, row], points of the canvas as [x, y] in device pixels. */

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * Device pixels per image column and row, and where the picture's corner lies.
 * frame: {columns, rows}; area: {left, width, height} of the canvas; spacing: [row, column] in
 * millimetres, or null where it is unknown; zoom: {scale, centre}, or null to fit the area.
 */
export function layout(frame, area, spacing, zoom) {
  const aspect = spacing ? spacing[0] / spacing[1] : 1;
  const fit = Math.min(area.width / frame.columns, area.height / (frame.rows * aspect));
  const x = zoom ? zoom.scale : fit;
  const centre = zoom ? zoom.centre : [frame.columns / 2, frame.rows / 2];
  const left = Math.round(area.left + area.width / 2 - centre[0] * x);
  const top = Math.round(area.height / 2 - centre[1] * x * aspect);
  return { x, y: x * aspect, left, top, fit, aspect, spacing };
}

/** The point of the image under a point of the canvas. */
export function imagePoint({ x, y, left, top }, [px, py]) {
  return [(px - left) / x, (py - top) / y];
}

/** The zoom at another scale that leaves the image under a point of the canvas where it is. */
export function zoomAround(placed, area, scale, point = null) {
  const real = clamp(scale, Math.min(placed.fit, 1) / 2, Math.max(placed.fit, 1) * 40);
  const middle = [area.left + area.width / 2, area.height / 2];
  const [px, py] = point ?? middle;
  const under = imagePoint(placed, [px, py]);
  const aspect = placed.y / placed.x;
  return {
    scale: real,
    centre: [under[0] - (px - middle[0]) / real, under[1] - (py - middle[1]) / (real * aspect)],
  };
}

/** The zoom after a move by device pixels; the middle of the area stays on the picture. */
export function panned(placed, frame, zoom, dx, dy) {
  const { scale, centre } = zoom ?? {
    scale: placed.x,
    centre: [frame.columns / 2, frame.rows / 2],
  };
  return {
    scale,
    centre: [
      clamp(centre[0] - dx / placed.x, 0, frame.columns),
      clamp(centre[1] - dy / placed.y, 0, frame.rows),
    ],
  };
}

/** The zoom with which one pane shows what another shows, at the same size on the screen. */
export function sameZoom(leader, pane) {
  const zoom = leader.state.zoom;
  const [mine, other] = [pane.geometry(), leader.geometry()];
  const known = mine.spacing && other.spacing;
  const ratio = known ? mine.spacing[1] / other.spacing[1] : mine.fit / other.fit;
  const columns = zoom.centre[0] - leader.frame.columns / 2;
  const rows = (zoom.centre[1] - leader.frame.rows / 2) * other.aspect;
  return {
    scale: zoom.scale * ratio,
    centre: [
      pane.frame.columns / 2 + columns / ratio,
      pane.frame.rows / 2 + rows / ratio / mine.aspect,
    ],
  };
}

/** How far a slice lies from the middle one of count, in the unit of step (slice to slice). */
export function depthOf(slice, count, step) {
  return (slice - (count - 1) / 2) * step;
}

/** The slice of count that lies nearest to a depth. */
export function sliceAt(depth, count, step) {
  return clamp(Math.round(depth / step + (count - 1) / 2), 0, count - 1);
}

/** Index of the pixel under a point of the image, row by row; null outside the frame. */
export function pixelIndex([column, row], { columns, rows }) {
  const [x, y] = [Math.floor(column), Math.floor(row)];
  return x >= 0 && y >= 0 && x < columns && y < rows ? y * columns + x : null;
}

/** Where a box of the image lies in its area, in CSS pixels: {x, y, width, height}. */
export function boxOnScreen([l, t, r, b], { x, y, left, top }, area, ratio) {
  return {
    x: (left - area.left + l * x) / ratio,
    y: (top + t * y) / ratio,
    width: ((r - l) * x) / ratio,
    height: ((b - t) * y) / ratio,
  };
}

/**
 * What two fingers did, from two points before and two after: move [x, y] of their middle, the
 * middle after, and by how much they spread.
 */
export function pinched(before, after) {
  const middle = ([one, two]) => [(one[0] + two[0]) / 2, (one[1] + two[1]) / 2];
  const distance = ([one, two]) => Math.hypot(one[0] - two[0], one[1] - two[1]);
  const [from, to] = [middle(before), middle(after)];
  return {
    move: [to[0] - from[0], to[1] - from[1]],
    middle: to,
    spread: distance(after) / Math.max(distance(before), 1),
  };
}

/** The longest round length in millimetres that fits a room, at so many pixels a millimetre. */
export function scaleLength(perMm, room) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500];
  return steps.filter((step) => step * perMm <= room).pop() ?? 0.5;
}

/** A length of the scale bar in words. */
export const lengthLabel = (millimetres) =>
  millimetres >= 10 ? `${millimetres / 10} cm` : `${millimetres} mm`;

/** Window width to the slider's 0 to 1000, by ratios. */
export function widthToSlider(width, [low, high]) {
  return (1000 * Math.log(clamp(width, low, high) / low)) / Math.log(high / low);
}

/** The slider's 0 to 1000 to a window width. */
export function sliderToWidth(value, [low, high]) {
  return low * (high / low) ** (value / 1000);
}

/** A box in whole pixels within a frame, at least one pixel wide and high, left and top first. */
export function wholeBox([l, t, r, b], { columns, rows }) {
  const left = clamp(Math.round(Math.min(l, r)), 0, columns - 1);
  const top = clamp(Math.round(Math.min(t, b)), 0, rows - 1);
  return [
    left,
    top,
    Math.max(clamp(Math.round(Math.max(l, r)), 1, columns), left + 1),
    Math.max(clamp(Math.round(Math.max(t, b)), 1, rows), top + 1),
  ];
}

/**
 * A box in whole pixels around one in shares (0 to 1) of a picture's width and height; null where it
 * holds no pixel.
 */
export function pixelBox([left, top, right, bottom], { columns, rows }) {
  const box = [
    Math.floor(left * columns),
    Math.floor(top * rows),
    Math.ceil(right * columns),
    Math.ceil(bottom * rows),
  ];
  return box[0] < box[2] && box[1] < box[3] ? box : null;
}

/** The box between two points, within a frame. */
export function span(one, other, { columns, rows }) {
  return [
    clamp(Math.min(one[0], other[0]), 0, columns),
    clamp(Math.min(one[1], other[1]), 0, rows),
    clamp(Math.max(one[0], other[0]), 0, columns),
    clamp(Math.max(one[1], other[1]), 0, rows),
  ];
}

/** A box moved within a frame, as far as its edges allow. */
export function shifted([l, t, r, b], dx, dy, { columns, rows }) {
  const right = clamp(dx, -l, columns - r);
  const down = clamp(dy, -t, rows - b);
  return [l + right, t + down, r + right, b + down];
}

/** A box made larger or smaller at its right and lower edge. */
export function resized([l, t, r, b], dx, dy) {
  return [l, t, Math.max(l + 1, r + dx), Math.max(t + 1, b + dy)];
}

/**
 * The topmost box under a point of the image: {index, anchor} where a corner lies within near
 * columns and far rows (anchor is the corner across from it), {index, box} inside, or null.
 */
export function hitBox(boxes, point, near, far) {
  for (let index = boxes.length - 1; index >= 0; index--) {
    const [l, t, r, b] = boxes[index];
    const corners = [
      [l, t, r, b],
      [r, t, l, b],
      [l, b, r, t],
      [r, b, l, t],
    ];
    for (const [cx, cy, ox, oy] of corners) {
      if (Math.abs(point[0] - cx) < near && Math.abs(point[1] - cy) < far) {
        return { index, anchor: [ox, oy] };
      }
    }
    if (point[0] > l && point[0] < r && point[1] > t && point[1] < b) {
      return { index, box: [l, t, r, b] };
    }
  }
  return null;
}
