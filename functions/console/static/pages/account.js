// Who one is, a new password, and the end of it.
import { api } from "../app/api.js";
import { Confirm, Field, Submit, toast, useForm } from "../app/parts.js";
import { Problem } from "../app/problem.js";
import { end, logIn, session } from "../app/session.js";
import { date, t } from "../app/text.js";
import { html, useState } from "../vendor/preact.js";

export default function Account() {
  const user = /** @type {import("../app/session.js").User} */ (session.user);
  const form = useForm(async (data) => {
    await api.changeUser(user.id, data);
    await logIn(user.email, data.password, session.keep); // a new password ends the sessions of the old one
    toast(t("password.changed"));
  });
  const [leaving, setLeaving] = useState(false);
  const leave = async () => {
    await api.deleteUser(user.id).catch((problem) => {
      throw problem instanceof Problem && problem.kind === "conflict" ? new Problem(409, { type: "last-admin" }) : problem;
    });
    end();
    toast(t("deleted", { name: user.email }));
    location.hash = "#/login";
  };
  return html`<h1>${t("account")}</h1>
    <div class="columns">
      <article>
        <h2>${t("profile")}</h2>
        <dl>
          <dt>${t("email")}</dt><dd>${user.email}</dd>
          <dt>${t("role")}</dt><dd>${t(`role.${user.role}`)}</dd>
          <dt>${t("points.title")}</dt><dd>${t("points", { n: user.point })}</dd>
          <dt>${t("member-since")}</dt><dd>${date(user.created_at)}</dd>
        </dl>
        <p class="leave"><button type="button" class="secondary" onClick=${() => setLeaving(true)}>${t("account.delete")}</button></p>
      </article>
      <article>
        <h2>${t("password.change")}</h2>
        <form key=${form.done} onSubmit=${form.onSubmit} novalidate>
          ${form.note}
          <input type="hidden" name="username" autocomplete="username" value=${user.email} disabled />
          <${Field} label=${t("password.current")} name="current_password" type="password" autocomplete="current-password"
            error=${form.errorOf("current_password")} required />
          <${Field} label=${t("password.new")} name="password" type="password" autocomplete="new-password"
            hint=${t("password.hint")} error=${form.errorOf("password")} required />
          <${Submit} busy=${form.busy}>${t("password.change")}<//>
        </form>
      </article>
    </div>
    ${leaving && html`<${Confirm} title=${t("account.delete.title")} text=${t("account.delete.text")} action=${t("delete")} danger
      run=${leave} onClose=${() => setLeaving(false)} />`}`;
}
