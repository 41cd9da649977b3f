// `npm run bench -- storage [PART...]`: how fast disks are. Parts: qcow2.

import { measureQcow2 } from "./pieces/qcow2Speed";
import { runBench, type Part } from "./pieces/report";

const qcow2: Part = { name: "qcow2", measure: measureQcow2 };

void runBench("storage", [qcow2]);
