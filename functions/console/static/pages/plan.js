// The plan: what it is, until when, how much of it is used, and what the other one has.
import { api } from "../app/api.js";
import { Retry, Submit, useData, useForm } from "../app/parts.js";
import { Problem } from "../app/problem.js";
import { session } from "../app/session.js";
import { date, number, size, t } from "../app/text.js";
import { html, useState } from "../vendor/preact.js";

export default function Plan() {
  const { data, problem, reload } = useData(async () => {
    const own = await api.corporation();
    return { ...own, quota: await api.quota(own.id) };
  }, []);
  if (problem) return html`<h1>${t("plan")}</h1><${Retry} problem=${problem} reload=${reload} />`;
  if (!data) return html`<p class="starting" aria-busy="true"></p>`;
  const paid = data.plan === "PAID" && (!data.plan_expire_at || Date.parse(data.plan_expire_at) > Date.now());
  return html`<h1>${t("plan")}</h1>
    <div class="columns">
      <article class="plan">
        <p class="eyebrow">${data.name}</p>
        <h2>${t(paid ? "plan.paid" : "plan.free")}</h2>
        <p>${paid ? (data.plan_expire_at ? t("plan.until", { date: date(data.plan_expire_at, { dateStyle: "long" }) }) : t("plan.unlimited"))
          : data.plan === "PAID" ? t("plan.expired", { date: date(data.plan_expire_at, { dateStyle: "long" }) }) : t("plan.free.text")}</p>
        ${session.isAdmin && !paid && html`<${Upgrade} id=${data.id} onDone=${reload} />`}
      </article>
      <article>
        <h2>${t("plan.use")}</h2>
        <${Quota} quota=${data.quota} />
      </article>
    </div>
    <article>
      <h2>${t("plan.compare")}</h2>
      <table class="compare">
        <thead><tr><th></th><th>FREE</th><th>PAID</th></tr></thead>
        <tbody>
          ${["watch", "members", "reports"].map((what) => html`<tr><th scope="row">${t(`plan.row.${what}`)}</th><td>✓</td><td>✓</td></tr>`)}
          <tr><th scope="row">${t("plan.row.restore")}</th><td>–</td><td>✓</td></tr>
        </tbody>
      </table>
    </article>`;
}

/** Where companies change their plans themselves, this does it; else the service says who does.
 * @param {{id: number, onDone: () => void}} props */
function Upgrade({ id, onDone }) {
  const [managed, setManaged] = useState(false);
  const form = useForm(async () => {
    try {
      await api.changeCorporation(id, { plan: "PAID" });
      onDone();
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.kind !== "plan-managed") throw problem;
      setManaged(true);
    }
  });
  if (managed) return html`<p class="managed" role="status">${t("plan.managed")}</p>`;
  return html`<form onSubmit=${form.onSubmit}>${form.note}<${Submit} class="secondary" busy=${form.busy}>${t("plan.upgrade")}<//></form>`;
}

/** @param {{quota?: {bytes: number, used_bytes: number, videos: number | null, used_videos: number} | null}} props */
function Quota({ quota }) {
  if (!quota) return html`<p>${t("unavailable")}</p>`;
  const meter = (/** @type {string} */ label, /** @type {number} */ used, /** @type {number} */ all, /** @type {(n: number) => string} */ write) => html`
    <div class="meter">
      <p><span>${label}</span><span>${t("used-of", { used: write(used), all: write(all) })}</span></p>
      <progress max=${all} value=${used} aria-label=${label}></progress>
    </div>`;
  return html`${meter(t("storage"), quota.used_bytes, quota.bytes, size)}
    ${quota.videos && meter(t("videos"), quota.used_videos, quota.videos, number)}`;
}
