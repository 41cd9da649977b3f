import { execFile, type ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { Namespace } from "./namespaces";

const run = promisify(execFile);

/** A package that a test makes. */
export interface MadePackage {
  readonly name: string;
  readonly version: string;
  readonly depends?: readonly string[];
  /** What it puts where: absolute paths, and what is in them. */
  readonly files: Readonly<Record<string, string>>;
  /** What runs in the guest when it is set up, for sh(1). */
  readonly postinst?: string;
}

/** A mirror of Debian packages as apt knows one, all in one folder (sources.list(5), flat repository). */
export class AptMirror {
  /** The files it has sent, by their paths. */
  readonly sent: string[] = [];
  private server: ChildProcess | undefined;

  private constructor(private readonly folder: string) {}

  static async create(packages: readonly MadePackage[]): Promise<AptMirror> {
    const mirror = new AptMirror(await mkdtemp(join(tmpdir(), "tt-mirror-")));
    try {
      let list = "";
      for (const each of packages) list += await mirror.add(each);
      await writeFile(mirror.path("Packages"), list);
      await writeFile(mirror.path("Release"), `Origin: test\nSuite: test\nArchitectures: amd64\nDate: ${new Date().toUTCString()}\nSHA256:\n ${sha256(Buffer.from(list))} ${Buffer.byteLength(list)} Packages\n`);
      return mirror;
    } catch (error) {
      await mirror.dispose();
      throw error;
    }
  }

  private path(name: string): string {
    return join(this.folder, "public", name);
  }

  /** Makes the archive with dpkg's own tool; returns what the index says of it (deb-control(5), and Filename, Size and SHA256). */
  private async add({ name, version, depends = [], files, postinst }: MadePackage): Promise<string> {
    const tree = join(this.folder, name);
    const control = [
      `Package: ${name}`,
      `Version: ${version}`,
      "Architecture: all",
      "Maintainer: Terrarium's tests <tests@example.invalid>",
      ...(depends.length > 0 ? [`Depends: ${depends.join(", ")}`] : []),
      "Description: made by a test",
    ];
    await mkdir(join(tree, "DEBIAN"), { recursive: true, mode: 0o755 });
    await writeFile(join(tree, "DEBIAN", "control"), `${control.join("\n")}\n`);
    if (postinst !== undefined) await writeFile(join(tree, "DEBIAN", "postinst"), `#!/bin/sh\nset -e\n${postinst}\n`, { mode: 0o755 });
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(tree, path)), { recursive: true });
      await writeFile(join(tree, path), content, { mode: 0o755 });
    }
    await mkdir(this.path(""), { recursive: true });
    const archive = `${name}_${version}_all.deb`;
    await run("dpkg-deb", ["--root-owner-group", "--build", tree, this.path(archive)]);
    const bytes = await readFile(this.path(archive));
    return `${control.join("\n")}\nFilename: ./${archive}\nSize: ${bytes.length}\nSHA256: ${sha256(bytes)}\n\n`;
  }

  /** Serves it in a namespace, on all its addresses, until that is removed. */
  async serve(namespace: Namespace, port: number): Promise<void> {
    const server = namespace.spawn(process.execPath, join(__dirname, "mirror.mjs"), this.path(""), String(port));
    this.server = server;
    await new Promise<void>((resolve, reject) => {
      let complaint = "";
      server.stderr?.on("data", (chunk: Buffer) => (complaint += chunk.toString()));
      server.once("exit", (code) => reject(new Error(`the mirror ended with ${code}: ${complaint}`)));
      createInterface(server.stdout!).on("line", (line) => {
        if (line === "ready") resolve();
        else this.sent.push(line.replace(/^GET /, ""));
      });
    });
  }

  async dispose(): Promise<void> {
    this.server?.kill("SIGKILL");
    await rm(this.folder, { recursive: true, force: true });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
