import { createTheme } from "@mui/material/styles";
import { palettes, type Palette } from "./tokens";

const ui = '"Instrument Sans Variable", system-ui, sans-serif';
const none = "none";

function scheme(colours: Palette) {
  return {
    palette: {
      primary: { main: colours["leaf-fill"], contrastText: colours["on-leaf"] },
      secondary: { main: colours["ink-2"] },
      error: { main: colours.crash },
      warning: { main: colours.pause },
      info: { main: colours.save },
      success: { main: colours.run },
      background: { default: colours.room, paper: colours.pane },
      text: { primary: colours.ink, secondary: colours["ink-2"], disabled: colours["ink-3"] },
      divider: colours.line,
    },
  };
}

/** MUI carries what floats or needs keyboard care (dialogs, menus, tooltips, selects, switches); its look is ours. */
export const theme = createTheme({
  cssVariables: { colorSchemeSelector: "data-theme" },
  colorSchemes: { dark: scheme(palettes.dark), light: scheme(palettes.light) },
  spacing: 4,
  shape: { borderRadius: 7 },
  shadows: [none, "var(--shadow-1)", "var(--shadow-2)", "var(--shadow-3)", ...Array.from({ length: 21 }, () => none)] as never,
  typography: {
    fontFamily: ui,
    fontSize: 13,
    htmlFontSize: 16,
    h1: { fontSize: 22, lineHeight: "28px", fontWeight: 600, letterSpacing: "-0.018em" },
    h2: { fontSize: 15, lineHeight: "20px", fontWeight: 600, letterSpacing: "-0.008em" },
    body1: { fontSize: 13, lineHeight: "18px", letterSpacing: 0 },
    body2: { fontSize: 12, lineHeight: "16px", letterSpacing: 0 },
    caption: { fontSize: 11, lineHeight: "14px", letterSpacing: 0 },
    button: { fontSize: 13, fontWeight: 500, textTransform: "none", letterSpacing: 0 },
  },
  transitions: { duration: { shortest: 110, shorter: 110, short: 160, standard: 220, enteringScreen: 180, leavingScreen: 110 } },
  components: {
    MuiButtonBase: { defaultProps: { disableRipple: true, disableTouchRipple: true } },
    MuiPaper: { defaultProps: { elevation: 0 }, styleOverrides: { root: { backgroundImage: none } } },
    MuiButton: {
      defaultProps: { disableElevation: true },
      styleOverrides: { root: { height: 30, padding: "0 11px", borderRadius: 7, gap: 7 }, outlined: { borderColor: "var(--line-2)", color: "var(--ink)" } },
    },
    MuiIconButton: { styleOverrides: { root: { width: 30, height: 30, borderRadius: 7, color: "var(--ink-2)", "&:hover": { background: "var(--raised)", color: "var(--ink)" } } } },
    MuiDialog: {
      styleOverrides: {
        paper: { borderRadius: 11, background: "var(--raised)", border: "1px solid var(--line-2)", boxShadow: "var(--shadow-3)", margin: 24 },
      },
    },
    MuiBackdrop: { styleOverrides: { root: { "&:not(.MuiBackdrop-invisible)": { background: "color-mix(in srgb, var(--sunken) 62%, transparent)" } } } },
    MuiPopover: { styleOverrides: { paper: { borderRadius: 11, background: "var(--raised)", border: "1px solid var(--line-2)", boxShadow: "var(--shadow-3)" } } },
    MuiMenu: { styleOverrides: { list: { padding: 5 } } },
    MuiMenuItem: {
      styleOverrides: {
        root: {
          fontSize: 13, minHeight: 30, padding: "0 10px", borderRadius: 6, gap: 10, lineHeight: "18px",
          "& .ic": { color: "var(--ink-2)" },
          "&:hover, &.Mui-focusVisible": { background: "var(--hover)" },
          "&.Mui-selected, &.Mui-selected:hover": { background: "var(--leaf-soft)" },
          "&.danger": { color: "var(--crash)", "& .ic": { color: "inherit" } },
          "&[aria-disabled=true]": { color: "var(--ink-3)", opacity: 1, "& .ic": { color: "var(--ink-3)" } },
        },
      },
    },
    MuiTooltip: {
      defaultProps: { enterDelay: 400, enterNextDelay: 400, describeChild: true },
      styleOverrides: {
        tooltip: {
          fontSize: 12, lineHeight: "16px", fontWeight: 400, color: "var(--ink)", background: "var(--raised)", border: "1px solid var(--line-2)",
          borderRadius: 7, padding: "5px 9px", maxWidth: 300, boxShadow: "var(--shadow-2)",
        },
      },
    },
    MuiOutlinedInput: {
      styleOverrides: {
        root: { height: 30, background: "var(--sunken)", borderRadius: 7, fontSize: 13, "&.Mui-focused .MuiOutlinedInput-notchedOutline": { borderColor: "var(--leaf)" } },
        input: { padding: "0 9px", height: 28, lineHeight: "28px", boxSizing: "border-box" },
        notchedOutline: { borderColor: "var(--line-3)" },
      },
    },
    MuiSelect: { styleOverrides: { select: { display: "flex", alignItems: "center", gap: 8, minHeight: 0, padding: "0 28px 0 9px" }, icon: { color: "var(--ink-2)" } } },
    MuiSwitch: {
      styleOverrides: {
        root: {
          width: 28, height: 16, padding: 0, overflow: "visible", display: "inline-flex",
          "& .MuiSwitch-switchBase": {
            padding: 2, color: "var(--ink-2)",
            "&.Mui-checked": { transform: "translateX(12px)", color: "var(--on-leaf)", "& + .MuiSwitch-track": { background: "var(--leaf-fill)", borderColor: "transparent", opacity: 1 } },
            "&.Mui-focusVisible + .MuiSwitch-track": { outline: "2px solid var(--leaf)", outlineOffset: 2 },
          },
        },
        thumb: { width: 12, height: 12, boxShadow: "none" },
        track: { borderRadius: 99, background: "var(--sunken)", border: "1px solid var(--line-3)", opacity: 1, boxSizing: "border-box" },
      },
    },
    MuiSlider: {
      styleOverrides: {
        root: { height: 3, padding: "12px 0" },
        rail: { background: "var(--line-3)", opacity: 1 },
        thumb: { width: 14, height: 14, background: "var(--pane)", border: "2px solid var(--leaf-fill)", boxShadow: "none", "&:hover, &.Mui-focusVisible, &.Mui-active": { boxShadow: "0 0 0 4px var(--leaf-soft)" } },
      },
    },
  },
});
