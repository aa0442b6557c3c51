// The console: one page whose address behind the # names what it shows. Pages are modules of their own, fetched when shown.
import { Dialog, Empty, Note, Toasts, toast, useTitle } from "./parts.js";
import { remembered } from "./places.js";
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
  return { name: name || "library", params };
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
  const known = Object.hasOwn(PAGES, name);
  const open = known && PAGES[name].who === "anybody";
  const shown = !user && !open ? "login" : user && open ? "library" : name;
  const allowed = shown !== name || known && (PAGES[shown].who !== "admin" || session.isAdmin);
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t("skip")}</a>
    <${Header} page=${shown} />
    <main id="main" tabindex="-1" class=${`page-${shown}`}>
      ${allowed
        ? html`<${Page} key=${[user?.id, shown, ...params].join("/")} name=${shown} params=${params} />`
        : html`<${Refused} title=${t(known ? "admins-only" : "no-page")} text=${t(known ? "admins-only.text" : "no-page.text")} />`}
    </main>
    ${session.asking !== null && html`<${LogInAgain} />`}
    <${Toasts} />`;
}

/** @param {{title: string, text: string}} props */
function Refused({ title, text }) {
  useTitle(title);
  return html`<${Empty} title=${title} text=${text} heading="h1"><a href="#/library" role="button">${t("library")}</a><//>`;
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
    import(`../pages/${name}.js`).then((module) => gone || setView(module), (failure) => gone || setProblem(failure));
    return () => void (gone = true);
  }, []);
  useTitle(name === "watch" ? undefined : t(name)); // a film has its own
  useFocusOnArrival(view);
  if (problem) return html`<${Note}>${t(navigator.onLine ? "problem.module" : "problem.unreachable")}<//>`;
  return view ? html`<${view.default} params=${params} />` : html`<p class="starting" aria-busy="true"></p>`;
}

let arrived = false;

/** The heading gets the focus when another page is shown, so that a screen reader says where one is; the page itself,
 * where it has to load what it has as its heading. @param {unknown} view */
function useFocusOnArrival(view) {
  useEffect(() => {
    if (!view) return;
    const within = document.activeElement?.closest("#main form");
    const heading = /** @type {HTMLElement} */ (document.querySelector("#main h1") ?? document.getElementById("main"));
    if (arrived && !within) {
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
      scrollTo(0, remembered().scroll ?? 0);
    }
    arrived = true;
  }, [view]);
}

/** @param {{page: string}} props */
function Header({ page }) {
  const user = session.user;
  const nav = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => { // where the menu is wider than the screen
    const current = /** @type {HTMLElement | null | undefined} */ (nav.current?.querySelector("[aria-current]"));
    if (nav.current && current) nav.current.scrollLeft = current.offsetLeft - (nav.current.clientWidth - current.offsetWidth) / 2;
  }, [page, user]);
  const menu = Object.entries(PAGES).filter(([, { menu: listed, who }]) => listed && (who !== "admin" || session.isAdmin));
  return html`<header class="top">
    <a class="brand" href="#/library" aria-label=${t("brand")}>
      <svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="9" /><path d="m12.5 9.5 10 6.5-10 6.5z" /></svg>
      <span>${t("brand")}</span>
    </a>
    ${user && html`<nav ref=${nav} aria-label=${t("menu")}>
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
    const escape = (event) => {
      if (event.key !== "Escape" || !ref.current?.open) return;
      close();
      ref.current.querySelector("summary")?.focus();
    };
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
    <summary aria-label=${t("account.of", { email })}><span aria-hidden="true">${[...email][0].toUpperCase()}</span></summary>
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
  return form && html`<${Dialog} title=${t("log-in-again")} onClose=${leave}>
    <p>${t("log-in-again.text")}</p>
    <${form.LogInForm} email=${session.asking} />
  <//>`;
}

/** Whoever is kept logged in is not asked to log in because the service cannot be reached for a while. */
async function begin() {
  const root = /** @type {HTMLElement} */ (document.getElementById("console"));
  const failure = await start().catch((problem) => problem);
  root.querySelector("p.starting")?.remove();
  if (!failure) return render(html`<${App} />`, root);
  const again = () => {
    clearTimeout(timer);
    removeEventListener("online", again);
    void begin();
  };
  const timer = setTimeout(again, 1000 * (failure.retryAfter ?? 5));
  addEventListener("online", again);
  render(html`<main id="main"><${Note} problem=${failure} /><button type="button" onClick=${again}>${t("retry")}</button></main>`, root);
}

void begin();
