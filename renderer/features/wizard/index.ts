export { Wizard } from "./Wizard";
export type { Source } from "./answers";
