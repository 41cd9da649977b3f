import { intersect, type Rectangle } from "./framebuffer";

/** More rectangles than this are not worth telling apart: their bounding box is sent. */
const maximumRectangles = 128;

/** The part of the screen that a client has not seen yet: rectangles that do not overlap, a bounded number of them. */
export class Region {
  private rectangles: Rectangle[] = [];

  get isEmpty(): boolean {
    return this.rectangles.length === 0;
  }

  add(area: Rectangle): void {
    if (area.width <= 0 || area.height <= 0) return;
    // What is known to be covered by the new rectangle goes, so that redrawing the screen leaves one.
    this.rectangles = this.rectangles.filter((known) => !contains(area, known));
    let pieces = [area];
    for (const known of this.rectangles) {
      pieces = pieces.flatMap((piece) => subtract(piece, known));
      if (pieces.length === 0) return;
    }
    this.rectangles.push(...pieces);
    if (this.rectangles.length > maximumRectangles) this.rectangles = [boundingBox(this.rectangles)];
  }

  /** Removes and returns what lies within `area`. */
  take(area: Rectangle): Rectangle[] {
    const taken: Rectangle[] = [];
    const left: Rectangle[] = [];
    for (const rectangle of this.rectangles) {
      const inside = intersect(rectangle, area);
      if (inside) {
        taken.push(inside);
        left.push(...subtract(rectangle, area));
      } else {
        left.push(rectangle);
      }
    }
    this.rectangles = left.length > maximumRectangles ? [boundingBox(left)] : left;
    return taken;
  }

  clear(): void {
    this.rectangles = [];
  }
}

/** The smallest rectangle around all of `rectangles`, of which there is at least one. */
export function boundingBox(rectangles: readonly Rectangle[]): Rectangle {
  const x = Math.min(...rectangles.map((one) => one.x));
  const y = Math.min(...rectangles.map((one) => one.y));
  return {
    x,
    y,
    width: Math.max(...rectangles.map((one) => one.x + one.width)) - x,
    height: Math.max(...rectangles.map((one) => one.y + one.height)) - y,
  };
}

function contains(outer: Rectangle, inner: Rectangle): boolean {
  return (
    inner.x >= outer.x &&
    inner.y >= outer.y &&
    inner.x + inner.width <= outer.x + outer.width &&
    inner.y + inner.height <= outer.y + outer.height
  );
}

/** What is left of `from` without `hole`: at most four rectangles. */
function subtract(from: Rectangle, hole: Rectangle): Rectangle[] {
  const cut = intersect(from, hole);
  if (!cut) return [from];
  const right = from.x + from.width;
  const bottom = from.y + from.height;
  const cutRight = cut.x + cut.width;
  const cutBottom = cut.y + cut.height;
  return [
    { x: from.x, y: from.y, width: from.width, height: cut.y - from.y },
    { x: from.x, y: cutBottom, width: from.width, height: bottom - cutBottom },
    { x: from.x, y: cut.y, width: cut.x - from.x, height: cut.height },
    { x: cutRight, y: cut.y, width: right - cutRight, height: cut.height },
  ].filter((piece) => piece.width > 0 && piece.height > 0);
}
