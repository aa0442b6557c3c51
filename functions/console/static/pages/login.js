// Log in.
import { logIn, session } from "../app/session.js";
import { Field, Submit, useForm } from "../app/parts.js";
import { t } from "../app/text.js";
import { html } from "../vendor/preact.js";

/** @param {{email?: string | null}} props */
export function LogInForm({ email }) {
  const form = useForm((data) => logIn(data.email, data.password, data.keep === "on"));
  return html`<form onSubmit=${form.onSubmit} novalidate>
    ${form.note}
    <${Field} label=${t("email")} name="email" type="email" autocomplete="username" value=${email ?? ""}
      error=${form.errorOf("email")} required />
    <${Field} label=${t("password")} name="password" type="password" autocomplete="current-password"
      error=${form.errorOf("password")} autofocus=${Boolean(email)} required />
    <label class="check"><input type="checkbox" name="keep" defaultChecked=${session.keep} /> ${t("keep")}</label>
    <${Submit} busy=${form.busy}>${t("log-in")}<//>
  </form>`;
}

export default function LogIn() {
  return html`<article class="door">
    <h1>${t("welcome")}</h1>
    <p>${t("welcome.text")}</p>
    <${LogInForm} email=${session.asking} />
    <footer>${t("no-account")} <a href="#/signup">${t("signup")}</a></footer>
  </article>`;
}
