/* How a picture is looked at. Pure functions. */

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** The view of a stored picture: scale, shift in CSS pixels, brightness and contrast. */
export const freshView = () => ({ scale: 1, x: 0, y: 0, light: 1, contrast: 1 });

/** The view larger by a factor; the point (CSS pixels from the middle) stays where it is. */
export function zoomedView(view, factor, [x, y] = [0, 0]) {
  const scale = clamp(view.scale * factor, 1, 12);
  if (scale === 1) return { ...view, scale, x: 0, y: 0 };
  const ratio = scale / view.scale;
  return { ...view, scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio };
}

/** The view after a move by CSS pixels; a picture that is shown whole stays in its place. */
export function movedView(view, dx, dy) {
  return view.scale > 1 ? { ...view, x: view.x + dx, y: view.y + dy } : view;
}

/** The view after a drag with the window tool: up is brighter, right has more contrast. */
export function relitView(view, dx, dy) {
  return {
    ...view,
    light: clamp(view.light - dy / 200, 0.2, 4),
    contrast: clamp(view.contrast + dx / 150, 0.2, 6),
  };
}

const closeTo = (a, b) => Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(a), Math.abs(b));
const sameList = (a, b) =>
  !a || !b
    ? !a === !b
    : a.length === b.length && a.every((value, index) => closeTo(value, b[index]));

/** Whether the viewer shows a scan as it was when the question was asked. */
export function sameView(asked, shown) {
  return (
    Boolean(shown) &&
    asked.plane === shown.plane &&
    asked.frame === shown.frame &&
    asked.time === shown.time &&
    asked.invert === shown.invert &&
    sameList(asked.window, shown.window) &&
    sameList(asked.region, shown.region)
  );
}
