export { ConsoleWindow } from "./ConsoleWindow";
