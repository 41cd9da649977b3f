import { DescriptorMessages } from "./descriptorMessages";
import { Interfaces, StepFailure } from "./interfaces";
import { Errno, loadKernelCalls, type KernelCalls } from "./kernelCalls";
import { LinkRequest, maxMessageBytes, type LinkAnswer } from "./linkRequests";

/*
 * The privileged helper: a process of its own that makes TAPs and opens cards, and hands their descriptors over. It is
 * started as root, by pkexec where the fabric is not root itself, and keeps CAP_NET_ADMIN and CAP_NET_RAW alone. No frame
 * passes it, so it reads nothing that a guest wrote.
 *
 * Its standard input is one end of a socket pair: pkexec closes every other descriptor, and nobody else can come by it. It
 * ends when the other end is closed. What it made is gone when the descriptors it handed over are closed.
 */

const nobody = 65_534;
const keepCapabilities = 8; // PR_SET_KEEPCAPS
const noNewPrivileges = 38; // PR_SET_NO_NEW_PRIVS
const capabilityVersion = 0x2008_0522; // _LINUX_CAPABILITY_VERSION_3
const netAdmin = 1 << 12;
const netRaw = 1 << 13;

/** Becomes nobody, with the rights to set interfaces up and to open cards and no other, for good. */
function dropRights(kernel: KernelCalls): void {
  const memory = kernel.memory(64);
  const expect = (step: string, result: number): void => {
    if (result < 0) throw new StepFailure(step, result);
  };
  // Threads that the runtime has started lose all their rights with the user: keeping them is this thread's alone.
  expect("keep the rights that are needed", kernel.prctl(keepCapabilities, 1));
  process.setgroups?.([]);
  process.setgid?.(nobody);
  process.setuid?.(nobody);
  memory.bytes.fill(0);
  // struct __user_cap_header_struct (version, pid) at 0; two of __user_cap_data_struct (effective, permitted, inheritable) at 16
  memory.view.setUint32(0, capabilityVersion, true);
  memory.view.setUint32(16, netAdmin | netRaw, true);
  memory.view.setUint32(20, netAdmin | netRaw, true);
  expect("give up all other rights", kernel.capset(memory.address, memory.address + 16));
  expect("never get other rights", kernel.prctl(noNewPrivileges, 1));
}

/** One request after another, until the fabric is gone. */
function serve(kernel: KernelCalls): void {
  const interfaces = new Interfaces(kernel);
  const messages = new DescriptorMessages(kernel, 0, maxMessageBytes, true);
  for (;;) {
    const message = messages.receive();
    if (message === "end") return;
    if (typeof message === "number") {
      if (message === -Errno.interrupted) continue;
      if (message !== -Errno.messageSize) throw new StepFailure("hear the fabric", message);
      reply(messages, { done: false, step: "read a request", reason: "it is too long" });
      continue;
    }
    // Nothing is taken from the other side but words.
    if (message.descriptor !== undefined) kernel.close(message.descriptor);
    answer(kernel, interfaces, messages, message.text);
  }
}

function answer(kernel: KernelCalls, interfaces: Interfaces, messages: DescriptorMessages, text: string): void {
  const request = parse(text);
  if (typeof request === "string") return reply(messages, { done: false, step: "read a request", reason: request });
  let descriptor: number | undefined;
  try {
    descriptor = interfaces.do(request);
  } catch (error) {
    if (!(error instanceof StepFailure)) throw error;
    return reply(messages, { done: false, step: error.step, reason: error.reason });
  }
  reply(messages, { done: true }, descriptor);
  if (descriptor !== undefined) kernel.close(descriptor);
}

function parse(text: string): LinkRequest | string {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch {
    return "it is not JSON";
  }
  const parsed = LinkRequest.safeParse(data);
  return parsed.success ? parsed.data : (parsed.error.issues[0]?.message ?? "it is malformed");
}

function reply(messages: DescriptorMessages, words: LinkAnswer, descriptor?: number): void {
  const sent = messages.send(JSON.stringify(words), descriptor);
  // Its end is what the next `receive` tells; any other failure is a bug.
  if (sent < 0 && sent !== -Errno.brokenPipe) throw new StepFailure("answer the fabric", sent);
}

try {
  const kernel = loadKernelCalls();
  dropRights(kernel);
  serve(kernel);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
