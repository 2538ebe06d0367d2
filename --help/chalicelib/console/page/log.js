// The log of a container, read page by page. Lines are plain text, so the browser's search finds them.

import { call } from "./client.js";
import { h } from "./elements.js";

const LOG_PAGE = 500;
const LOG_SECONDS = 3;
const LOG_LINES = 10000; // then the reader asks for more: a browser lays out so many without trouble

/** Show the log that `path` serves, and go on reading it while the page is shown. */
export function showLog(place, context, path) {
  let next = null, timer = 0, isReading = false, isOver = false, most = LOG_LINES, count = 0;
  const lines = h("pre", { class: "log", tabindex: "0", "aria-label": "Lines of the log" });
  const status = h("p", { class: "quiet", role: "status" }, "Reading …");
  const pattern = h("input", { type: "search", placeholder: "Only lines with …", "aria-label": "Only lines with", oninput: () => lines.childNodes.forEach(filterLine) });
  const end = h("input", { type: "checkbox", checked: true });
  const more = h("button", { type: "button", hidden: true, onclick: () => { most += LOG_LINES; read(); } }, "Show more lines");
  const filterLine = (line) => { line.hidden = !line.textContent.toLowerCase().includes(pattern.value.toLowerCase()); };

  async function read() {
    if (isReading || isOver) return;
    isReading = true;
    try {
      for (let isMore = true; isMore && count < most;) {
        const answer = await call("GET", path, { query: { next, limit: LOG_PAGE }, signal: context.signal });
        const isAtEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 40;
        const fresh = answer.lines.map(({ at, text }) => h("span", { title: at }, `${text}\n`));
        fresh.forEach(filterLine);
        lines.append(...fresh);
        count += fresh.length;
        if (end.checked && isAtEnd) lines.scrollTop = lines.scrollHeight;
        isMore = answer.next !== next && !answer.ended;
        isOver = answer.ended;
        next = answer.next;
      }
      const counted = count === 1 ? "1 line" : `${count} lines`;
      status.textContent = isOver ? (count ? `${counted}, complete.` : "It printed nothing.") : count ? `${counted} so far.` : "Nothing printed yet.";
    } catch (error) {
      if (!context.signal.aborted) status.textContent = `The log cannot be read now: ${error.message}`;
    }
    more.hidden = count < most || isOver;
    isReading = false;
    clearTimeout(timer);
    if (context.isActive() && !isOver && count < most) timer = setTimeout(() => context.isActive() && read(), LOG_SECONDS * 1000);
  }
  place.append(h("div", { class: "log-head" }, pattern, h("label", null, end, " stay at the end")), lines, status, more);
  context.onRefresh(read);
  read();
}
