import GlobalStyles from "@mui/material/GlobalStyles";
import { ThemeProvider, useColorScheme } from "@mui/material/styles";
import { useEffect, type ReactNode } from "react";
import { usePreferences } from "../api/hooks";
import { theme } from "./theme";
import { cssVariables, palettes } from "./tokens";
import "./theme.css";

const variables = {
  ":root, [data-theme=dark]": cssVariables(palettes.dark),
  "[data-theme=light]": cssVariables(palettes.light),
};

/** The theme of every window; follows the person's preference, and the system's when that is what they prefer. */
export function ThemeRoot({ children }: { children: ReactNode }) {
  const preferred = usePreferences().theme;
  return (
    <ThemeProvider theme={theme} defaultMode={preferred} storageManager={null} disableTransitionOnChange>
      <GlobalStyles styles={variables} />
      <FollowPreference mode={preferred} />
      {children}
    </ThemeProvider>
  );
}

function FollowPreference({ mode }: { mode: "system" | "dark" | "light" }) {
  const { setMode } = useColorScheme();
  useEffect(() => setMode(mode), [mode, setMode]);
  return null;
}
