import type { ErrorData } from "../contract/errors";

/** What QEMU says when it gives up, and what that means for people. `$1` is what the expression caught. */
interface Saying {
  readonly says: RegExp;
  readonly code: ErrorData["code"];
  readonly means: (caught: string) => string;
  readonly remedy: string;
}

const sayings: readonly Saying[] = [
  {
    says: /Failed to get (?:shared )?"(?:write|consistent read|resize)" lock/,
    code: "locked",
    means: () => "One of its disks is in use by another program.",
    remedy: "End the other machine or the program (qemu-img, a mount) that uses the image, then start it again.",
  },
  {
    says: /Image is corrupt; cannot be opened read\/write/,
    code: "image-unusable",
    means: () => "One of its disks is damaged, and QEMU does not write to a damaged image.",
    remedy: "Make a copy of the image, then mend it: qemu-img check -r all FILE",
  },
  {
    says: /(?:Image is not in qcow2 format|qcow2 header|Unsupported qcow2|Invalid qcow2|refcount|L1 table|active L1)/i,
    code: "image-unusable",
    means: () => "One of its disks is not a usable QCOW2 image.",
    remedy: "Put an intact copy of the image back; qemu-img check FILE says what is wrong with this one.",
  },
  { says: /Could not open '([^']{1,300})': Permission denied/, code: "image-unusable", means: (file) => `QEMU may not open ${file}.`, remedy: "Give yourself permission to read and write the file." },
  { says: /Could not open '([^']{1,300})': No such file or directory/, code: "image-unusable", means: (file) => `${file} is missing.`, remedy: "Put the file back, or take it out of the machine." },
  {
    says: /cannot set up guest memory|Cannot allocate memory/,
    code: "insufficient-resources",
    means: () => "This computer cannot give the machine that much memory now.",
    remedy: "Shut down other machines or programs, or give the machine less memory.",
  },
  {
    says: /unable to find CPU model '([^']{1,100})'/,
    code: "invalid-input",
    means: (model) => `QEMU knows no CPU model “${model}”.`,
    remedy: "Choose another CPU model in the machine's settings, or leave it out.",
  },
  {
    says: /(?:Property|property) '?"?([A-Za-z0-9_.+-]{1,60})'?"? (?:not found|does not exist)/,
    code: "invalid-input",
    means: (property) => `QEMU knows nothing called “${property}”.`,
    remedy: "Look at the CPU model and the extra arguments in the machine's settings.",
  },
  {
    says: /unsupported machine type:? *"?'?([A-Za-z0-9_.-]{0,60})/i,
    code: "unsupported",
    means: (type) => `This QEMU does not know the hardware ${type === "" ? "the machine was made for" : type}.`,
    remedy: "Install the QEMU it was made with or a newer one, or choose another machine version in its settings.",
  },
  {
    says: /load of migration failed|error while loading state|Unknown savevm section|Not a migration stream|Missing section footer/,
    code: "engine-failed",
    means: () => "Its saved state is damaged, or was saved on other hardware.",
    remedy: "Put back what was changed since it was saved, or discard the saved state.",
  },
  {
    says: /(?:failed to set MSR|kvm run failed|Could not access KVM kernel module|failed to initialize kvm|invalid accelerator|no accelerator found)/i,
    code: "unavailable",
    means: () => "Hardware acceleration failed on this computer.",
    remedy: "Run `terrarium doctor`; it tries what works here and says what to do.",
  },
  {
    says: /: (-[a-z][A-Za-z0-9-]{0,40}): (?:invalid option|requires an argument)/,
    code: "invalid-input",
    means: (option) => `QEMU does not take the argument ${option}.`,
    remedy: "Look at the extra arguments in the machine's settings.",
  },
];

const maxQuotedChars = 300;

/**
 * Why QEMU gave up, from what it wrote to its log. Its own words are kept: they are what a search finds. Undefined when it
 * said nothing.
 */
export function explainQemu(log: string, extraArguments: readonly string[] = []): ErrorData | undefined {
  const lines = log
    .split("\n")
    .map((line) => line.replace(/^\d{4}-\d\d-\d\dT[0-9:.]+Z /, "").trim())
    .filter((line) => line !== "" && !/: warning: /.test(line));
  const last = lines.at(-1);
  if (last === undefined) return undefined;
  for (const { says, code, means, remedy } of sayings) {
    for (const line of [...lines].reverse()) {
      const match = says.exec(line);
      if (match) return { code, message: `${means(match[1] ?? "")} QEMU says: ${quoted(line)}`, remedy };
    }
  }
  const remedy = extraArguments.length > 0 ? "It has extra arguments, which are not supported: try without them. The machine's engine log says more." : "The machine's engine log says more.";
  return { code: "engine-failed", message: `QEMU gave up: ${quoted(last)}`, remedy };
}

/** QEMU's sentence without its own name before it. */
function quoted(line: string): string {
  const text = line.replace(/^(?:\S*\/)?qemu-system-[a-z0-9_]+: /, "");
  return text.length > maxQuotedChars ? `${text.slice(0, maxQuotedChars)}…` : text;
}
