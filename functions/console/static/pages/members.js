// The members of the corporation: add, role, password, log out everywhere, delete.
import { api, formKeys } from "../app/api.js";
import { Choice, Confirm, Field, FormDialog, More, toast, useForm, useList } from "../app/parts.js";
import { refreshUser, session } from "../app/session.js";
import { date, number, t } from "../app/text.js";
import { html, useState } from "../vendor/preact.js";

/** @typedef {import("../app/api.js").User} User */

const roles = () => /** @type {[string, string][]} */ ([["guest", t("role.guest")], ["admin", t("role.admin")]]);

export default function Members() {
  const list = useList((cursor) => api.users({ limit: 50, cursor }), []);
  const [open, setOpen] = useState(/** @type {{how: string, user?: User} | null} */ (null));
  const close = () => setOpen(null);
  /** @param {User} user */
  const replace = (user) => {
    list.edit((all) => all.map((each) => (each.id === user.id ? user : each)));
    if (user.id === session.user?.id) void refreshUser(); // no admin any more
  };
  /** @param {User} user */
  const endSessions = async ({ id, email }) => {
    await api.endSessions(id);
    toast(t("sessions.done", { email }));
  };
  /** @param {User} user */
  const remove = async (user) => {
    await api.deleteUser(user.id);
    list.edit((all) => all.filter(({ id }) => id !== user.id));
    toast(t("deleted", { name: user.email }));
  };
  const user = open?.user;
  return html`
    <header class="heading">
      <h1>${t("members")}</h1>
      <div class="tools"><button type="button" onClick=${() => setOpen({ how: "add" })}>${t("member.add")}</button></div>
    </header>
    <div class="scroll" role="region" aria-label=${t("members")} tabindex="0">
      <table class="stacked" aria-busy=${list.items === null && !list.problem ? "true" : undefined}>
        <thead><tr><th>${t("email")}</th><th>${t("role")}</th><th class="number">${t("points.title")}</th><th>${t("member-since")}</th><th><span class="hidden">${t("actions")}</span></th></tr></thead>
        <tbody>${list.items?.map((each) => html`<${Member} key=${each.id} user=${each} open=${setOpen} />`)}</tbody>
      </table>
    </div>
    <${More} list=${list} />
    ${open?.how === "add" && html`<${Add} onClose=${close} onDone=${list.reload} />`}
    ${user && open.how === "role" && html`<${Role} user=${user} onClose=${close} onDone=${replace} />`}
    ${user && open.how === "password" && html`<${Password} user=${user} onClose=${close} />`}
    ${user && open.how === "sessions" && html`<${Confirm} title=${t("sessions.title")} text=${t("sessions.text", { email: user.email })}
      action=${t("sessions")} run=${() => endSessions(user)} onClose=${close} />`}
    ${user && open.how === "delete" && html`<${Confirm} title=${t("member.delete")} text=${t("member.delete.text", { email: user.email })}
      action=${t("delete")} danger run=${() => remove(user)} onClose=${close} />`}`;
}

/** @param {{user: User, open: (how: {how: string, user: User}) => void}} props */
function Member({ user, open }) {
  const self = user.id === session.user?.id;
  const action = (/** @type {string} */ how, /** @type {string} */ text) => html`<button type="button" class="quiet"
    aria-label=${`${text}: ${user.email}`} onClick=${() => open({ how, user })}>${text}</button>`;
  return html`<tr>
    <td class="wide"><span><strong>${user.email}</strong>${self && html` <span class="mark">${t("you")}</span>`}</span></td>
    <td data-label=${t("role")}><span class=${`mark ${user.role}`}>${t(`role.${user.role}`)}</span></td>
    <td class="number" data-label=${t("points.title")}>${number(user.point)}</td>
    <td data-label=${t("member-since")}>${date(user.created_at)}</td>
    <td class="actions">
      ${action("role", t("role"))}
      ${!self && action("password", t("password"))}
      ${!self && action("sessions", t("sessions"))}
      ${!self && action("delete", t("delete"))}
    </td>
  </tr>`;
}

/** @param {{onClose: () => void, onDone: () => void}} props */
function Add({ onClose, onDone }) {
  const [keyOf] = useState(formKeys);
  const form = useForm(async (data) => {
    await api.addUser(data, keyOf(data));
    toast(t("member.added", { email: data.email }));
    onDone();
    onClose();
  }, (problem) => /** @type {Record<string, string>} */ (problem.kind === "conflict" ? { email: t("taken.email") } : {}));
  return html`<${FormDialog} title=${t("member.add")} form=${form} action=${t("member.add")} onClose=${onClose} autocomplete="off">
    <${Field} label=${t("email")} name="email" type="email" autocomplete="off" error=${form.errorOf("email")} required />
    <${Field} label=${t("password")} name="password" type="password" autocomplete="new-password" hint=${t("password.hint")}
      error=${form.errorOf("password")} required />
    <${Choice} label=${t("role")} name="role" value="guest" options=${roles()} error=${form.errorOf("role")} />
  <//>`;
}

/** @param {{user: User, onClose: () => void, onDone: (user: User) => void}} props */
function Role({ user, onClose, onDone }) {
  const form = useForm(async ({ role }) => {
    onDone(await api.changeUser(user.id, { role }));
    onClose();
  }, (problem) => /** @type {Record<string, string>} */ (problem.kind === "conflict" ? { role: t("problem.last-admin") } : {}));
  return html`<${FormDialog} title=${t("role.of", { email: user.email })} form=${form} action=${t("save")} onClose=${onClose}>
    <${Choice} label=${t("role")} name="role" value=${user.role} options=${roles()} error=${form.errorOf("role")} />
  <//>`;
}

/** @param {{user: User, onClose: () => void}} props */
function Password({ user, onClose }) {
  const form = useForm(async ({ password }) => {
    await api.changeUser(user.id, { password });
    toast(t("password.reset.done", { email: user.email }));
    onClose();
  });
  return html`<${FormDialog} title=${t("password.reset")} text=${t("password.reset.text", { email: user.email })} form=${form}
    action=${t("save")} onClose=${onClose}>
    <${Field} label=${t("password.new")} name="password" type="password" autocomplete="new-password" hint=${t("password.hint")}
      error=${form.errorOf("password")} required />
  <//>`;
}
