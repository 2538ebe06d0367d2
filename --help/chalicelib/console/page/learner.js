// The pages of assignments, at /assignments and /learn.

import { start } from "./frame.js";
import { assignmentList, assignmentPage } from "./assignments.js";
import { guardDrops } from "./upload.js";

guardDrops();
start({ pages: { assignments: { list: assignmentList, one: assignmentPage } }, first: "assignments", route: ([id = null]) => ({ name: "assignments", id }) });
