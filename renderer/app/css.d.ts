/** Style sheets are bundled into one file beside the script that imports them. */
declare module "*.css";
