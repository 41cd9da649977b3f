import { nativeImage, type NativeImage } from "electron";

/*
 * The app's icon at the sizes a panel or a task list shows it, drawn here from the shapes of assets' icon (a seedling
 * behind glass, on a 64-unit grid), because Electron takes only pixels.
 */

type Colour = readonly [red: number, green: number, blue: number];
const glass: Colour = [0x1c, 0x41, 0x33];
const soil: Colour = [0x7b, 0x6a, 0x4c];
const edge: Colour = [0xd9, 0xf3, 0xe8];
const leaf: Colour = [0xa5, 0xcf, 0x77];
const youngLeaf: Colour = [0xcd, 0xea, 0xa6];

/** Distance to a rounded square centred in the grid; negative inside. */
function roundedSquare(x: number, y: number, half: number, radius: number): number {
  const dx = Math.max(0, Math.abs(x - 32) - (half - radius));
  const dy = Math.max(0, Math.abs(y - 32) - (half - radius));
  return Math.hypot(dx, dy) - radius;
}

/** A leaf is what two circles share. */
function inLeaf(x: number, y: number, left: boolean, top: number): boolean {
  const from = left ? 12 : 52;
  const reach = 20;
  const dx = left ? x - from : from - x;
  const dy = y - top;
  return dx >= 0 && dx <= reach && dy >= 0 && Math.hypot(dx, dy - 17) <= 20 && Math.hypot(dx - reach, dy) <= 20;
}

function colourAt(x: number, y: number): Colour | undefined {
  if (roundedSquare(x, y, 32, 16) > 0) return undefined;
  if (Math.abs(roundedSquare(x, y, 27, 11.5)) < 1.75) return edge;
  if (inLeaf(x, y, false, 14)) return youngLeaf;
  if (inLeaf(x, y, true, 21)) return leaf;
  if (Math.abs(x - 32) < 2.7 && y > 28 && y < 50) return leaf;
  if (roundedSquare(x, y, 27, 11.5) < 0 && y > 46) return soil;
  return glass;
}

/** The icon, `size` pixels square. */
export function appIcon(size: number): NativeImage {
  const samples = 3;
  const pixels = Buffer.alloc(size * size * 4);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      let red = 0;
      let green = 0;
      let blue = 0;
      let covered = 0;
      for (let sample = 0; sample < samples * samples; sample++) {
        const x = ((column + ((sample % samples) + 0.5) / samples) * 64) / size;
        const y = ((row + (Math.floor(sample / samples) + 0.5) / samples) * 64) / size;
        const colour = colourAt(x, y);
        if (colour === undefined) continue;
        covered++;
        red += colour[0];
        green += colour[1];
        blue += colour[2];
      }
      // Electron's bitmaps are blue first, and multiplied by how much is covered.
      const all = samples * samples;
      pixels.set([blue / all, green / all, red / all, (covered * 255) / all], (row * size + column) * 4);
    }
  }
  return nativeImage.createFromBitmap(pixels, { width: size, height: size });
}
