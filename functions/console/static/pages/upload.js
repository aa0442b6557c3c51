// Drop films here, or choose them: several at once, each with its progress, rate, and what can be done about it.
import { api } from "../app/api.js";
import { Note, useData } from "../app/parts.js";
import { Problem } from "../app/problem.js";
import { date, size, t } from "../app/text.js";
import { html, useEffect, useReducer, useRef, useState } from "../vendor/preact.js";
import { add, all, discard, onUploads, pauseOrResume, retry } from "./uploads.js";

/** @typedef {import("./uploads.js").Item} Item */

export default function Upload() {
  const [, again] = useReducer((/** @type {number} */ n) => n + 1, 0);
  useEffect(() => onUploads(() => again(0)), []);
  const items = all();
  return html`
    <header class="heading"><h1>${t("upload")}</h1><p>${t("upload.text")}</p></header>
    <${Drop} />
    ${items.length > 0 && html`<ul class="uploads" aria-label=${t("uploads")}>
      ${[...items].reverse().map((item) => html`<${Row} key=${item.key} item=${item} />`)}
    </ul>`}
    <${Unfinished} items=${items} />`;
}

function Drop() {
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const [over, setOver] = useState(false);
  // Anywhere on the page: beside the frame, the browser would leave the page to play the film.
  useEffect(() => {
    const gone = new AbortController();
    /** @param {string} name @param {(event: DragEvent) => void} run */
    const listen = (name, run) => addEventListener(name, /** @type {EventListener} */ (run), { signal: gone.signal });
    listen("dragover", (event) => { event.preventDefault(); setOver(true); });
    listen("dragleave", (event) => !event.relatedTarget && setOver(false));
    listen("drop", (event) => {
      event.preventDefault();
      setOver(false);
      add(event.dataTransfer?.files ?? []);
    });
    return () => gone.abort();
  }, []);
  return html`<div class=${over ? "drop over" : "drop"}>
    <svg viewBox="0 0 48 48" aria-hidden="true"><path d="M24 34V14m0 0-9 9m9-9 9 9M10 38h28" /></svg>
    <p><strong>${t("upload.drop")}</strong></p>
    <button type="button" onClick=${() => input.current?.click()}>${t("upload.choose")}</button>
    <input ref=${input} class="hidden" type="file" accept="video/*,.mkv" multiple tabindex="-1" aria-label=${t("upload.choose")}
      onChange=${(/** @type {any} */ event) => { add(event.target.files); event.target.value = ""; }} />
  </div>`;
}

/** @param {{item: Item}} props */
function Row({ item }) {
  const { file, state, sent, rate } = item;
  const done = state === "done";
  const refused = item.problem instanceof Problem && item.problem.status === 422; // it would be again
  const left = rate > 0 ? (file.size - sent) / rate : 0;
  const amount = t("used-of", { used: size(sent), all: size(file.size) });
  const about = {
    preparing: t("upload.preparing"),
    sending: [amount, rate > 0 && t("rate", { rate: size(rate) }), left > 1 && t("left", { time: duration(left) })]
      .filter(Boolean).join(" · "),
    paused: `${t("upload.paused")} · ${amount}`, waiting: t("upload.waiting"), finishing: t("upload.finishing"), done: t("upload.done"), failed: t("upload.failed"),
  }[state];
  return html`<li class=${`upload ${state}`}>
    <div class="what"><strong>${file.name}</strong><small role=${done ? "status" : undefined}>${about}</small></div>
    <div class="actions">
      ${["sending", "paused"].includes(state) && html`<button type="button" class="secondary" onClick=${() => pauseOrResume(item)}
        aria-label=${`${t(state === "paused" ? "resume" : "pause")}: ${file.name}`}>${t(state === "paused" ? "resume" : "pause")}</button>`}
      ${state === "failed" && !refused && html`<button type="button" class="secondary" onClick=${() => retry(item)}>${t("retry")}</button>`}
      ${item.video && html`<a role="button" class="secondary" href=${`#/watch/${item.video.id}`}>${t("watch")}</a>`}
      <button type="button" class="quiet" onClick=${() => discard(item)} aria-label=${`${t(done ? "hide" : "discard")}: ${file.name}`}>${t(done ? "hide" : "discard")}</button>
    </div>
    <progress max=${file.size} value=${done ? file.size : sent} aria-label=${t("progress-of", { name: file.name })}></progress>
    ${item.problem && html`<${Note} problem=${item.problem} />`}
    ${item.video?.browser_playable === false && html`<${Note}>${t("upload.not-playable", { detail: item.video.detail ?? "" })}<//>`}
  </li>`;
}

/** @param {number} seconds */
function duration(seconds) {
  return seconds > 90 ? t("wait.minutes", { n: Math.ceil(seconds / 60) }) : t("wait.seconds", { n: Math.ceil(seconds) });
}

/** What was begun elsewhere or before a reload: the file, chosen again, goes on where it stopped. @param {{items: Item[]}} props */
function Unfinished({ items }) {
  const { data, problem, reload } = useData(() => api.uploads(), [items.length]);
  const own = new Set(items.map(({ id }) => id));
  const open = (data?.items ?? []).filter((each) => each.status === "open" && !own.has(String(each.id)));
  if (problem instanceof Problem && problem.status === 404) return html`<${Note}>${t("unavailable")}<//>`;
  if (open.length === 0) return null;
  return html`<section class="unfinished">
    <h2>${t("unfinished")}</h2>
    <p>${t("unfinished.text")}</p>
    <ul class="uploads">${open.map((each) => html`<li class="upload" key=${each.id}>
      <div class="what"><strong>${each.file_name}</strong><small>${size(each.size)} · ${t("until", { date: date(each.expires_at, { dateStyle: "medium", timeStyle: "short" }) })}</small></div>
      <div class="actions"><button type="button" class="quiet" aria-label=${`${t("discard")}: ${each.file_name}`}
        onClick=${() => api.abortUpload(each.id).catch(() => undefined).then(reload)}>${t("discard")}</button></div>
    </li>`)}</ul>
  </section>`;
}
