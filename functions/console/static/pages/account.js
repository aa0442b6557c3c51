// Who one is, and a new password.
import { api } from "../app/api.js";
import { Field, Submit, toast, useForm } from "../app/parts.js";
import { logIn, session } from "../app/session.js";
import { date, t } from "../app/text.js";
import { html } from "../vendor/preact.js";

export default function Account() {
  const user = /** @type {import("../app/session.js").User} */ (session.user);
  const form = useForm(async (data) => {
    await api.changeUser(user.id, data);
    await logIn(user.email, data.password, session.keep); // a new password ends the sessions of the old one
    toast(t("password.changed"));
  });
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
    </div>`;
}
