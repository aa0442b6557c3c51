// The recycle bin: what was deleted, and how to get it back on a PAID plan.
import { api } from "../app/api.js";
import { Empty, More, Note, toast, useList } from "../app/parts.js";
import { Poster } from "../app/pictures.js";
import { date, t } from "../app/text.js";
import { html, useState } from "../vendor/preact.js";

export default function Bin() {
  const list = useList((cursor) => api.videos({ deleted: true, limit: 24, cursor }), []);
  return html`
    <header class="heading"><h1>${t("bin")}</h1><p>${t("bin.text")}</p></header>
    ${list.items?.length === 0 && html`<${Empty} title=${t("bin.empty")} text=${t("bin.empty.text")} />`}
    <ul class="rows" aria-busy=${list.items === null && !list.problem ? "true" : undefined}>
      ${list.items?.map((video) => html`<${Row} key=${video.id} video=${video}
        onDone=${() => list.edit((all) => all.filter(({ id }) => id !== video.id))} />`)}
    </ul>
    <${More} list=${list} />`;
}

/** @param {{video: import("../app/api.js").Video, onDone: () => void}} props */
function Row({ video, onDone }) {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const restore = async () => {
    setBusy(true);
    setProblem(null);
    try {
      await api.restoreVideo(video.id);
      toast(t("restored", { name: video.name }));
      onDone();
    } catch (refusal) {
      setProblem(refusal);
      setBusy(false);
    }
  };
  return html`<li class="row">
    <${Poster} video=${video} />
    <div class="what"><strong dir="auto">${video.name}</strong><small>${t("deleted-on", { date: date(video.updated_at) })}</small></div>
    <button type="button" class="secondary" disabled=${busy} aria-busy=${busy ? "true" : undefined} onClick=${restore}
      aria-label=${t("restore-of", { name: video.name })}>${t("restore")}</button>
    <${Note} problem=${problem} />
  </li>`;
}
