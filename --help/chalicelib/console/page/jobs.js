// Deployed jobs, and a form to invoke one, generated from the schema of its parameters.

import { call } from "./client.js";
import { h } from "./elements.js";
import { askAndSend, facts, head, link, results, table, whyNot } from "./views.js";
import { invocationTable, json } from "./invocations.js";
import { fieldsOf, parametersOf, showJson } from "./text.js";

const JOBS = 50;
const jobPath = (name) => `/jobs/${encodeURIComponent(name)}`;

/** /console/jobs */
export const jobList = {
  title: "Jobs",
  load: async (context) => {
    const answer = await call("GET", "/jobs", { query: { limit: JOBS, next: context.query.get("next") }, signal: context.signal });
    return { rows: answer.jobs, next: answer.next };
  },
  draw: (found, context) => [head("Jobs"), results(context, found, (rows) => table("Jobs that are deployed", [
    ["Job", (row) => link(jobPath(row.name), row.name)], ["Revision", (row) => row.revision], ["Priority", (row) => row.priority],
    ["Processor", (row) => row.cpu && `${row.cpu} units`], ["Memory", (row) => row.memory && `${row.memory} MiB`], ["Image", (row) => row.image],
    ["Runs", (row) => link(`/invocations?job=${encodeURIComponent(row.name)}`, "Invocations")]], rows, (row) => row.name),
    ["No job is deployed. Write one with ", h("code", null, "usher new NAME"), " and deploy it with ", h("code", null, "usher deploy"), "."])],
};

/** /console/jobs/NAME */
export const jobPage = {
  title: "Job",
  load: async (context) => {
    const [job, latest] = await Promise.all([call("GET", jobPath(context.id), { signal: context.signal }),
      call("GET", "/invocations", { query: { job: context.id, limit: 10 }, signal: context.signal })]);
    return { job, latest: latest.invocations };
  },
  draw: ({ job, latest }) => [
    head(job.name, link(`/invocations?job=${encodeURIComponent(job.name)}`, "All its invocations", { class: "button" })),
    h("h2", null, "Run it now"), h("section", { "data-keep": "form", "aria-label": "Run it now" }),
    h("h2", null, "Newest runs"), latest.length ? invocationTable(latest) : h("p", { class: "empty" }, "It has not been run yet, or not by you."),
    h("h2", null, "Description"), json(job), facts(["Revision", job.revision], ["Image", job.image])],
  mount: (root, context, { job }) => root.querySelector('[data-keep="form"]').append(runForm(job, context)),
};

function runForm(job, context) {
  const fields = fieldsOf(job.parameters);
  const why = whyNot(context.me, "owner");
  const problem = h("p", { class: "notice", role: "alert", hidden: true });
  const priority = h("select", { name: "priority" }, ["", "critical", "normal", "low"].map((one) => h("option", { value: one }, one || `as the job says (${job.priority ?? "normal"})`)));
  const inputs = fields ? fields.map(input) : [h("textarea", { name: "parameters", spellcheck: "false" }, job.parameters ? "{}" : "null")];
  const form = h("form", { class: "form", onsubmit: async (event) => {
    event.preventDefault();
    problem.hidden = true;
    let parameters;
    try {
      parameters = fields ? parametersOf(fields, Object.fromEntries(fields.map((field, place) => [field.name, inputs[place].value])))
        : jsonOf(form.elements.parameters.value);
    } catch (error) {
      problem.textContent = error.message;
      problem.hidden = false;
      return;
    }
    const body = `{"parameters":${parameters}${priority.value ? `,"priority":${JSON.stringify(priority.value)}` : ""}}`;
    await askAndSend(context, "Run", form, { why, ask: { title: `Run ${job.name} now?`, consequences: `Revision ${job.revision} is run with these parameters:`,
      label: "Run", content: h("pre", { class: "json" }, parameters) },
    send: (repeatable) => call("POST", `${jobPath(job.name)}/invocations`, { body, repeatable }),
    then: (made) => context.go(`/invocations/${made.id}`),
    failed: (error) => { problem.textContent = error.message; problem.hidden = false; } });
  } }, fields ? fields.map((field, place) => h("label", null, h("span", null, field.title, field.isRequired ? " (required)" : "", h("code", { class: "quiet" }, ` ${field.kind}`)), inputs[place],
    field.help ? h("span", { class: "quiet help" }, field.help) : null)) : h("label", null, "Parameters, as JSON", inputs[0]),
  h("label", null, "Priority", priority), problem,
  h("button", { type: "submit", class: "strong", "aria-disabled": why ? "true" : null, title: why || null }, "Run now"));
  return form;
}

function jsonOf(text) {
  JSON.parse(text);
  return text;
}

function input(field) {
  const initial = field.default === undefined ? "" : field.kind === "string" ? field.default : showJson(field.default);
  const common = { name: field.name, required: field.isRequired && field.kind !== "string" };
  const none = h("option", { value: "" }, field.isRequired ? "choose" : "leave it out");
  const chosen = (value) => h("option", { value, selected: value === initial }, value);
  if (field.kind === "choice") return h("select", common, none, field.choices.map((choice) => chosen(showJson(choice))));
  if (field.kind === "boolean") return h("select", common, none, chosen("true"), chosen("false"));
  if (field.kind === "json") return h("textarea", { ...common, spellcheck: "false" }, initial);
  return h("input", { ...common, value: initial, inputmode: field.kind === "string" ? null : "decimal", autocomplete: "off" });
}
