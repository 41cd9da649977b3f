import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { TerrariumError } from "../contract/errors";
import type { HostCalls } from "../contract/procedures";
import type { CreateFindings, CreateOptions } from "./spec";
import { UsageError } from "./verb";

/** What `create` reads from files beside its options. */
export interface SecretOptions {
  readonly "password-file"?: string;
  readonly "ssh-key"?: readonly string[];
}

/** A public key is a line; whoever names a disk image by mistake gets an answer. */
const longestSecret = 64 * 1024;

/** What is known of the secrets before they are read: whether there will be some. */
export function secretsGiven(options: SecretOptions): Pick<CreateFindings, "password" | "authorizedKeys"> {
  return { ...(options["password-file"] === undefined ? {} : { password: "to be read" }), authorizedKeys: options["ssh-key"] ?? [] };
}

/** Reads the password and the keys. @throws TerrariumError when a file cannot be read. */
export async function readSecrets(options: SecretOptions): Promise<Pick<CreateFindings, "password" | "authorizedKeys">> {
  const { "password-file": passwordFile, "ssh-key": keyFiles = [] } = options;
  const keys: string[] = [];
  for (const file of keyFiles) keys.push(...(await readSecret(file)).split("\n").map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#")));
  if (keys.some((line) => line.includes("PRIVATE KEY"))) throw new UsageError("--ssh-key takes the public key, the file that ends with .pub.");
  const password = passwordFile === undefined ? undefined : (await readSecret(passwordFile)).replace(/\r?\n$/, "");
  if (password === "") throw new TerrariumError("invalid-input", "The password is empty.", "Write one into the file, on one line.");
  return { ...(password === undefined ? {} : { password }), authorizedKeys: keys };
}

async function readSecret(file: string): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    for await (const piece of file === "-" ? process.stdin : createReadStream(resolve(file))) {
      pieces.push(Buffer.from(piece as Buffer));
      length += pieces.at(-1)?.length ?? 0;
      if (length > longestSecret) break;
    }
  } catch (error) {
    throw new TerrariumError("io", `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`, "Name a file that you may read.", { cause: error });
  }
  if (length > longestSecret) throw new TerrariumError("invalid-input", `${file === "-" ? "What comes on standard input" : file} is far too long to hold a key or a password.`, "Name the right file.");
  return Buffer.concat(pieces).toString("utf8");
}

/** The system that a machine is created for: the named one, or what its image says it is. */
export async function findSystem(host: HostCalls, options: CreateOptions): Promise<Pick<CreateFindings, "system" | "image">> {
  const file = options.iso ?? options["disk-image"]?.[0] ?? options["link-image"]?.[0];
  const image = file === undefined ? undefined : await host.call("media.inspect", { path: resolve(file) });
  const id = options.system ?? image?.system;
  if (id === undefined) return { image };
  const systems = await host.call("host.systems", {});
  const system = systems.find((each) => each.id === id);
  if (!system && options.system !== undefined) throw new UsageError(`There is no system "${id}". terrarium systems lists them.`);
  return { image, system };
}
