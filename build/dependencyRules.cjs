// Which folder may import which: the arrows of the layout, each with its reason. Nothing is exempt. What a folder does not
// list here it must not import; `buildRules` turns the table into dependency-cruiser's rules.

/**
 * `folder` (of our own code) may import from itself and from `may`; `packages` are the npm packages it may use; `node`
 * says whether Node's own modules are there for it.
 * A path in `may` ending in .ts is that one file: the entrance, or the seam, of the folder.
 */
const layers = [
  {
    folder: "core/contract",
    may: [],
    packages: ["zod"],
    node: false,
    reason: "The contract is data and is read in every process, windows included: it stands on zod alone.",
  },
  {
    folder: "core/base",
    may: ["core/contract"],
    packages: [],
    node: true,
    reason: "The base is what every layer stands on, so it stands on nothing but the contract.",
  },
  {
    folder: "core/net",
    may: ["core/base", "core/contract"],
    packages: ["zod", "koffi"],
    node: true,
    reason: "The fabric moves frames and knows neither machines nor disks.",
  },
  {
    folder: "core/storage",
    may: ["core/base", "core/contract"],
    packages: [],
    node: true,
    reason: "Storage knows images and blocks, neither networks nor machines.",
  },
  {
    folder: "core/emulator",
    may: ["core/base", "core/storage", "core/net/port.ts", "core/net/link/stream.ts"],
    packages: ["v86"],
    node: true,
    reason: "The emulator is a machine process like QEMU: it is told everything by its arguments and its sockets.",
  },
  {
    folder: "core/engine",
    may: ["core/base", "core/contract"],
    packages: [],
    node: true,
    reason: "An engine starts a machine process and talks to it; what the machine is for is decided above.",
  },
  {
    folder: "core/machine",
    may: ["core/base", "core/contract", "core/net", "core/storage", "core/engine"],
    packages: ["zod"],
    node: true,
    reason: "Machines are where storage, network and engines meet; the emulator is reached by its process only, the server from above.",
  },
  {
    folder: "core/server",
    may: ["core/machine/index.ts", "core/machine/access.ts", "core/contract", "core/base"],
    packages: ["zod"],
    node: true,
    reason: "The server hands the contract to other processes; it sees machines by their entrances: the service, and where a home and its holder are.",
  },
  {
    folder: "core/cli",
    may: ["core/contract", "core/base", "core/server", "core/machine/index.ts", "core/machine/access.ts"],
    packages: ["zod"],
    node: true,
    reason: "The command line is a client; it meets the host service itself only to serve it.",
  },
  {
    folder: "electron",
    may: ["core/machine/index.ts", "core/machine/access.ts", "core/contract", "core/base", "core/server"],
    packages: ["electron", "electron-store", "node-pty", "zod"],
    node: true,
    reason: "Main composes what the library offers by its entrances, and has no logic of its own.",
  },
  {
    folder: "renderer",
    may: ["core/contract"],
    packages: null,
    node: false,
    reason: "A window is a browser: it has no Node and knows the host service by its contract only.",
  },
];

/** Inside the renderer: what a part must not import. */
const rendererParts = [
  {
    folder: "renderer/ui",
    mustNot: ["renderer/api", "renderer/features"],
    reason: "Presentational pieces know no API and no feature, so they can be used anywhere.",
  },
  {
    folder: "renderer/api",
    mustNot: ["renderer/ui", "renderer/features", "renderer/app"],
    reason: "The client and the live state know nothing of what is shown with them.",
  },
];

const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const below = (path) => (path.endsWith(".ts") ? `^${escape(path)}$` : `^${escape(path)}/`);
const nameOf = (path) => path.replaceAll("/", "-");

function buildRules() {
  const rules = [
    {
      name: "no-circular",
      comment: "Two files that need each other are one file, or miss a third.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "not-to-unresolvable",
      comment: "An import that leads nowhere breaks at run time.",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: "product-without-tooling",
      comment: "build/ is tooling: the product runs without it.",
      severity: "error",
      from: { path: "^(core|electron|renderer)/" },
      to: { path: "^(build|tests)/" },
    },
    {
      name: "features-stay-apart",
      comment: "A feature that imports another cannot be understood or changed alone; what both need belongs in ui/ or api/.",
      severity: "error",
      from: { path: "^renderer/features/([^/]+)/" },
      to: { path: "^renderer/features/", pathNot: "^renderer/features/$1/" },
    },
  ];
  for (const { folder, may, packages, node, reason } of layers) {
    rules.push({
      name: `${nameOf(folder)}-imports`,
      comment: reason,
      severity: "error",
      from: { path: below(folder) },
      to: { path: "^(core|electron|renderer|build|tests)/", pathNot: [folder, ...may].map(below) },
    });
    if (packages !== null) {
      rules.push({
        name: `${nameOf(folder)}-packages`,
        comment: `${reason} Its npm packages: ${packages.join(", ") || "none"}.`,
        severity: "error",
        from: { path: below(folder) },
        to: {
          path: "node_modules/",
          pathNot: packages.map((name) => `node_modules/(@types/)?${escape(name)}/`),
        },
      });
    }
    if (!node) {
      rules.push({
        name: `${nameOf(folder)}-without-node`,
        comment: `${reason} Node's own modules are not there.`,
        severity: "error",
        from: { path: below(folder) },
        to: { dependencyTypes: ["core"] },
      });
    }
  }
  for (const { folder, mustNot, reason } of rendererParts) {
    rules.push({
      name: `${nameOf(folder)}-imports`,
      comment: reason,
      severity: "error",
      from: { path: below(folder) },
      to: { path: mustNot.map(below) },
    });
  }
  return rules;
}

module.exports = { layers, forbidden: buildRules() };
