/** What the centre pane shows. */
export type View =
  | { readonly kind: "machine"; readonly id: string }
  | { readonly kind: "welcome" }
  | { readonly kind: "networks" }
  | { readonly kind: "activity" }
  | { readonly kind: "trash" }
  | { readonly kind: "host" }
  | { readonly kind: "preferences" };

export type WizardSource = "starter" | "iso" | "disk" | "kernel";

/** Everything that can change what is shown, for whoever composes screens. */
export interface Navigation {
  show(view: View): void;
  openWizard(source?: WizardSource): void;
  openPalette(): void;
  toggleSidebar(): void;
}
