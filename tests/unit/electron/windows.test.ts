import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";

vi.mock("electron", () => ({ protocol: {}, nativeImage: {}, nativeTheme: {}, screen: {}, BrowserWindow: class {}, default: {} }));

const { placeOnScreen } = await import("../../../electron/windows");
const { fileForUrl, isOwnPage } = await import("../../../electron/security");

const laptop = { x: 0, y: 0, width: 1440, height: 860 };
const beside = { x: 1440, y: -200, width: 1920, height: 1080 };
const place = { x: 100, y: 50, width: 800, height: 600, maximized: false };

describe("a window's remembered place", () => {
  it("is kept where its upper edge can still be taken hold of", () => {
    expect(placeOnScreen(place, [laptop])).toEqual(place);
    expect(placeOnScreen({ ...place, x: 1700 }, [laptop, beside])).toEqual({ ...place, x: 1700 });
    expect(placeOnScreen({ ...place, x: -600 }, [laptop])).toEqual({ ...place, x: -600 });
  });

  it.each([
    ["the display is gone", { x: 1700 }],
    ["it is above the screen", { y: -300 }],
    ["it is below the screen", { y: 850 }],
    ["only a sliver is left of it", { x: 1400 }],
    ["it is far away", { x: 1e9, y: 1e9 }],
  ])("is forgotten when %s", (_why, there) => {
    expect(placeOnScreen({ ...place, ...there }, [laptop])).toBeUndefined();
  });

  it("is made no larger than the display", () => {
    expect(placeOnScreen({ ...place, x: 0, y: 0, width: 4000, height: 3000 }, [laptop])).toMatchObject({ width: 1440, height: 860 });
    expect(placeOnScreen(undefined, [laptop])).toBeUndefined();
  });
});

describe("what a window may load", () => {
  it("is a file of ours", () => {
    expect(fileForUrl("/app/renderer", "app://terrarium/index.html")).toBe("/app/renderer/index.html");
    expect(fileForUrl("/app/renderer", "app://terrarium/chunks/a-B1.js?x=1#y")).toBe("/app/renderer/chunks/a-B1.js");
    expect(isOwnPage("app://terrarium/console.html?machine=1")).toBe(true);
  });

  it.each([
    "app://terrarium/..%2fmain.cjs",
    "app://terrarium/a%00.js",
    "app://terrarium/%zz",
    "app://terrarium/",
    "app://terrarium//etc/passwd",
    "app://terrarium/.stamps/x.json",
    "app://elsewhere/index.html",
    "app://terrarium:80@evil/index.html",
    "file:///etc/passwd",
    "https://terrarium/index.html",
    "not a url",
  ])("is not %s", (url) => {
    expect(fileForUrl("/app/renderer", url)).toBeUndefined();
  });

  it("stays in the folder when the way leads up", () => {
    for (const up of ["../main.cjs", "%2e%2e/main.cjs", "a/../../main.cjs"]) expect(fileForUrl("/app/renderer", `app://terrarium/${up}`)).toBe("/app/renderer/main.cjs");
  });

  it("never leads out of the folder", () => {
    fc.assert(
      fc.property(fc.oneof(fc.webPath(), fc.string()), (path) => {
        const file = fileForUrl("/app/renderer", `app://terrarium/${path}`);
        return file === undefined || (file.startsWith("/app/renderer/") && !file.includes(".."));
      }),
    );
  });

  it("is judged by scheme and host, not by looks", () => {
    for (const url of ["app://terrarium.evil/", "appx://terrarium/", "https://x/?app://terrarium/", "", "app:terrarium"]) expect(isOwnPage(url)).toBe(false);
  });
});
