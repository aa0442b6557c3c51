// Sign up: a corporation and its first admin, who is then logged in.
import { api, formKeys } from "../app/api.js";
import { Field, Submit, useForm } from "../app/parts.js";
import { logIn } from "../app/session.js";
import { t } from "../app/text.js";
import { html, useState } from "../vendor/preact.js";

/** @param {import("../app/problem.js").Problem} problem @returns {Record<string, string>} */
function place(problem) {
  if (problem.kind !== "conflict") return {};
  return problem.detail.includes("mail") ? { admin_email: t("taken.email") } : { name: t("taken.name") };
}

export default function SignUp() {
  const [keyOf] = useState(formKeys);
  const form = useForm(async ({ keep, ...data }) => {
    await api.signUp(data, keyOf(data));
    await logIn(data.admin_email, data.admin_password, keep === "on");
  }, place);
  return html`<article class="door">
    <h1>${t("signup.title")}</h1>
    <p>${t("signup.text")}</p>
    <form onSubmit=${form.onSubmit} novalidate>
      ${form.note}
      <${Field} label=${t("corporation")} name="name" autocomplete="organization" error=${form.errorOf("name")} required />
      <${Field} label=${t("admin-email")} name="admin_email" type="email" autocomplete="username"
        error=${form.errorOf("admin_email")} required />
      <${Field} label=${t("password")} name="admin_password" type="password" autocomplete="new-password"
        hint=${t("password.hint")} error=${form.errorOf("admin_password")} required />
      <label class="check"><input type="checkbox" name="keep" /> ${t("keep")}</label>
      <${Submit} busy=${form.busy}>${t("signup.do")}<//>
    </form>
    <footer>${t("have-account")} <a href="#/login">${t("login")}</a></footer>
  </article>`;
}
