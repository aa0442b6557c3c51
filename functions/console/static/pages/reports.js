// What is watched, by whom and when: a chart of views, and tables of videos and members, each as CSV too.
import { api } from "../app/api.js";
import { Choice, Empty, More, Note, Retry, useData, useList } from "../app/parts.js";
import { Problem } from "../app/problem.js";
import { date, language, number, t } from "../app/text.js";
import { html, useEffect, useRef, useState } from "../vendor/preact.js";

const DAYS = ["7", "30", "90"];
const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** The date so many days ago, in the browser's time zone. @param {number} days */
function daysAgo(days) {
  const moment = new Date(Date.now() - days * 86_400_000);
  return new Intl.DateTimeFormat("sv", { timeZone: timezone }).format(moment); // 2030-01-31
}

export default function Reports() {
  const [days, setDays] = useState("30");
  const of = { from: daysAgo(Number(days) - 1), to: daysAgo(0), timezone };
  const views = useData(() => api.report("views", { by: "day", ...of, limit: 100 }), [days]);
  if (views.problem instanceof Problem && views.problem.status === 404)
    return html`<h1>${t("reports")}</h1><${Empty} title=${t("unavailable")} />`;
  const rows = [...(views.data?.items ?? [])].reverse();
  return html`
    <header class="heading">
      <h1>${t("reports")}</h1>
      <div class="tools"><${Choice} compact label=${t("period")} name="days" value=${days}
        options=${DAYS.map((each) => [each, t("period.days", { n: Number(each) })])} onChange=${(/** @type {any} */ event) => setDays(event.target.value)} /></div>
    </header>
    <${Retry} problem=${views.problem} reload=${views.reload} />
    <article>
      <${Title} text=${t("views")} report="views" of=${{ by: "day", ...of }} />
      ${views.data && html`<p class="figures">
        <span><strong>${number(sum(rows, "views"))}</strong> ${t("views")}</span>
        <span><strong>${number(Math.max(0, ...rows.map((/** @type {any} */ row) => row.viewers)))}</strong> ${t("viewers.most")}</span>
      </p>`}
      ${!views.data && !views.problem && html`<div class="chart" aria-busy="true"></div>`}
      ${rows.length > 0 && html`<${Chart} key=${`${days}${language()}`} rows=${rows} />`}
    </article>
    <${Table} key=${`v${days}`} report="videos" title=${t("videos")} of=${of} columns=${[
      ["name", (/** @type {any} */ row) => html`<a href=${`#/watch/${row.video_id}`}>${row.name}</a>`],
      ["viewers", count("viewers")], ["completions", count("completions")],
      ["watched_hours", (/** @type {any} */ row) => number(row.watched_hours, { maximumFractionDigits: 1 })], ["points", count("points")],
    ]} />
    <${Table} key=${`m${days}`} report="members" title=${t("members")} of=${of} columns=${[
      ["email", (/** @type {any} */ row) => row.email], ["videos_viewed", count("videos_viewed")],
      ["videos_completed", count("videos_completed")], ["points", count("points")],
      ["last_seen_at", (/** @type {any} */ row) => date(row.last_seen_at)],
    ]} />`;
}

/** @param {any[]} rows @param {string} name */
const sum = (rows, name) => rows.reduce((total, row) => total + row[name], 0);
/** @param {string} name */
const count = (name) => (/** @type {any} */ row) => number(row[name]);

/** @param {{text: string, report: string, of: Record<string, string>}} props */
function Title({ text, report, of }) {
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const save = async () => {
    setProblem(null);
    try {
      const url = URL.createObjectURL(await api.reportCsv(report, of));
      const link = Object.assign(document.createElement("a"), { href: url, download: `${report}-${of.from}-${of.to}.csv` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (refusal) {
      setProblem(refusal);
    }
  };
  return html`<header class="title"><h2>${text}</h2>
    <button type="button" class="secondary" onClick=${save} aria-label=${t("csv.of", { name: text })}>${t("csv")}</button></header>
    <${Note} problem=${problem} />`;
}

/** @param {{report: string, title: string, of: Record<string, string>, columns: [string, (row: any) => unknown][]}} props */
function Table({ report, title, of, columns }) {
  const list = useList((cursor) => api.report(report, { ...of, limit: 20, cursor }), [report, of.from, of.to]);
  return html`<article>
    <${Title} text=${title} report=${report} of=${of} />
    ${list.items?.length === 0 ? html`<p>${t("nothing-yet")}</p>` : html`<div class="scroll" role="region" aria-label=${title} tabindex="0"><table class="stacked" aria-busy=${list.items ? undefined : "true"}>
      <thead><tr>${columns.map(([name], at) => html`<th class=${at ? "number" : ""}>${t(`column.${name}`)}</th>`)}</tr></thead>
      <tbody>${list.items?.map((row, n) => html`<tr key=${n}>${columns.map(([name, write], at) =>
        html`<td class=${at ? "number" : "wide"} data-label=${at ? t(`column.${name}`) : undefined}>${write(row)}</td>`)}</tr>`)}</tbody>
    </table></div>`}
    <${More} list=${list} />
  </article>`;
}

/** Views and viewers by day. Its figures are in a table for those who do not see it. @param {{rows: any[]}} props */
function Chart({ rows }) {
  const ref = useRef(/** @type {HTMLDivElement | null} */ (null));
  useEffect(() => {
    let chart = /** @type {any} */ (null);
    let gone = false;
    const place = /** @type {HTMLDivElement} */ (ref.current);
    const resized = new ResizeObserver(() => chart?.setSize({ width: place.clientWidth, height: 260 }));
    void draw(place, rows).then((made) => {
      if (gone) made.destroy();
      else {
        chart = made;
        resized.observe(place);
      }
    });
    return () => {
      gone = true;
      resized.disconnect();
      chart?.destroy();
    };
  }, [rows]);
  return html`<div ref=${ref} class="chart" aria-hidden="true"></div>
    <table class="hidden"><caption>${t("views")}</caption>
      <thead><tr><th>${t("column.date")}</th><th>${t("views")}</th><th>${t("column.viewers")}</th></tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.date}><th scope="row">${row.date}</th><td>${row.views}</td><td>${row.viewers}</td></tr>`)}</tbody>
    </table>`;
}

/** @param {HTMLElement} place @param {any[]} rows */
async function draw(place, rows) {
  const { uPlot } = await import("../vendor/uplot.js");
  const colour = (/** @type {string} */ name) => getComputedStyle(place).getPropertyValue(name).trim();
  const [line, soft, muted, second] = ["--pico-primary", "--chart-fill", "--pico-muted-color", "--good"].map(colour);
  const grid = { stroke: colour("--pico-muted-border-color"), width: 1 };
  const day = (/** @type {number} */ seconds) => date(new Date(seconds * 1000).toISOString(), { month: "short", day: "numeric", timeZone: "UTC" });
  const axis = { stroke: muted, grid, ticks: grid, font: "12px system-ui, sans-serif" };
  const data = [rows.map((row) => Date.parse(row.date) / 1000), rows.map((row) => row.views), rows.map((row) => row.viewers)];
  return new uPlot({
    width: place.clientWidth, height: 260, cursor: { points: { size: 8 } }, legend: { live: true },
    tzDate: (/** @type {number} */ seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
    scales: { y: { range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ most) => [0, Math.max(4, Math.ceil(most * 1.15))] } },
    series: [
      { label: t("column.date"), value: (/** @type {any} */ _, /** @type {number | null} */ at) => (at === null ? "–" : day(at)) },
      { label: t("views"), stroke: line, fill: soft, width: 2.5, points: { show: rows.length < 40, size: 6, fill: line } },
      { label: t("column.viewers"), stroke: second, width: 1.5, dash: [6, 4], points: { show: false } },
    ],
    axes: [{ ...axis, values: (/** @type {any} */ _, /** @type {number[]} */ all) => all.map(day), space: 70 }, { ...axis, size: 40, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000] }],
  }, data, place);
}
