// Why a container is on its host, or on none: the present hosts, loaded on request.

import { call } from "./client.js";
import { badge, h } from "./elements.js";
import { facts, link, table } from "./views.js";
import { taken } from "./text.js";

const hostOf = ({ host, instance }) => link(`/hosts/${encodeURIComponent(host)}`, instance ?? host);
const nameOf = (hosts, id) => hosts.find(({ host }) => host === id)?.instance ?? id;
const obstaclesOf = ({ fits, obstacles }) => fits ? badge("fits", "good") : obstacles.map(({ cause, detail }) => h("div", null, `${cause}: ${detail}`));

/** A button that explains the placement of the record at `path`, in the section `place`. */
export function showPlacement(place, context, path) {
  const result = h("div", { role: "status" });
  const button = h("button", { type: "button", onclick: async () => {
    result.replaceChildren(h("p", { class: "quiet" }, "Looking at all hosts …"));
    try {
      result.replaceChildren(...[draw(await call("GET", `${path}/placement`, { signal: context.signal }))].flat(Infinity).filter(Boolean));
    } catch (error) {
      if (!context.signal.aborted) result.replaceChildren(h("p", { class: "notice" }, error.message));
    }
  } }, "Explain its placement");
  place.append(h("h2", null, "Placement"), h("p", null, button), result);
}

function draw({ name, cpu, memory, launchType, placedOn, best, causes, hosts, rules }) {
  const rule = [...rules.spread.map((by) => `spread over ${by}`), rules.binpack && `packed by ${rules.binpack}`, ...rules.constraints].filter(Boolean);
  return [
    facts(["What is placed", `${name}: ${cpu} units of processor, ${memory} MiB`], ["Where", launchType === "FARGATE" ? "Fargate, where no host is chosen" : null],
      ["Runs on", placedOn && link(`/hosts/${encodeURIComponent(placedOn)}`, nameOf(hosts, placedOn))], ["Rules", rule.join("; ")], ["Another one would go to", best.map((id) => nameOf(hosts, id)).join(", ")],
      ["Hosts ruled out", Object.entries(causes).map(([cause, count]) => `${count} by ${cause}`).join(", ")]),
    hosts.length ? table("Hosts as they are now", [["Host", hostOf], ["Zone", (row) => row.zone], ["Another one", obstaclesOf],
      ["Processor", (row) => taken(row.cpu.total, row.cpu.left)], ["Memory", (row) => taken(row.memory.total, row.memory.left)], ["Tasks", (row) => row.tasks]],
    hosts, (row) => row.host) : launchType === "FARGATE" ? null : h("p", { class: "empty" }, "There is no host."),
  ];
}
