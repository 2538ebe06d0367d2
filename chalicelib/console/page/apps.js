// Session apps: the newest revision of each, whether it is proven, and the way back.

import { call } from "./client.js";
import { badge, h } from "./elements.js";
import { change, facts, head, link, table } from "./views.js";
import { json } from "./invocations.js";

const appPath = (name) => `/apps/${encodeURIComponent(name)}`;

/** /console/apps */
export const appList = {
  title: "Apps",
  load: (context) => call("GET", "/apps", { signal: context.signal }),
  draw: ({ apps }) => [head("Apps"), apps.length ? table("Session apps", [
    ["App", (row) => link(appPath(row.name), row.name)], ["State", (row) => badge(row.state)], ["Revision", (row) => row.revision],
    ["Comes from", (row) => row.origin === "file" ? "the apps file" : "usher deploy"], ["Failed starts", (row) => row.failures],
    ["Sessions", (row) => link(`/sessions?app=${encodeURIComponent(row.name)}`, "Sessions")]], apps, (row) => row.name)
    : h("p", { class: "empty" }, "There is no session app. Deploy one with ", h("code", null, "usher deploy"), ".")],
};

/** /console/apps/NAME */
export const appPage = {
  title: "App",
  load: (context) => call("GET", appPath(context.id), { signal: context.signal }),
  draw: (it, context) => [
    head([it.name, " ", badge(it.state)], change(context, "Roll back", { needs: "operator", tone: "danger",
      unless: it.origin === "file" ? "Apps of the apps file are changed by deploying." : "",
      ask: { title: `Take revision ${it.revision} of ${it.name} back?`, consequences: "New sessions start on the revision before it. Sessions that are open stay as they are." },
      send: () => call("POST", `${appPath(it.name)}/rollback`, { body: JSON.stringify({ revision: it.revision }) }),
      done: (before) => `Revision ${before.revision} is the newest now.` }),
    link(`/sessions?app=${encodeURIComponent(it.name)}`, "Its sessions", { class: "button" })),
    it.state === "refused" || it.state === "failing" ? h("p", { class: "notice" },
      `${it.failures} starts in a row failed${it.state === "refused" ? ", so no further one is tried for a while" : ""}. ${it.reason ?? ""}`) : null,
    it.state === "unproven" ? h("p", { class: "notice" }, "No container of this revision was ready yet.") : null,
    facts(["Revision", it.revision], ["Comes from", it.origin === "file" ? "the apps file" : "usher deploy"], ["Image", it.image], ["Task definition", it.taskDefinition]),
    it.description ? [h("h2", null, "Description"), json(it.description)] : null],
};
