import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installerFiles } from "../../build/launcher/debianGuests.mjs";
import { TestHost } from "../support/host";
import { openRfb, untilPicture } from "../support/rfbScreenText";
import { ScreenReader, type Pixels } from "../support/screenReader";

/** The installer's background, 0x0000aa, at the left edge of the middle of the screen. */
function isBlue({ width, height, data }: Pixels): boolean {
  const at = Math.floor(height / 2) * width * 4;
  return data[at] === 0xaa && data[at + 1] === 0 && data[at + 2] === 0;
}

describe("Debian's installer, the kernel and ramdisk of its package, on QEMU", () => {
  let test: TestHost;
  beforeAll(async () => {
    test = await TestHost.open();
  });
  afterAll(() => test.dispose());

  it("asks its first question, which can be read on the screen, and takes the answer", { timeout: 600_000 }, async ({ onTestFailed }) => {
    let text = "";
    onTestFailed(() => console.error(`the last that could be read:\n${text}`));
    const { id } = await test.create("installer", {
      engine: "qemu",
      arch: "x86_64",
      cpus: 2,
      memoryMiB: 1024,
      // Without the frame buffer it has no font of its own, and writes with the letters of every terminal.
      boot: { kind: "kernel", ...installerFiles(), cmdline: "quiet fb=false" },
      disks: [{ sizeBytes: 1024 * 1024 * 1024 }],
    });
    await test.start(id);
    const screen = await openRfb(await test.host.openStream({ stream: "display", id }), 0);
    await untilPicture(screen, isBlue);
    const press = (...keys: string[]): Promise<unknown> => test.host.call("machine.sendKeys", { id, keys });
    const next = async (accepts: (pixels: Pixels) => boolean): Promise<void> => {
      screen.request(true);
      await untilPicture(screen, accepts);
    };

    // Its letters are learned from its own second terminal, where a shell waits for Enter.
    const reader = new ScreenReader(screen.width === 720 ? 80 : screen.width / 8, screen.height / 16);
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz 0123456789 [!],.";
    await press("alt", "f2");
    await next((pixels) => !isBlue(pixels));
    await test.host.call("machine.typeText", { id, text: `\necho '${alphabet}'\n` });
    await next((pixels) => reader.learnAnywhere(pixels, alphabet));

    const shows = (words: string) => (pixels: Pixels) => (text = reader.read(pixels)).includes(words);
    await press("alt", "f1");
    await next(shows("[!!] Select a language"));
    expect(text).toContain("Choose the language to be used for the installation process.");
    expect(text).toContain("English");
    await press("ret");
    await next(shows("[!!] Select your location"));
    expect(text).toContain("United States");
    screen.stream.destroy();
    await test.host.call("machine.powerOff", { id });
  });
});
