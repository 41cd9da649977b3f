// Checks the imports of core, electron and renderer against dependencyRules.cjs.
//
//   node build/dependencyCheck.mjs
//
// A cruise that sees no modules finds no fault. So the check also fails when a source on disk was not looked at.

import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { checkout } from "./launcher/paths.mjs";

const { forbidden, layers } = createRequire(import.meta.url)("./dependencyRules.cjs");
const roots = ["core", "electron", "renderer"];

/**
 * @param {string} baseDir a folder laid out like the checkout
 * @returns {Promise<{ faults: string[], modules: number, imports: number }>}
 */
export async function checkDependencies(baseDir = checkout) {
  const { cruise } = await import("dependency-cruiser");
  const present = roots.filter((root) => existsSync(join(baseDir, root)));
  const { output } = await cruise(
    present,
    {
      baseDir,
      validate: true,
      ruleSet: { forbidden },
      doNotFollow: { path: "node_modules" },
      // Imports of types alone are arrows too: they tie the layers together for the reader.
      tsPreCompilationDeps: true,
    },
    {
      extensions: [".ts", ".tsx", ".d.ts", ".mjs", ".js", ".cjs", ".json"],
      exportsFields: ["exports"],
      conditionNames: ["import", "require", "node", "default", "types"],
    },
  );

  const faults = output.summary.violations.map(
    (violation) =>
      `${violation.from} -> ${violation.cycle ? violation.cycle.map((step) => step.name).join(" -> ") : violation.to}\n` +
      `    ${violation.rule.name}: ${reasonOf(violation.rule.name)}`,
  );
  const seen = new Set(output.modules.map((module) => module.source));
  const onDisk = present.flatMap((root) => sourcesBelow(baseDir, root));
  const unseen = onDisk.filter((path) => !seen.has(path));
  if (unseen.length > 0 || onDisk.length === 0) {
    faults.push(
      `only ${onDisk.length - unseen.length} of ${onDisk.length} sources were looked at; not ${unseen.slice(0, 5).join(", ")}`,
    );
  }
  for (const path of onDisk) {
    if (!layers.some(({ folder }) => path.startsWith(`${folder}/`))) {
      faults.push(`${path} lies in no layer: add its folder to build/dependencyRules.cjs, or move it`);
    }
  }
  return { faults, modules: onDisk.length, imports: output.summary.totalDependenciesCruised ?? 0 };
}

function reasonOf(name) {
  return forbidden.find((rule) => rule.name === name)?.comment ?? "";
}

function sourcesBelow(baseDir, root) {
  return readdirSync(join(baseDir, root), { recursive: true, withFileTypes: true })
    .filter((item) => item.isFile() && /\.tsx?$/.test(item.name))
    .map((item) => relative(baseDir, join(item.parentPath ?? item.path, item.name)).split(sep).join("/"));
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { faults, modules, imports } = await checkDependencies();
  for (const fault of faults) console.error(fault);
  console.log(`dependency rules: ${modules} modules, ${imports} imports, ${faults.length} faults`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}
