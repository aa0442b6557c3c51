// The films as cards: searched, sorted, marked with how far one is. Admins also rename and delete.
import { api } from "../app/api.js";
import { Choice, Empty, More, useList } from "../app/parts.js";
import { Poster } from "../app/pictures.js";
import { remember, remembered } from "../app/places.js";
import { session } from "../app/session.js";
import { clock, date, language, t } from "../app/text.js";
import { html, useEffect, useState } from "../vendor/preact.js";
import { Delete, Rename } from "./editing.js";

/** @typedef {import("../app/api.js").Video} Video */

const SORTED = 1000; // films
const ORDERS = /** @type {[string, (a: Video, b: Video) => number][]} */ ([
  ["newest", (a, b) => b.id - a.id],
  ["name", (a, b) => a.name.localeCompare(b.name, language(), { numeric: true })],
  ["unfinished", (a, b) => Number(a.completed) - Number(b.completed) || (b.position ?? 0) - (a.position ?? 0)],
]);

/** The text some moments after the last key. @param {string} text */
function useSettled(text) {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text.trim()), 250);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

export default function Library() {
  const [before] = useState(remembered);
  const [text, setText] = useState(before.text ?? "");
  const [order, setOrder] = useState(before.order ?? "newest");
  const [changing, setChanging] = useState(/** @type {{how: string, video: Video} | null} */ (null));
  const q = useSettled(text);
  const list = useList((cursor, count) => api.videos({ limit: Math.max(24, Math.min(count, 100)), q, cursor }), [q], before.list);
  useEffect(() => remember({ text, order, list: list.items && { items: list.items, next: list.next } }), [text, order, list.items]);
  // Names are sorted here: then all of them have to be, as far as that goes.
  useEffect(() => {
    if (order !== "newest" && list.next && !list.busy && !list.problem && (list.items?.length ?? 0) < SORTED) list.more();
  }, [order, list.next, list.busy]);
  const compare = ORDERS.find(([name]) => name === order)?.[1];
  const shown = [...(list.items ?? [])].sort(compare);
  const close = () => setChanging(null);
  return html`
    <header class="heading">
      <h1>${t("library")}</h1>
      <search><form class="tools" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
        <input type="search" name="q" aria-label=${t("search")} placeholder=${t("search")} value=${text} maxlength="255"
          onInput=${(/** @type {any} */ event) => setText(event.target.value)} />
        <${Choice} compact label=${t("sort")} name="sort" value=${order} onChange=${(/** @type {any} */ event) => setOrder(event.target.value)}
          options=${ORDERS.map(([name]) => [name, t(`sort.${name}`)])} />
        ${session.isAdmin && html`<a href="#/upload" role="button">${t("upload")}</a>`}
      </form></search>
    </header>
    ${list.items === null && !list.problem && html`<${Skeleton} />`}
    ${list.items?.length === 0 && html`<${NoFilms} q=${q} />`}
    <ul class="cards" aria-busy=${list.busy ? "true" : undefined}>
      ${shown.map((video) => html`<${Card} key=${video.id} video=${video} change=${setChanging} />`)}
    </ul>
    <${More} list=${list} />
    ${changing?.how === "rename" && html`<${Rename} video=${changing.video} onClose=${close}
      onDone=${(/** @type {Video} */ video) => list.edit((all) => all.map((each) => (each.id === video.id ? { ...each, ...video } : each)))} />`}
    ${changing?.how === "delete" && html`<${Delete} video=${changing.video} onClose=${close}
      onDone=${() => list.edit((all) => all.filter(({ id }) => id !== changing.video.id))} />`}`;
}

function Skeleton() {
  return html`<ul class="cards" aria-busy="true">${[1, 2, 3, 4, 5, 6].map((n) => html`<li key=${n} class="card waiting"><div class="poster"></div></li>`)}</ul>`;
}

/** @param {{q: string}} props */
function NoFilms({ q }) {
  if (q) return html`<${Empty} title=${t("nothing-found")} text=${t("nothing-found.text", { q })} />`;
  return html`<${Empty} title=${t("no-films")} text=${t(session.isAdmin ? "no-films.admin" : "no-films.guest")}>
    ${session.isAdmin && html`<a href="#/upload" role="button">${t("upload")}</a>`}
  <//>`;
}

/** @param {{video: Video, change: (how: {how: string, video: Video}) => void}} props */
function Card({ video, change }) {
  const part = video.duration && video.position ? Math.min(1, video.position / video.duration) : 0;
  const mark = video.completed ? "completed" : video.viewed ? "viewed" : null;
  return html`<li class="card">
    <a href=${`#/watch/${video.id}`}>
      <span class="picture">
        <${Poster} video=${video} />
        ${video.duration ? html`<span class="duration">${clock(video.duration)}</span>` : null}
        ${mark && html`<span class=${`mark ${mark}`}>${t(mark)}</span>`}
        ${part > 0 && !video.completed && html`<progress max="1" value=${part} aria-label=${t("progress-of", { name: video.name })}></progress>`}
      </span>
      <span class="name" dir="auto" title=${video.name}>${video.name}</span>
    </a>
    <p class="about">
      <small>${date(video.created_at)}</small>
      ${video.browser_playable === false && html`<small class="warn">${t("not-playable")}</small>`}
      ${session.isAdmin && html`<span class="actions">
        <button type="button" class="quiet" onClick=${() => change({ how: "rename", video })}
          aria-label=${t("rename-of", { name: video.name })}>${t("rename")}</button>
        <button type="button" class="quiet" onClick=${() => change({ how: "delete", video })}
          aria-label=${t("delete-of", { name: video.name })}>${t("delete")}</button>
      </span>`}
    </p>
  </li>`;
}
