// What happened to an agent, as rows of a table. Pure.

import { pointText } from "./dom.js";
import { UNHAPPY, described, seconds } from "./fold.js";
import { reasonText } from "./words.js";

/**
 * Every point that was measured or came to nothing, and what was done to the agent, newest first: `{key, at, run, point,
 * outcome, what, why, who, run_uid, traceback, bad}`; `run` counts what was measured, and is null for the others.
 */
export function records(fold, units = {}, labels = {}) {
  const rows = [];
  let run = 0;
  for (const [id, { at, point, outcome, run_uid, by }] of fold.measured) {
    run += 1;
    const suggestion = fold.suggestions.get(id);
    rows.push({ key: id, at, run, point, outcome, what: "measured", why: whyOf(suggestion, units), who: whose(suggestion, by), run_uid: run_uid ?? suggestion?.run_uid, traceback: null, bad: false });
  }
  for (const suggestion of fold.suggestions.values()) {
    if (!UNHAPPY.includes(suggestion.state)) continue;
    const { id, state, at, point, outcome, run_uid, traceback } = suggestion;
    rows.push({ key: `${id} ${state}`, at, run: null, point, outcome: outcome ?? {}, what: state, why: whyOf(suggestion, units), who: whose(suggestion), run_uid, traceback: traceback ?? null, bad: state === "failed" });
  }
  for (const event of fold.history) {
    const { data } = event;
    rows.push({ key: `fact ${event.seq}`, at: seconds(event.time), run: null, point: {}, outcome: {}, what: described(event, units, labels), why: reasonText(data.reason), who: data.by ?? "", run_uid: null, traceback: data.error?.traceback ?? null, bad: Boolean(data.error) });
  }
  return rows.sort((a, b) => b.at - a.at);
}

/** Why a point has its fate, and what was suggested where somebody edited it. */
function whyOf(suggestion, units) {
  const { reason: given, suggested_point: was, rejected_by: rejected } = suggestion ?? {};
  const reason = was || rejected ? reasonText(given).replace(/^(edited|rejected) by [^:]*(: |$)/, "") : reasonText(given); // who did it is told beside
  return [was ? `was ${pointText(was, units)}` : "", reason].filter(Boolean).join("; ");
}

function whose(suggestion, by = null) {
  if (!suggestion) return by ?? "";
  const proposed = suggestion.proposed_by ?? (suggestion.filler ? "filler" : "the agent");
  const { approved_by: approved, rejected_by: rejected, suggested_point: was } = suggestion;
  return [proposed, approved && `${was ? "edited" : "approved"} by ${approved}`, rejected && `rejected by ${rejected}`].filter(Boolean).join(", ");
}

/** What rows are sorted by, by the name of a column. */
export function valueOf(row, column) {
  if (column.of === "actuator") return row.point[column.name];
  if (column.of === "outcome") return row.outcome[column.name];
  return row[column.name];
}

/** Rows by a column, downwards or upwards; those without a value there come last, newest first. */
export function sorted(rows, column, down) {
  const empty = (value) => value === null || value === undefined || value === "";
  return [...rows].sort((a, b) => {
    const [value, other] = [valueOf(a, column), valueOf(b, column)];
    if (empty(value) || empty(other)) return empty(value) - empty(other);
    const order = typeof value === "number" && typeof other === "number" ? value - other : String(value).localeCompare(String(other));
    return down ? -order : order;
  });
}

/** Digits behind the point with which numbers of a column stand below each other; null: too far apart for that. */
export function decimals(values) {
  const sizes = values.filter((value) => Number.isFinite(value) && value !== 0).map(Math.abs);
  if (!sizes.length || values.every((value) => !Number.isFinite(value) || Number.isInteger(value))) return 0;
  const most = Math.floor(Math.log10(Math.max(...sizes)));
  if (most > 6 || most < -5) return null;
  const digits = Math.max(0, Math.min(6, 3 - most));
  const needed = sizes.map((size) => String(Number(size.toFixed(digits))).split(".")[1]?.length ?? 0);
  return Math.max(...needed); // 0.8, not 0.8000
}

/** Rows as text with tabs between the columns, as a spreadsheet takes it; numbers have all their digits. */
export function asText(rows, columns) {
  const cell = (row, column) => {
    if (column.name === "at") return new Date(row.at * 1000).toISOString();
    const value = valueOf(row, column);
    return value === null || value === undefined ? "" : String(value).replace(/[\t\n\r]+/g, " ");
  };
  const lines = [columns.map(({ title, name, unit }) => `${title ?? name}${unit ? ` (${unit})` : ""}`), ...rows.map((row) => columns.map((column) => cell(row, column)))];
  return lines.map((line) => line.join("\t")).join("\n");
}
