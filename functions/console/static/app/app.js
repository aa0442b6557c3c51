// The console: one page whose address behind the # names what it shows. Pages are modules of their own, fetched when shown.
import { Dialog, Empty, Note, Toasts, toast } from "./parts.js";
import { logOut, onSession, session, start } from "./session.js";
import { language, languages, onLanguage, setLanguage, t } from "./text.js";
import { html, render, useEffect, useReducer, useRef, useState } from "../vendor/preact.js";

/**
 * Address → the page's module, who may see it ("anybody", "member", "admin"), and whether the menu has it.
 * @type {Record<string, {who: string, menu?: boolean}>}
 */
const PAGES = {
  login: { who: "anybody" },
  signup: { who: "anybody" },
  library: { who: "member", menu: true },
  watch: { who: "member" },
  upload: { who: "admin", menu: true },
  members: { who: "admin", menu: true },
  reports: { who: "admin", menu: true },
  bin: { who: "admin", menu: true },
  plan: { who: "member", menu: true },
  account: { who: "member" },
};

function here() {
  const [name, ...params] = location.hash.replace(/^#\/?/, "").split("/");
  return { name: name in PAGES ? name : "library", params };
}

/** @param {string} path @param {boolean} [replace] */
export function go(path, replace) {
  if (replace) location.replace(`#/${path}`);
  else location.hash = `#/${path}`;
}

function useChanges() {
  const [, again] = useReducer((/** @type {number} */ n) => n + 1, 0);
  useEffect(() => {
    const undo = [onSession(() => again(0)), onLanguage(() => again(0))];
    const moved = () => again(0);
    addEventListener("hashchange", moved);
    return () => {
      for (const each of undo) each();
      removeEventListener("hashchange", moved);
    };
  }, []);
}

function App() {
  useChanges();
  const { name, params } = here();
  const user = session.user;
  const open = PAGES[name].who === "anybody";
  const shown = !user && !open ? "login" : user && open ? "library" : name;
  const allowed = PAGES[shown].who !== "admin" || session.isAdmin;
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t("skip")}</a>
    <${Header} page=${shown} />
    <main id="main" tabindex="-1" class=${`page-${shown}`}>
      ${allowed
        ? html`<${Page} key=${`${shown}/${params.join("/")}`} name=${shown} params=${params} />`
        : html`<${Empty} title=${t("admins-only")} text=${t("admins-only.text")}>
            <a href="#/library" role="button">${t("library")}</a>
          <//>`}
    </main>
    ${session.asking !== null && html`<${LogInAgain} />`}
    <${Toasts} />`;
}

/** @param {MouseEvent} event */
function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** @param {{name: string, params: string[]}} props */
function Page({ name, params }) {
  const [view, setView] = useState(/** @type {{default: any} | null} */ (null));
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  useEffect(() => {
    let gone = false;
    document.title = `${t(name)} · ${t("brand")}`;
    import(`../pages/${name}.js`).then((module) => gone || setView(module), (failure) => gone || setProblem(failure));
    return () => void (gone = true);
  }, []);
  useFocusOnArrival(view);
  if (problem) return html`<${Note}>${t("problem.module")}<//>`;
  return view ? html`<${view.default} params=${params} />` : html`<p class="starting" aria-busy="true"></p>`;
}

let arrived = false;

/** The heading gets the focus when another page is shown, so that a screen reader says where one is.
 * @param {unknown} view */
function useFocusOnArrival(view) {
  useEffect(() => {
    if (!view) return;
    const within = document.activeElement?.closest("#main form");
    const heading = /** @type {HTMLElement | null} */ (document.querySelector("#main h1"));
    if (arrived && heading && !within) {
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    arrived = true;
  }, [view]);
}

/** @param {{page: string}} props */
function Header({ page }) {
  const user = session.user;
  const menu = Object.entries(PAGES).filter(([, { menu: listed, who }]) => listed && (who !== "admin" || session.isAdmin));
  return html`<header class="top">
    <a class="brand" href="#/library" aria-label=${t("brand")}>
      <svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="9" /><path d="m12.5 9.5 10 6.5-10 6.5z" /></svg>
      <span>${t("brand")}</span>
    </a>
    ${user && html`<nav aria-label=${t("menu")}>
      ${menu.map(([name]) => html`<a href=${`#/${name}`} aria-current=${name === page ? "page" : undefined}>${t(name)}</a>`)}
    </nav>`}
    <div class="side">
      ${user && html`<span class="points" title=${t("points.title")}>${t("points", { n: user.point })}</span>`}
      <${Languages} />
      ${user && html`<${Account} email=${user.email} role=${user.role} />`}
    </div>
  </header>`;
}

function Languages() {
  const other = /** @type {[string, string]} */ (languages.find(([code]) => code !== language()));
  return html`<button type="button" class="quiet language" lang=${other[0]} onClick=${() => setLanguage(other[0])}>${other[1]}</button>`;
}

/** @param {{email: string, role: string}} props */
function Account({ email, role }) {
  const ref = useRef(/** @type {HTMLDetailsElement | null} */ (null));
  const close = () => ref.current?.removeAttribute("open");
  useEffect(() => {
    /** @param {Event} event */
    const away = (event) => !ref.current?.contains(/** @type {Node} */ (event.target)) && close();
    /** @param {KeyboardEvent} event */
    const escape = (event) => event.key === "Escape" && close();
    addEventListener("click", away);
    addEventListener("keydown", escape);
    return () => {
      removeEventListener("click", away);
      removeEventListener("keydown", escape);
    };
  }, []);
  const leave = async () => {
    close();
    await logOut();
    toast(t("logged-out"));
    go("login");
  };
  return html`<details class="account" ref=${ref}>
    <summary aria-label=${t("account.of", { email })}><span aria-hidden="true">${email[0].toUpperCase()}</span></summary>
    <div>
      <p><strong>${email}</strong><small>${t(`role.${role}`)}</small></p>
      <a href="#/account" onClick=${close}>${t("account")}</a>
      <button type="button" class="quiet" onClick=${leave}>${t("log-out")}</button>
    </div>
  </details>`;
}

/** Over the page, so that nothing that was typed is lost. */
function LogInAgain() {
  const [form, setForm] = useState(/** @type {{LogInForm: any} | null} */ (null));
  useEffect(() => void import("../pages/login.js").then(setForm), []);
  const leave = async () => {
    await logOut();
    go("login");
  };
  return html`<${Dialog} title=${t("log-in-again")} onClose=${leave}>
    <p>${t("log-in-again.text")}</p>
    ${form && html`<${form.LogInForm} email=${session.asking} />`}
  <//>`;
}

async function begin() {
  const root = /** @type {HTMLElement} */ (document.getElementById("console"));
  try {
    await start();
  } catch {
    toast(t("problem.503"));
  }
  root.replaceChildren();
  render(html`<${App} />`, root);
}

void begin();
