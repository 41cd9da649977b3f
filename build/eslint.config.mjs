// What the compiler does not see: promises nobody waits for, errors nobody hears of, and the style's own rules.
// Every rule here fails the build; there are no warnings.

import tseslint from "typescript-eslint";
import reactHooks from "eslint-plugin-react-hooks";

const noSilence = {
  "no-empty": ["error", { allowEmptyCatch: false }],
  "no-debugger": "error",
  "no-eval": "error",
  "no-control-regex": "error",
  "prefer-const": "error",
  eqeqeq: ["error", "always"],
};

const catchHidesNothing = {
  selector: "CallExpression[callee.property.name='catch'] > ArrowFunctionExpression > BlockStatement[body.length=0]",
  message: "An error must not vanish: handle it, log it, or say in a statement why it may be dropped.",
};

const noTestLeftOut = [
  {
    selector: "MemberExpression[object.name=/^(describe|it|test|suite|bench)$/][property.name=/^(only|skip|todo|skipIf|runIf|fails)$/]",
    message: "Every test runs every time, and passes.",
  },
  {
    selector: "CallExpression[callee.name=/^(xit|xdescribe|xtest|fit|fdescribe)$/]",
    message: "Every test runs every time, and passes.",
  },
];

/** Code that gets its time and its chance passed in, so that tests run it on virtual time. */
const virtualTime = [
  ...["setTimeout", "setInterval", "setImmediate"].map((name) => ({
    selector: `CallExpression[callee.name='${name}']`,
    message: "Pass a clock in; this code runs on virtual time in its tests.",
  })),
  {
    selector: "MemberExpression[object.name='Date'][property.name='now'], NewExpression[callee.name='Date'][arguments.length=0]",
    message: "Pass a clock in; this code runs on virtual time in its tests.",
  },
  {
    selector: "MemberExpression[object.name='Math'][property.name='random'], MemberExpression[object.name='performance'][property.name='now']",
    message: "Pass a clock or a random source in; this code must repeat exactly in its tests.",
  },
];

export default tseslint.config(
  { ignores: ["out/**", ".cache/**", "node_modules/**", "assets/**"] },
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  {
    files: ["build/**/*.{mjs,cjs}", "tests/**/*.mjs"],
    rules: { ...noSilence, "no-unused-vars": ["error", { args: "after-used" }], "no-restricted-syntax": ["error", catchHidesNothing] },
  },
  {
    files: ["{core,electron,renderer,tests}/**/*.{ts,tsx}"],
    languageOptions: {
      parser: tseslint.parser,
      // One program for all layers: four would check the core four times over. What a layer may see is the type check's
      // matter, which compiles each with its own tsconfig.
      parserOptions: { project: "./build/tsconfig.lint.json", tsconfigRootDir: new URL("..", import.meta.url).pathname },
    },
    plugins: { "@typescript-eslint": tseslint.plugin },
    rules: {
      ...noSilence,
      "no-restricted-syntax": ["error", catchHidesNothing],
      "@typescript-eslint/no-floating-promises": ["error", { ignoreVoid: true }],
      "@typescript-eslint/no-misused-promises": ["error", { checksVoidReturn: { attributes: false } }],
      "@typescript-eslint/await-thenable": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    files: ["core/{net,storage}/**/*.ts"],
    rules: { "no-restricted-syntax": ["error", catchHidesNothing, ...virtualTime] },
  },
  {
    files: ["tests/**/*.{ts,tsx,mjs}"],
    rules: { "no-restricted-syntax": ["error", catchHidesNothing, ...noTestLeftOut] },
  },
  {
    files: ["renderer/**/*.{ts,tsx}"],
    plugins: { "react-hooks": reactHooks },
    rules: { "react-hooks/rules-of-hooks": "error", "react-hooks/exhaustive-deps": "error" },
  },
);
