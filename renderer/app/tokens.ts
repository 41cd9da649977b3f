/** The colours of both themes: the only place where a colour is written down. `themeRoot` puts them on the page as CSS variables. */
const dark = {
  room: "#111815", pane: "#18211d", raised: "#212c27", sunken: "#0d1310", hover: "#1f2925",
  line: "#28342e", "line-2": "#3a4941", "line-3": "#66786e", glass: "rgba(206,240,228,.10)", "glass-hi": "rgba(214,246,235,.20)",
  ink: "#e9efea", "ink-2": "#aebbb3", "ink-3": "#86958c",
  leaf: "#a5cf77", "leaf-fill": "#a5cf77", "leaf-hover": "#b3d98a", "leaf-light": "#c5e59d", "on-leaf": "#14210a",
  "leaf-soft": "rgba(165,207,119,.13)", "leaf-line": "rgba(165,207,119,.42)",
  run: "#a5cf77", pause: "#edbb5f", save: "#8fbcec", off: "#86958c", crash: "#ff8674",
  "crash-soft": "rgba(255,134,116,.11)", "pause-soft": "rgba(237,187,95,.11)", "save-soft": "rgba(143,188,236,.12)",
  "n-nat": "#7db4e0", "n-int": "#b9a2e6", "n-host": "#5fc4b2", "n-bri": "#d2b48a",
  "shadow-1": "0 1px 0 rgba(0,0,0,.35)",
  "shadow-2": "0 8px 24px -8px rgba(0,0,0,.55),0 1px 2px rgba(0,0,0,.4)",
  "shadow-3": "0 24px 64px -16px rgba(0,0,0,.7),0 2px 6px rgba(0,0,0,.4)",
  // Words on a guest's screen, which is dark in both themes.
  "glass-ink": "#cfe0d8", "glass-fill": "rgba(24,33,29,.86)", "glass-line": "rgba(214,246,235,.16)",
  tank: "#0b100e", stage: "#141b18", jar: "#0d1310",
  "soil-1": "#4b3f30", "soil-2": "#5d4e3a", "soil-3": "#6f5f45", "soil-4": "#8a7855", grid: "rgba(206,240,228,.055)",
} as const;

export type Token = keyof typeof dark;
export type Palette = Readonly<Record<Token, string>>;

const light: Palette = {
  room: "#e3e9e2", pane: "#fafcf9", raised: "#ffffff", sunken: "#eff3ee", hover: "#eef2ed",
  line: "#dbe2da", "line-2": "#bfcabf", "line-3": "#849188", glass: "rgba(30,70,50,.10)", "glass-hi": "rgba(255,255,255,.9)",
  ink: "#18211b", "ink-2": "#4a574e", "ink-3": "#5a675e",
  leaf: "#3b6f1c", "leaf-fill": "#3f7620", "leaf-hover": "#356519", "leaf-light": "#79ad55", "on-leaf": "#ffffff",
  "leaf-soft": "rgba(74,130,36,.11)", "leaf-line": "rgba(63,118,32,.45)",
  run: "#4d8a27", pause: "#b87405", save: "#2f6fb4", off: "#6f7c73", crash: "#c23a27",
  "crash-soft": "rgba(194,58,39,.08)", "pause-soft": "rgba(184,116,5,.10)", "save-soft": "rgba(47,111,180,.10)",
  "n-nat": "#2c74ad", "n-int": "#7350b8", "n-host": "#0c7f6d", "n-bri": "#8f6420",
  "shadow-1": "0 1px 0 rgba(24,33,27,.05)",
  "shadow-2": "0 8px 24px -10px rgba(24,40,30,.22),0 1px 2px rgba(24,40,30,.08)",
  "shadow-3": "0 24px 64px -18px rgba(24,40,30,.34),0 2px 6px rgba(24,40,30,.08)",
  "glass-ink": "#cfe0d8", "glass-fill": "rgba(24,33,29,.86)", "glass-line": "rgba(214,246,235,.16)",
  tank: "#0f1512", stage: "#d3dbd2", jar: "#e4eee7",
  "soil-1": "#c9b795", "soil-2": "#b8a37d", "soil-3": "#a48e67", "soil-4": "#8a7550", grid: "rgba(24,50,36,.07)",
};

export const palettes = { dark, light } as const;

/** The colours of a theme as CSS custom properties: `--room`, `--ink-2`, ... */
export function cssVariables(palette: Palette): Record<string, string> {
  return Object.fromEntries(Object.entries(palette).map(([name, value]) => [`--${name}`, value]));
}
