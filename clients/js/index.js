// client.js is the one that session containers serve: `make package` puts it beside this file.
export { connect, follow, version } from "./client.js";
export { dispatch, DispatchError } from "./dispatch.js";
