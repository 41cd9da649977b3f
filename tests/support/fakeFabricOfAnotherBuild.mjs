// The pretended fabric as another build of it: all that differs is this file.
import "./fakeFabric.mjs";
